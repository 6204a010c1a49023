"""Memory of the machine, as far as this process may take it."""

import pathlib

# Of a container, of version 2 and 1: the limit, what is taken, and what of
# that the kernel gives back when it is wanted (a line of memory.stat).
_GROUPS = (
  ('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
  (
    'memory/memory.limit_in_bytes',
    'memory/memory.usage_in_bytes',
    'memory/memory.stat',
    'total_inactive_file',
  ),
)


def free_memory(root: str | pathlib.Path = '/') -> int | None:
  """Bytes that are free on the host, or in the container that this runs in.

  Args:
    root: of the file system that holds `proc` and `sys`.

  Returns:
    The smaller of both, None where nothing tells: not Linux.
  """
  root = pathlib.Path(root)
  free = [
    n for n in (_available(root), *_unused(root / 'sys/fs/cgroup')) if n >= 0
  ]
  return min(free, default=None)


def _available(root: pathlib.Path) -> int:
  """Of the machine, -1 where it is not told."""
  try:
    return _values(root / 'proc/meminfo')['MemAvailable:'] * 1024
  except (OSError, KeyError, ValueError):
    return -1


def _unused(groups: pathlib.Path):
  """Of each control group that has a limit."""
  for limit, taken, stat, cache in _GROUPS:
    try:
      # Without a limit it is a word in version 2, and huge in version 1.
      most = int((groups / limit).read_text())
      taken = int((groups / taken).read_text())
      yield max(0, most - taken + _values(groups / stat)[cache])
    except (OSError, KeyError, ValueError):
      continue


def _values(path: pathlib.Path) -> dict[str, int]:
  """First and second word of every line."""
  lines = (line.split() for line in path.read_text().splitlines())
  return {line[0]: int(line[1]) for line in lines if len(line) > 1}

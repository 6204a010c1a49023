"""Free memory, of the machine and of a container."""

import pytest

from mdcf_jax import host

GIB = 2**30


def put(root, files):
  for name, text in files.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
  return root


def machine(gib):
  kib = gib * 2**20
  return {'proc/meminfo': f'MemTotal: {2 * kib} kB\nMemAvailable: {kib} kB\n'}


def group(limit, taken=3 * GIB, cache=GIB):
  return {
    'sys/fs/cgroup/memory.max': f'{limit}\n',
    'sys/fs/cgroup/memory.current': f'{taken}\n',
    'sys/fs/cgroup/memory.stat': f'anon 5\ninactive_file {cache}\n',
  }


def old_group(limit):
  folder = 'sys/fs/cgroup/memory'
  return {
    f'{folder}/memory.limit_in_bytes': f'{limit}\n',
    f'{folder}/memory.usage_in_bytes': f'{3 * GIB}\n',
    f'{folder}/memory.stat': f'cache 1\ntotal_inactive_file {GIB}\n',
  }


@pytest.mark.parametrize(
  'files, expected',
  [
    (machine(8), 8),
    (machine(8) | group(6 * GIB), 4),
    (machine(8) | group('max'), 8),
    (machine(2) | group(6 * GIB), 2),
    (machine(8) | group(2 * GIB), 0),
    (machine(8) | old_group(6 * GIB), 4),
    (machine(8) | old_group(2**63 - 4096), 8),
    (group(6 * GIB), 4),
    (machine(8) | {'sys/fs/cgroup/memory.max': f'{GIB}\n'}, 8),
  ],
)
def test_the_smaller_of_machine_and_container(tmp_path, files, expected):
  assert host.free_memory(put(tmp_path, files)) == expected * GIB


@pytest.mark.parametrize('text', ['', 'MemAvailable: many kB\n'])
def test_nothing_is_told(tmp_path, text):
  assert host.free_memory(put(tmp_path, {'proc/meminfo': text})) is None
  assert host.free_memory(tmp_path / 'nowhere') is None


def test_this_machine_has_memory():
  assert host.free_memory() > 0

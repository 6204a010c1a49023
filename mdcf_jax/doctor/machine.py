"""Versions, devices, memory, disk and settings of where it runs."""

import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping

from mdcf_jax import host
from mdcf_jax.doctor.findings import LACKING, OK, Findings, private

PACKAGES = ('jax', 'jaxlib', 'flax', 'numpy', 'av', 'pillow', 'safetensors')
# Extras of the package: what they install, and what it is for.
EXTRAS = {
  'faces': (['mediapipe'], 'faces of portraits that are not cropped yet'),
  'eval': (['onnxruntime', 'opencv-contrib-python'], 'all scores'),
  'hub': (['huggingface_hub'], 'weights by name'),
  'provenance': (['c2pa-python', 'cryptography'], 'signed manifests'),
  'plot': (['matplotlib'], 'mdcf plot'),
  'app': (['gradio'], 'mdcf app'),
}
# Variables that are shown, by how they begin; of others nothing is told.
SHOWN = ('JAX_', 'XLA_', 'MDCF_', 'CUDA_VISIBLE_', 'TPU_', 'OMP_NUM', 'LIBTPU_')
SHOWN += ('XDG_CACHE_HOME', 'HF_HUB_', 'HF_HOME', 'HF_ENDPOINT', 'TMPDIR')
SHOWN += ('NVIDIA_VISIBLE_', 'TF_CPP_', 'PYTHONPATH')
_SECRET = ('TOKEN', 'KEY', 'SECRET', 'PASSWORD', 'CREDENTIAL')


def versions(found: Findings) -> None:
  """Of this package, Python, the system, and what generation stands on."""
  folder = pathlib.Path(__file__).resolve().parent.parent
  installed = version('mdcf_jax') or 'not installed'
  found.add('versions', 'mdcf_jax', text=f'{installed}, {folder}')
  found.add('versions', 'python', text=sys.version.split()[0])
  found.add('versions', 'system', text=platform.platform())
  known = (f'{name} {version(name) or "-"}' for name in PACKAGES)
  found.add('versions', 'packages', text=', '.join(known))


def version(name: str) -> str | None:
  """Of an installed distribution; None where it is not there."""
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None


def extras(found: Findings) -> None:
  """Which are whole, and the line that installs the others."""
  whole = []
  for name, (packages, purpose) in EXTRAS.items():
    lacking = [package for package in packages if version(package) is None]
    if lacking:
      text = f'no {", ".join(lacking)}, for {purpose}: '
      found.add('extras', name, LACKING, f"{text}pip install '.[{name}]'")
    else:
      parts = [f'{package} {version(package)}' for package in packages]
      whole.append(f'{name} ({", ".join(parts)})')
  found.add('extras', 'there', OK, ', '.join(whole) or 'none')


def devices(found: Findings) -> None:
  """What JAX runs on, and the memory of each."""

  def look() -> str:
    import jax

    local, kinds = jax.local_devices(), {}
    for device in local:
      text = device.device_kind
      stats = device.memory_stats() or {}
      if 'bytes_limit' in stats:
        used = stats.get('bytes_in_use', 0)
        text += f' with {gib(stats["bytes_limit"])}, {gib(used)} in use'
      kinds[text] = kinds.get(text, 0) + 1
    each = ', '.join(f'{count} x {kind}' for kind, count in kinds.items())
    hosts = f', {jax.process_count()} hosts' if jax.process_count() > 1 else ''
    return f'{jax.default_backend()}: {each}{hosts}'

  found.check('devices', 'jax', look)
  usable = os.cpu_count()
  if hasattr(os, 'sched_getaffinity'):
    usable = len(os.sched_getaffinity(0))
  found.add('devices', 'cpus', text=f'{usable} of {os.cpu_count()} usable')


def memory(found: Findings, cache: pathlib.Path) -> None:
  """Of the host, what the group of processes may take, and room on disk."""

  def look() -> str:
    free = host.free_memory()
    told = 'not told' if free is None else gib(free)
    total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    limit = cgroup_limit()
    group = f'cgroup limit {gib(limit)}' if limit else 'no cgroup limit'
    return f'{told} free of {gib(total)}, {group}'

  found.check('memory', 'host', look, LACKING)
  found.check('memory', 'cache', lambda: _folder(cache), LACKING)
  # Videos are written beside their names, but the test writes here.
  temporary = lambda: _folder(pathlib.Path(tempfile.gettempdir()))
  found.check('memory', 'temporary', temporary)


def _folder(folder: pathlib.Path) -> str:
  """Room in a folder; it is made and written to."""
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.NamedTemporaryFile(dir=folder) as file:
    file.write(b'x')
  programs = folder / 'programs'
  kept = ''
  if programs.is_dir():
    size = sum(x.stat().st_size for x in programs.iterdir() if x.is_file())
    kept = f', {gib(size)} of compiled programs'
  return f'{folder}: {gib(shutil.disk_usage(folder).free)} free{kept}'


def cgroup_limit(root: pathlib.Path = pathlib.Path('/')) -> int | None:
  """Bytes that this process's cgroup may take; None where there is no limit.

  Args:
    root: of the file system.
  """
  try:
    lines = (root / 'proc/self/cgroup').read_text().splitlines()
  except OSError:
    return None
  limits = []
  for line in lines:
    _, kinds, path = line.split(':', 2)
    base, name = root / 'sys/fs/cgroup', 'memory.max'
    if kinds:
      base, name = base / 'memory', 'memory.limit_in_bytes'
    if kinds and 'memory' not in kinds.split(','):
      continue
    # Within a container its own group is the top.
    for folder in (base / path.strip('/'), base):
      with_limit = folder / name
      if with_limit.is_file():
        text = with_limit.read_text().strip()
        limits += [int(text)] if text.isdecimal() else []
  # No limit is written as a huge one by the first version.
  return min((x for x in limits if x < 2**60), default=None)


def environment(found: Findings, variables: Mapping[str, str]) -> None:
  """Variables that change what happens; names of what may be secret alone."""
  shown = []
  for name in sorted(variables):
    if not name.startswith(SHOWN) and not name.lower().endswith('_proxy'):
      continue
    secret = any(word in name for word in _SECRET)
    hidden = secret or name.lower().endswith('_proxy')
    shown.append(f'{name}={"(set)" if hidden else private(variables[name])}')
  found.add('environment', 'variables', text=' '.join(shown) or 'none')


def gib(size: int) -> str:
  """Bytes in words."""
  return f'{size / 2**30:.2f} GiB'

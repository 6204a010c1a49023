"""Folders of released weights: safetensors beside one config.json.

  config.json         what the modules are, and how they were trained
  fde.safetensors     one file per phase; keys are paths like
  lmae.safetensors    'params/encoder/conv_1/kernel', 'batch_stats/...'

Loading never unpickles. Knows no model: shapes come from the caller.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from mdcf_jax.errors import InputError

FORMAT = 1
MAX_RESOLUTION = 4096
CONFIG_NAME = 'config.json'
_DTYPES = {
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
_SAVED = {str(dtype): dtype for dtype in _DTYPES.values()}
_CONFIG_KEYS = ('format', 'model', 'resolution', 'audio_encoder', 'phases')


def save(
  folder: str | pathlib.Path,
  name: str,
  variables: Mapping[str, Any],
  dtype: str = 'bfloat16',
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes `<folder>/<name>.safetensors`, whole or not at all.

  Args:
    folder: made when absent.
    name: the phase.
    variables: `{'params': ..., 'batch_stats': ...}`.
    dtype: of the parameters; statistics stay float32.
    metadata: texts that the file carries, see `read_metadata`.

  Raises:
    InputError: the folder cannot be written.
  """
  tensors = {}
  for key, x in traverse_util.flatten_dict(dict(variables), sep='/').items():
    kept = dtype if key.startswith('params/') else 'float32'
    # Not ascontiguousarray, which turns a scalar into a vector.
    tensors[key] = np.asarray(x, dtype=_SAVED[kept], order='C')
  metadata = {'format': 'mdcf_jax', **(metadata or {})}
  content = safetensors.numpy.save(tensors, metadata=metadata)
  _write(pathlib.Path(folder) / f'{name}.safetensors', content)


def load(
  folder: str | pathlib.Path, name: str, like: Any | None = None
) -> dict[str, Any]:
  """Reads `<folder>/<name>.safetensors` as float32 numpy arrays.

  Args:
    folder: of `save`.
    name: the phase.
    like: tree of arrays or shapes that the file must match exactly; None
      takes what is there.

  Raises:
    InputError: no such file, not a whole safetensors file, or a tensor that is
      missing, too much, of another shape or type.
  """
  path = pathlib.Path(folder) / f'{name}.safetensors'
  tensors = {}
  for key, (shape, code, data) in _read(path).items():
    if code not in _DTYPES:
      raise InputError(f'{path}: tensor {key} has the unknown type {code}')
    x = np.frombuffer(data, _DTYPES[code]).reshape(shape)
    tensors[key] = x.astype(np.float32)
    if not np.isfinite(tensors[key]).all():
      raise InputError(f'{path}: tensor {key} has values that are not finite')
  variables = traverse_util.unflatten_dict(tensors, sep='/')
  if like is not None:
    check_tensors(path, variables, like)
  return variables


def read_metadata(path: str | pathlib.Path) -> dict[str, str]:
  """Returns the texts that a safetensors file carries.

  Raises:
    InputError: it is not there, or damaged.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise InputError(f'no weights {path}')
  try:
    with safetensors.safe_open(path, framework='np') as file:
      return dict(file.metadata() or {})
  except (safetensors.SafetensorError, OSError) as error:
    raise InputError(
      f'{path} is damaged or no safetensors file ({error})'
    ) from error


def check_tensors(
  path: str | pathlib.Path, variables: Mapping[str, Any], like: Any
) -> None:
  """Raises InputError unless two trees have the same names and shapes.

  Args:
    path: where `variables` are from, for the message.
    variables: tree of arrays.
    like: tree of arrays or shapes.
  """
  tensors = traverse_util.flatten_dict(dict(variables), sep='/')
  expected = traverse_util.flatten_dict(dict(like), sep='/')
  # Empty collections have no tensors.
  expected = {k: v for k, v in expected.items() if hasattr(v, 'shape')}
  missing = sorted(expected.keys() - tensors.keys())
  extra = sorted(tensors.keys() - expected.keys())
  for keys, problem in ((missing, 'lacks'), (extra, 'has the unknown')):
    if keys:
      more = f' and {len(keys) - 1} more' if len(keys) > 1 else ''
      raise InputError(f'{path} {problem} tensor {keys[0]}{more}')
  for key, x in tensors.items():
    if x.shape != tuple(expected[key].shape):
      raise InputError(
        f'{path}: tensor {key} has the shape {x.shape}, the model needs '
        f'{tuple(expected[key].shape)}'
      )


def _read(path: pathlib.Path) -> dict[str, tuple[list[int], str, bytes]]:
  """Returns (shape, type, bytes) of each tensor of a safetensors file."""
  try:
    content = path.read_bytes()
  except FileNotFoundError:
    raise InputError(f'no weights {path}') from None
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  try:
    tensors = safetensors.deserialize(content)
  except safetensors.SafetensorError as error:
    raise InputError(
      f'{path} is damaged or no safetensors file ({error})'
    ) from error
  return {k: (v['shape'], v['dtype'], v['data']) for k, v in tensors}


def save_config(folder: str | pathlib.Path, config: Mapping[str, Any]) -> None:
  """Writes config.json; its keys are those that `load_config` returns."""
  text = json.dumps({'format': FORMAT, **config}, indent=2, sort_keys=True)
  _write(pathlib.Path(folder) / CONFIG_NAME, text.encode() + b'\n')


def load_config(folder: str | pathlib.Path) -> dict[str, Any]:
  """Reads config.json of a folder of weights.

  Returns:
    `{'format': 1, 'model': {module: keywords}, 'resolution': int,
    'audio_encoder': str, 'phases': {phase: how it was trained}}`.

  Raises:
    InputError: no such folder, no config, not JSON, or of a later format.
  """
  folder = pathlib.Path(folder)
  path = folder / CONFIG_NAME
  if not folder.is_dir():
    raise InputError(f'no folder of weights {folder}')
  try:
    config = json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise InputError(
      f'{folder} is no folder of weights: it has no {CONFIG_NAME}'
    ) from None
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  except (ValueError, RecursionError) as error:
    raise InputError(f'{path} is not JSON: {error}') from error
  lacking = [
    key
    for key in _CONFIG_KEYS
    if not isinstance(config, dict) or key not in config
  ]
  if lacking:
    raise InputError(f'{path} lacks the key {lacking[0]!r}')
  for key in ('model', 'phases'):
    parts = config[key].values() if isinstance(config[key], dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
      raise InputError(f'{path}: {key!r} must be an object of objects')
  resolution = config['resolution']
  if not isinstance(resolution, int) or not 0 < resolution <= MAX_RESOLUTION:
    raise InputError(
      f'{path}: resolution {resolution!r} is not in 1 to {MAX_RESOLUTION}'
    )
  if config['format'] != FORMAT:
    raise InputError(
      f'{path} has the format {config["format"]!r}; this version of mdcf_jax '
      f'reads format {FORMAT}'
    )
  return config


def describe(variables: Any) -> tuple[int, int]:
  """Returns (number of tensors, number of numbers in them) of a tree."""
  leaves = jax.tree.leaves(variables)
  return len(leaves), sum(int(np.prod(x.shape)) for x in leaves)


def inspect(path: str | pathlib.Path) -> tuple[str, str]:
  """Returns (types of the tensors, most numbers first; sha256) of a file.

  Raises:
    InputError: it is not there, or damaged.
  """
  path = pathlib.Path(path)
  sizes: dict[str, int] = {}
  for shape, code, _ in _read(path).values():
    sizes[code] = sizes.get(code, 0) + int(np.prod(shape))
  types = '+'.join(sorted(sizes, key=sizes.get, reverse=True))
  return types, hashlib.sha256(path.read_bytes()).hexdigest()


def fingerprint(variables: Any) -> str:
  """Returns eight digits that a tree of arrays shares with its copies alone."""
  digest = hashlib.sha256()
  for x in jax.tree.leaves(variables):
    digest.update(np.ascontiguousarray(x).tobytes())
  return digest.hexdigest()[:8]


def check_output(folder: pathlib.Path, names: Iterable[str]) -> None:
  """Raises InputError unless `folder` may be replaced by weights.

  Args:
    folder: new, empty, or a folder of weights and texts (`.md`).
    names: whose safetensors files it may hold.
  """
  if not folder.name:
    raise InputError(f'{folder} cannot be replaced; name a folder in it')
  if not folder.exists():
    return
  entries = list(folder.iterdir()) if folder.is_dir() else [folder]
  known = {CONFIG_NAME, *(f'{name}.safetensors' for name in names)}
  others = [p for p in entries if p.name not in known and p.suffix != '.md']
  is_weights = any(p.name == CONFIG_NAME for p in entries)
  if others or (entries and not is_weights):
    raise InputError(
      f'{folder} exists and is no folder of weights; it stays as it is'
    )


@contextlib.contextmanager
def replacing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new folder that takes the place of `folder` if all goes well.

  Raises:
    InputError: it cannot be written.
  """
  partial = folder.with_name(f'.{folder.name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  try:
    partial.mkdir(parents=True)
    yield partial
    _swap(partial, folder)
  except OSError as error:
    raise InputError(f'cannot write {folder}: {error.strerror}') from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _swap(new: pathlib.Path, folder: pathlib.Path) -> None:
  """Puts `new` in the place of `folder`, which is whole at any moment.

  Texts (`.md`) of the old one are kept.
  """
  old = folder.with_name(f'.{folder.name}.old')
  shutil.rmtree(old, ignore_errors=True)
  if folder.exists():
    for text in folder.glob('*.md'):
      shutil.copy2(text, new)
    os.replace(folder, old)
  try:
    os.replace(new, folder)
  except OSError:
    if old.exists():
      os.replace(old, folder)
    raise
  shutil.rmtree(old, ignore_errors=True)


def _write(path: pathlib.Path, content: bytes) -> None:
  """Writes a file beside its name and renames it when whole."""
  partial = path.with_name(f'.{path.name}.partial')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content)
    os.replace(partial, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      partial.unlink()
    raise InputError(f'cannot write {path}: {error.strerror}') from error

"""Named tensors of other implementations, and how they become our variables.

A table says for every tensor of a public state dict where it goes and how it
is laid out. `apply` uses every tensor exactly once; what is missing, left over
or misshaped is an error that names it. Nothing is ever unpickled.
"""

import dataclasses
import fnmatch
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from flax import traverse_util

from mdcf_jax.errors import InputError, reading

PICKLES = ('.pth', '.pt', '.bin', '.ckpt', '.tar', '.pkl', '.pickle')
_CODES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'I64': np.int64,
  'I32': np.int32,
  'I16': np.int16,
  'I8': np.int8,
  'U8': np.uint8,
  'BOOL': np.bool_,
}
_NAMED = 3  # Tensors that an error names; of the others it tells the number.


@dataclasses.dataclass(frozen=True)
class Entry:
  """Where one tensor goes.

  Attributes:
    path: as 'params/encoder/layer_0/kernel'. Several paths cut the tensor
      along `axis`, in the sizes that the variables have.
    layout: a key of LAYOUTS.
    axis: of the cut or of the order, in our layout.
    order: where our numbers stand in the tensor, along `axis`.
    slot: place along the first axis of a variable that stacks several tensors;
      None if the tensor is the variable.
  """

  path: str | tuple[str, ...]
  layout: str = 'same'
  axis: int = -1
  order: tuple[int, ...] | None = None
  slot: int | None = None

  @property
  def paths(self) -> tuple[str, ...]:
    """`path` as a tuple, whatever it is."""
    return (self.path,) if isinstance(self.path, str) else self.path


Table = dict[str, Entry]  # From the names of the public implementation.


@dataclasses.dataclass(frozen=True)
class Description:
  """What a file of tensors is.

  Attributes:
    model: keywords of our modules, as in config.json.
    shapes: of the variables of those modules.
    table: how the tensors become these variables.
    audio_features: width of the sound's features; 0 for what hears nothing.
    constants: variables that belong to the model and come from no tensor.
  """

  model: dict[str, Any]
  shapes: Mapping[str, Any]
  table: Table
  audio_features: int = 0
  constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _conv(x: np.ndarray) -> np.ndarray:
  """`[O, I, ...]` to `[..., I, O]`."""
  return np.moveaxis(x, (0, 1), (-1, -2))


def _conv_transpose(x: np.ndarray) -> np.ndarray:
  """`[I, O, ...]` to `[..., I, O]`."""
  return np.moveaxis(x, (0, 1), (-2, -1))


def _dense(x: np.ndarray) -> np.ndarray:
  """`[O, I]`, or a convolution `[O, I, 1, ...]`, to `[I, O]`."""
  return x.reshape(x.shape[:2]).T


def _flat(x: np.ndarray) -> np.ndarray:
  """A gain with axes of one, as `[1, C, 1, 1]`, to `[C]`."""
  return x.reshape(max(x.shape))


# In a frame: a convolution over [T, H, W] whose size along T is one.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  'same': lambda x: x,
  'conv': _conv,
  'conv_in_frame': lambda x: _conv(np.squeeze(x, 2)),
  'conv_transpose': _conv_transpose,
  'conv_transpose_in_frame': lambda x: _conv_transpose(np.squeeze(x, 2)),
  'dense': _dense,
  'flat': _flat,
}


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Reads all tensors of a safetensors or npz file.

  Raises:
    InputError: no such file, a pickle, or damaged.
  """
  path = pathlib.Path(path)
  try:
    with path.open('rb') as file:
      head = file.read(4)
  except OSError as error:
    raise InputError(f'cannot read {path}: {error.strerror}') from error
  is_zip = head == b'PK\x03\x04'
  if path.suffix in PICKLES or (is_zip and _holds_pickle(path)):
    raise InputError(
      f'{path} is a pickle, which can run programs when it is opened; convert '
      'it with scripts/pth_to_safetensors.py first'
    )
  if path.suffix == '.npz' or is_zip:
    with reading(path), np.load(path, allow_pickle=False) as file:
      return dict(file)
  return _read_safetensors(path)


def _holds_pickle(path: pathlib.Path) -> bool:
  """Whether it is the archive that torch.save writes, whatever its name."""
  with reading(path), zipfile.ZipFile(path) as file:
    return any(name.endswith('.pkl') for name in file.namelist())


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  with reading(path, 'safetensors and npz files can be read'):
    stored = safetensors.deserialize(path.read_bytes())
  tensors = {}
  for name, entry in stored:
    if entry['dtype'] not in _CODES:
      raise InputError(
        f'{path}: tensor {name} has the unknown type {entry["dtype"]}'
      )
    x = np.frombuffer(entry['data'], _CODES[entry['dtype']])
    x = x.reshape(entry['shape'])
    # numpy knows bfloat16 by name only.
    tensors[name] = x.astype(np.float32) if entry['dtype'] == 'BF16' else x
  return tensors


def apply(
  tensors: Mapping[str, np.ndarray],
  table: Table,
  shapes: Mapping[str, Any],
  dead: Iterable[str] = (),
) -> dict[str, Any]:
  """Returns the tensors as the variables of a module, in float32.

  Args:
    tensors: by their public names.
    table: of those names.
    shapes: tree of shapes, of `jax.eval_shape(module.init, ...)`.
    dead: patterns (as of file names) of tensors that are known to be of no
      use; they may be absent.

  Raises:
    InputError: a tensor is missing, unknown, of another shape, or has values
      that are not finite.
    ValueError: the table does not fill the module.
  """
  expected = traverse_util.flatten_dict(dict(shapes), sep='/')
  expected = {
    path: tuple(x.shape) for path, x in expected.items() if hasattr(x, 'shape')
  }
  _check_table(table, expected)
  unknown = [
    name
    for name in tensors
    if name not in table and not is_dead(name, tuple(dead))
  ]
  missing = [name for name in table if name not in tensors]
  _refuse({'missing tensors': missing, 'unknown tensors': unknown})

  variables, misshaped, damaged = {}, [], []
  for name, entry in table.items():
    pieces = _pieces(tensors[name], entry, expected)
    if pieces is None:
      needed = ', '.join(f'{path} {expected[path]}' for path in entry.paths)
      misshaped.append(f'{name} {tensors[name].shape} for {needed}')
      continue
    if not all(np.isfinite(piece).all() for piece in pieces):
      damaged.append(name)
    for path, piece in zip(entry.paths, pieces):
      if path not in variables:
        variables[path] = np.empty(expected[path], np.float32)
      variables[path][... if entry.slot is None else entry.slot] = piece
  _refuse({'misshaped tensors': misshaped})
  _refuse({'tensors with values that are not finite': damaged})
  return traverse_util.unflatten_dict(variables, sep='/')


def shape(tensors: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
  """Returns the shape of a tensor that decides what the model is.

  Raises:
    InputError: there is none of this name.
  """
  if name not in tensors:
    _refuse({'missing tensors': [name]})
  return tensors[name].shape


def count_blocks(tensors: Iterable[str], prefix: str) -> int:
  """Returns one more than the largest number that follows `prefix`."""
  numbers = (
    name[len(prefix) :].split('.')[0]
    for name in tensors
    if name.startswith(prefix)
  )
  return 1 + max((int(n) for n in numbers if n.isdecimal()), default=-1)


def count(tensors: Mapping[str, np.ndarray], table: Table) -> tuple[int, int]:
  """Returns how many numbers the table uses, and how many it leaves."""
  used = sum(x.size for name, x in tensors.items() if name in table)
  return used, sum(x.size for x in tensors.values()) - used


def is_dead(name: str, dead: Iterable[str]) -> bool:
  """Whether a name matches one of the patterns."""
  return any(fnmatch.fnmatchcase(name, pattern) for pattern in dead)


def _pieces(
  x: np.ndarray, entry: Entry, expected: Mapping[str, tuple[int, ...]]
) -> list[np.ndarray] | None:
  """One array for each path of the entry; None if the shapes do not fit."""
  shapes = [expected[path] for path in entry.paths]
  if entry.slot is not None:
    shapes = [shape[1:] for shape in shapes]
  if x.dtype.kind not in 'fiub':
    return None
  try:
    with np.errstate(over='ignore'):  # What becomes infinite is refused later.
      x = LAYOUTS[entry.layout](x).astype(np.float32)
    if entry.order is not None:
      if len(entry.order) != x.shape[entry.axis]:
        return None
      x = np.take(x, entry.order, axis=entry.axis)
    if len(shapes) == 1:
      pieces = [x]
    else:
      sizes = [shape[entry.axis] for shape in shapes]
      if sum(sizes) != x.shape[entry.axis]:
        return None
      pieces = np.split(x, np.cumsum(sizes)[:-1], axis=entry.axis)
  except (ValueError, IndexError):  # Of numpy: too few axes, or too many.
    return None
  fits = all(piece.shape == shape for piece, shape in zip(pieces, shapes))
  return pieces if fits else None


def _check_table(table: Table, expected: Mapping[str, tuple[int, ...]]) -> None:
  """Raises ValueError unless every variable has all of its tensors, once."""
  filled = sorted(
    (path, -1 if entry.slot is None else entry.slot)
    for entry in table.values()
    for path in entry.paths
  )
  stacked = {path for path, slot in filled if slot >= 0}
  wanted = sorted(
    (path, slot)
    for path, shape in expected.items()
    for slot in (range(shape[0]) if path in stacked else (-1,))
  )
  if filled != wanted:
    wrong = sorted(set(filled) ^ set(wanted)) or filled
    raise ValueError(
      f'the table does not fill the module exactly: {wrong[:_NAMED]} and '
      f'{max(len(wrong) - _NAMED, 0)} more'
    )


def _refuse(problems: Mapping[str, list[str]]) -> None:
  """Raises InputError with the first names of each kind, if there are any."""
  words = []
  for problem, names in problems.items():
    if names:
      rest = len(names) - _NAMED
      more = f' and {rest} more' if rest > 0 else ''
      words.append(
        f'{problem} ({len(names)}): {", ".join(names[:_NAMED])}{more}'
      )
  if words:
    raise InputError('; '.join(words))

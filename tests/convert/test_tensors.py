"""Tables of names: every tensor once, and one clear line for bad files."""

import pickle
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy

from mdcf_jax.convert import tensors
from mdcf_jax.convert.tensors import Entry
from mdcf_jax.errors import InputError

TABLE = {
  'conv.weight': Entry('params/conv/kernel', 'conv'),
  'qkv.weight': Entry(('params/q/kernel', 'params/k/kernel'), 'dense', axis=-1),
  'a.gain': Entry('params/gains', slot=0),
  'b.gain': Entry('params/gains', slot=1),
}
SHAPES = {
  'params': {
    'conv': {'kernel': jax.ShapeDtypeStruct((3, 3, 2, 4), np.float32)},
    'q': {'kernel': jax.ShapeDtypeStruct((5, 2), np.float32)},
    'k': {'kernel': jax.ShapeDtypeStruct((5, 3), np.float32)},
    'gains': jax.ShapeDtypeStruct((2, 4), np.float32),
  }
}
DEAD = ('*.num_batches_tracked',)


def example():
  rng = np.random.RandomState(0)
  draw = lambda *shape: rng.randn(*shape).astype(np.float32)
  return {
    'conv.weight': draw(4, 2, 3, 3),
    'qkv.weight': draw(5, 5),
    'a.gain': draw(4),
    'b.gain': draw(4),
    'norm.num_batches_tracked': np.array(7),
  }


def apply(changes=None, without=()):
  given = example() | (changes or {})
  given = {k: v for k, v in given.items() if k not in without}
  return tensors.apply(given, TABLE, SHAPES, DEAD)


def test_tensors_go_where_the_table_says():
  given, params = example(), apply()['params']
  kernel = given['conv.weight'].transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(params['conv']['kernel'], kernel)
  np.testing.assert_array_equal(
    params['q']['kernel'], given['qkv.weight'].T[:, :2]
  )
  np.testing.assert_array_equal(
    params['k']['kernel'], given['qkv.weight'].T[:, 2:]
  )
  np.testing.assert_array_equal(params['gains'][1], given['b.gain'])
  assert jax.tree.map(np.shape, params) == jax.tree.map(
    lambda x: x.shape, SHAPES['params']
  )
  assert tensors.count(given, TABLE) == (72 + 25 + 8, 1)


@pytest.mark.parametrize(
  'layout, shape, expected',
  [
    ('conv', (4, 3, 5), (5, 3, 4)),
    ('conv_in_frame', (4, 3, 1, 5, 6), (5, 6, 3, 4)),
    ('conv_transpose', (4, 3, 5, 6), (5, 6, 4, 3)),
    ('conv_transpose_in_frame', (4, 3, 1, 5, 6), (5, 6, 4, 3)),
    ('dense', (4, 3, 1, 1), (3, 4)),
    ('flat', (1, 4, 1), (4,)),
  ],
)
def test_layouts(layout, shape, expected):
  assert tensors.LAYOUTS[layout](np.zeros(shape)).shape == expected


@pytest.mark.parametrize(
  'changes, without, message',
  [
    ({}, ['a.gain'], r'missing tensors \(1\): a.gain'),
    ({'new': np.zeros(2)}, [], r'unknown tensors \(1\): new'),
    (
      {f'new{i}': np.zeros(2) for i in range(9)},
      ['a.gain'],
      r'\(1\): a.gain; unknown tensors \(9\): new0, new1, new2 and 6 more',
    ),
    (
      {'conv.weight': np.zeros((4, 3, 3, 3))},
      [],
      r'conv.weight \(4, 3, 3, 3\) for params/conv/kernel \(3, 3, 2, 4\)',
    ),
    ({'qkv.weight': np.zeros((6, 5))}, [], 'misshaped .* qkv.weight'),
    ({'qkv.weight': np.zeros(6)}, [], 'misshaped .* qkv.weight'),
    ({'a.gain': np.zeros(1)}, [], 'misshaped .* a.gain'),
    ({'a.gain': np.full(4, 'x')}, [], 'misshaped .* a.gain'),
    ({'a.gain': np.full(4, np.nan)}, [], r'not finite \(1\): a.gain'),
    ({'a.gain': np.full(4, 1e300)}, [], 'not finite'),
  ],
)
def test_what_does_not_fit_is_named(changes, without, message):
  with pytest.raises(InputError, match=message):
    apply(changes, without)


def test_a_table_that_does_not_fill_the_module_is_our_mistake():
  with pytest.raises(ValueError, match='gains') as caught:
    short = {k: v for k, v in TABLE.items() if k != 'b.gain'}
    tensors.apply(example(), short, SHAPES, DEAD)
  assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize('suffix', ['safetensors', 'npz'])
def test_files_are_read(tmp_path, suffix):
  path, given = tmp_path / f'weights.{suffix}', example()
  given['half'] = np.ones(3, np.float16)
  if suffix == 'npz':
    np.savez(path, **given)
  else:
    safetensors.numpy.save_file(given, path)
  found = tensors.read(path)
  assert set(found) == set(given)
  for name, x in given.items():
    np.testing.assert_array_equal(found[name], x)
    assert found[name].dtype == x.dtype


def write_broken(path, kind):
  """Writes a file that is no whole file of tensors."""
  if kind in ('truncated', 'header'):
    content = safetensors.numpy.save(example())
    content = content[:-5] if kind == 'truncated' else b'\xff' * 8 + content
    path.write_bytes(content)
  elif kind in ('truncated npz', 'damaged npz', 'objects'):
    objects = {'x': np.array([{}], object)} if kind == 'objects' else {}
    np.savez(path, **example() | objects)
    content = bytearray(path.read_bytes())
    if kind == 'truncated npz':
      content = content[:-30]
    elif kind == 'damaged npz':
      content[len(content) // 4] ^= 255
    path.write_bytes(content)
  elif kind == 'text':
    path.write_text('these are not weights')
  else:
    path.touch()


@pytest.mark.parametrize(
  'name, kind',
  [
    ('a.safetensors', 'truncated'),
    ('a.safetensors', 'header'),
    ('a.safetensors', 'text'),
    ('a.safetensors', 'empty'),
    ('a.npz', 'truncated npz'),
    ('a.npz', 'damaged npz'),
    ('a.npz', 'objects'),
    ('a.npz', 'text'),
    ('weights', 'text'),
  ],
)
def test_a_damaged_file_is_named(tmp_path, name, kind):
  path = tmp_path / name
  write_broken(path, kind)
  with pytest.raises(InputError, match=f'{name} cannot be read') as caught:
    tensors.read(path)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['a.pth', 'a.pt', 'pytorch_model.bin'])
def test_a_pickle_is_not_opened(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(pickle.dumps(example()))
  with pytest.raises(InputError, match='scripts/pth_to_safetensors.py'):
    tensors.read(path)


def test_the_archive_of_torch_is_known_by_what_it_holds(tmp_path):
  path = tmp_path / 'weights.npz'
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('archive/data.pkl', b'')
  with pytest.raises(InputError, match='is a pickle'):
    tensors.read(path)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(InputError, match='No such file'):
    tensors.read(tmp_path / 'none.npz')

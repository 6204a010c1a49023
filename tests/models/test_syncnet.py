"""SyncNet: size, weights by public names, and outputs of PyTorch."""

import functools
import pathlib

import jax
import numpy as np
import pytest

from mdcf_jax.convert import syncnet as names
from mdcf_jax.convert import tensors
from mdcf_jax.errors import InputError
from mdcf_jax.models.syncnet import SyncNet
from tests.random_syncnet import public_shapes, random_weights

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'syncnet.npz'


@functools.cache
def weights():
  return random_weights(public_shapes(names.table(), names.shapes()))


def convert(given):
  description = names.describe(given)
  return tensors.apply(given, description.table, description.shapes, names.DEAD)


def assert_close(ours, theirs):
  """Rounding through a deep network, relative to the largest value."""
  assert ours.shape == theirs.shape
  atol = 1e-5 * np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)


def test_it_has_the_public_size():
  """Counted from SyncNetModel.py: weights and biases, gains and shifts."""
  sizes = jax.tree.map(lambda x: x.size, names.shapes()['params'])
  audio = 64 * 10 + 192 * 577 + 384 * 1729 + 256 * 3457 + 256 * 2305
  audio += 512 * 5121 + 2 * (64 + 192 + 384 + 256 + 256 + 512)
  video = 96 * 736 + 256 * 2401 + 3 * 256 * 2305 + 512 * 9217
  video += 2 * (96 + 4 * 256 + 512)
  head = 512 * 513 + 2 * 512 + 1024 * 513
  assert sum(jax.tree.leaves(sizes['audio'])) == audio + head
  assert sum(jax.tree.leaves(sizes['video'])) == video + head
  assert sum(jax.tree.leaves(sizes)) == 13_631_616


def test_it_equals_the_public_definition():
  rng = np.random.RandomState(2)
  video = rng.randint(0, 256, (1, 5, 224, 224, 3)).astype(np.float32)
  mfcc = (10 * rng.randn(1, 20, 13)).astype(np.float32)
  ours = jax.jit(SyncNet().apply)(convert(weights()), video, mfcc)
  with np.load(GOLDEN, allow_pickle=False) as stored:
    for name, x in zip(('video', 'audio'), ours):
      assert np.std(stored[name]) > 1  # Otherwise anything would do.
      assert_close(x, stored[name])


def test_every_public_tensor_is_used_once_and_comes_back():
  """The values are permuted, never changed."""
  given = weights()
  variables = convert(given)
  used = 0
  for name, entry in names.table().items():
    x = variables
    for key in entry.path.split('/'):
      x = x[key]
    used += x.size
    np.testing.assert_array_equal(np.sort(x, None), np.sort(given[name], None))
  assert used == sum(x.size for x in given.values())


def test_counters_are_left_out_and_gaps_are_named():
  given = weights()
  counter = {'netcnnaud.1.num_batches_tracked': np.array(7)}
  convert(given | counter)
  with pytest.raises(InputError, match='missing.*netfclip.3.bias'):
    convert({k: v for k, v in given.items() if k != 'netfclip.3.bias'})
  with pytest.raises(InputError, match='unknown.*netfcspk'):
    convert(given | {'netfcspk.0.weight': np.zeros(3, np.float32)})

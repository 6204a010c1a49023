"""S3FD: size, weights by public names, and outputs of PyTorch."""

import functools
import pathlib

import jax
import numpy as np
import pytest

from mdcf_jax.convert import s3fd as names
from mdcf_jax.convert import tensors
from mdcf_jax.errors import InputError
from mdcf_jax.models.s3fd import S3FD
from tests.random_syncnet import public_shapes, random_weights

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 's3fd.npz'


@functools.cache
def weights():
  return random_weights(public_shapes(names.table(), names.shapes()))


def convert(given):
  description = names.describe(given)
  return tensors.apply(given, description.table, description.shapes, names.DEAD)


def assert_close(ours, theirs):
  """Rounding through a deep network, relative to the largest value."""
  theirs = np.moveaxis(theirs, 1, -1)
  assert ours.shape == theirs.shape
  atol = 1e-5 * np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)


def test_it_has_the_public_size():
  """VGG16's convolutions, fc6 and fc7, three scales, extras and heads."""
  vgg = 14_714_688
  seven = 1024 * (9 * 512 + 1) + 1024 * 1025
  scales = 256 + 512 + 512
  extras = 256 * 1025 + 512 * (9 * 256 + 1) + 128 * 513 + 256 * (9 * 128 + 1)
  widths = (256, 512, 512, 1024, 512, 256)
  heads = sum(6 * (9 * width + 1) for width in widths) + 2 * (9 * 256 + 1)
  sizes = jax.tree.map(lambda x: x.size, names.shapes())
  total = sum(jax.tree.leaves(sizes))
  assert total == vgg + seven + scales + extras + heads


def test_it_equals_the_public_definition():
  """The third grid of this height has a row of a pooling's last half cell."""
  image = np.random.RandomState(4).uniform(-120, 130, (1, 3, 43, 64))
  image = np.moveaxis(image.astype(np.float32), 1, -1)
  ours = jax.jit(S3FD().apply)(convert(weights()), image)
  assert len(ours) == 6
  with np.load(GOLDEN, allow_pickle=False) as stored:
    for i, (scores, offsets) in enumerate(ours):
      assert np.std(stored[f'offsets_{i}']) > 1e-2
      assert_close(scores, stored[f'scores_{i}'])
      assert_close(offsets, stored[f'offsets_{i}'])


def test_gaps_are_named():
  given = weights()
  with pytest.raises(InputError, match='missing.*L2Norm4_3.weight'):
    convert({k: v for k, v in given.items() if k != 'L2Norm4_3.weight'})
  with pytest.raises(InputError, match='unknown.*vgg.99.bias'):
    convert(given | {'vgg.99.bias': np.zeros(3, np.float32)})


@pytest.mark.parity
@pytest.mark.parametrize('size', [(28, 37), (67, 90)])
def test_any_size_equals_pytorch(size):
  torch = pytest.importorskip('torch', reason='no torch: make parity')
  from tests import torch_syncnet

  model = torch_syncnet.with_random_weights(torch_syncnet.S3FD(), seed=1)
  assert set(model.state_dict()) == set(weights())
  variables = convert({k: v.numpy() for k, v in model.state_dict().items()})
  image = np.random.RandomState(0).uniform(-120, 130, (2, 3, *size))
  image = image.astype(np.float32)
  with torch.no_grad():
    theirs = model(torch.from_numpy(image))
  ours = jax.jit(S3FD().apply)(variables, np.moveaxis(image, 1, -1))
  for a, b in zip(ours, theirs):
    for x, y in zip(a, b):
      assert_close(x, y.numpy())

"""VGG19 and its loss equal a plain PyTorch definition."""

import jax
import numpy as np
import pytest

from mdcf_jax.models.vgg import VGG19, Perceptual
from mdcf_jax.ops import resize
from tests.models.test_vgg import ATOL, RTOL, convert
from tests.random_vgg import random_vgg19

torch = pytest.importorskip('torch', reason='no torch: make parity')

from tests import torch_models  # noqa: E402

pytestmark = pytest.mark.parity


def images(size, seed=0):
  """`[2, 3, size, size]` in [0, 1]."""
  x = np.random.RandomState(seed).rand(2, 3, size, size)
  return torch.from_numpy(x.astype(np.float32))


def nhwc(x):
  return np.moveaxis(x.detach().numpy(), 1, -1)


def assert_equal(ours, theirs):
  scale = np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=ATOL * scale)


def test_all_channels_of_all_layers():
  image = images(48)
  inner = {'params': convert(random_vgg19())['params']['vgg19']}
  ours = jax.jit(VGG19().apply)(inner, nhwc(image))
  theirs = torch_models.vgg19()(image)
  assert [x.shape[-1] for x in ours] == [64, 128, 256, 512, 512]
  for a, b in zip(ours, theirs):
    error = np.abs(a - nhwc(b)).max() / np.abs(nhwc(b)).max()
    print(f'{a.shape[-1]} channels: largest error {error:.1e} of the largest')
    assert_equal(a, nhwc(b))


@pytest.mark.parametrize('factor', [1, 2, 4, 8])
def test_scales(factor):
  image = images(40)
  theirs = torch_models.downsample(image, factor)
  assert_equal(resize.antialias_downsample(nhwc(image), factor), nhwc(theirs))


def test_loss_and_its_gradient():
  """The gradient flows to the prediction alone, as with `detach`."""
  variables, model = convert(random_vgg19()), torch_models.vgg19()
  pred, target = images(128), images(128, seed=1)
  pred.requires_grad_(True)
  theirs = torch_models.perceptual_loss(model, pred, target)
  theirs.backward()

  def loss(pred, target):
    return Perceptual().apply(variables, 2 * pred - 1, 2 * target - 1).mean()

  value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(
    nhwc(pred), nhwc(target)
  )
  np.testing.assert_allclose(value, theirs.item(), rtol=RTOL)
  expected = nhwc(pred.grad)
  # Where a ReLU or the sign of a difference is decided by rounding, single
  # pixels differ.
  error = np.linalg.norm(grads[0] - expected) / np.linalg.norm(expected)
  print(f'gradient: error {error:.1e} of its length')
  assert error < 1e-2
  assert not np.any(grads[1])

"""Conventions of the public code: sampling, resizing, moments, layouts."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import tensors
from mdcf_jax.models import layers
from mdcf_jax.ops import convolution, pose, resize, warp
from tests.parity import assert_equal, channels_last, load, state_dict

pytestmark = pytest.mark.parity


@pytest.fixture(scope='module')
def arrays():
  return load('primitives')


@pytest.mark.parametrize('padding', ['zeros', 'reflection'])
def test_warp(arrays, padding):
  out = warp.warp(
    channels_last(arrays['in/x']),
    jnp.asarray(arrays['in/grid']),
    align_corners=False,
    padding=padding,
  )
  theirs = arrays[f'out/grid_sample_{padding}_ac_false']
  assert_equal(out, channels_last(theirs))


def test_resize(arrays):
  x = channels_last(arrays['in/x'])
  resized = resize.resize_bilinear(x, (26, 32), align_corners=False)
  theirs = arrays['out/resize_bilinear_ac_false_32x26']
  assert_equal(resized, channels_last(theirs))
  up = channels_last(arrays['out/resize_nearest_x2'])
  same = np.zeros((3, 3, x.shape[-1], x.shape[-1]), np.float32)
  same[1, 1] = np.eye(x.shape[-1])
  assert_equal(convolution.conv2d_of_nearest(x, same), up)
  pooled = channels_last(arrays['out/avg_pool2'])
  assert_equal(resize.average_pool(x), pooled)
  assert_equal(warp.identity_grid(5, 7), arrays['out/coordinate_grid_5x7'])


@pytest.mark.parametrize('factor', [2, 4, 8])
def test_antialiasing(arrays, factor):
  out = resize.antialias_downsample(channels_last(arrays['in/aa']), factor)
  theirs = arrays[f'out/antialias_{1 / factor}']
  assert_equal(out, channels_last(theirs))
  kernel = arrays[f'out/antialias_kernel_{1 / factor}']
  # One pixel, alone in the middle of what its neighbours see of it.
  size = kernel.shape[-1]
  radius, side = size // 2, 4 * factor + 1
  side += 2 * (-(-radius // factor) * factor)
  image = np.zeros((1, side, side, 1), np.float32)
  seen = np.zeros((size, size), np.float32)
  for dy in range(factor):
    for dx in range(factor):
      y, x = side // 2 + dy, side // 2 + dx
      image[:] = 0
      image[0, y, x] = 1
      out = resize.antialias_downsample(image, factor)[0, ..., 0]
      for (i, j), value in np.ndenumerate(np.asarray(out)):
        ky, kx = y - i * factor + radius, x - j * factor + radius
        if 0 <= ky < size and 0 <= kx < size:
          seen[ky, kx] = value
  for channel in kernel[:, 0]:
    assert_equal(seen, channel)


def test_principal_axes(arrays):
  """Without an SVD, but for the signs, which are arbitrary."""
  covar = arrays['in/cov']
  axes = np.asarray(pose.principal_axes(jnp.asarray(covar)))
  assert_equal(axes @ np.swapaxes(axes, -1, -2), covar)
  theirs = arrays['out/affine_sqrt']
  signs = np.sign(np.sum(axes * theirs, axis=-2, keepdims=True))
  assert_equal(axes * signs, theirs)
  flat = axes.reshape(-1, 2, 2)
  lengths = np.linalg.norm(flat, axis=1)
  assert_equal(lengths**2, arrays['out/svd/s'])
  determinant = np.abs(np.linalg.det(flat))
  assert_equal(determinant, np.abs(arrays['out/affine_sqrt_det']))
  for name in ('u', 'v'):
    vectors, theirs = flat / lengths[:, None], arrays[f'out/svd/{name}']
    signs = np.sign(np.sum(vectors * theirs, axis=1, keepdims=True))
    assert_equal(vectors * signs, theirs)


def test_gaussian(arrays):
  center, covar = (jnp.asarray(arrays[f'in/{k}']) for k in ('center', 'cov'))
  heat = pose.gaussian(center, covar, 8, 8)
  assert_equal(heat, channels_last(arrays['out/gaussian_cov']))


def test_transposed_convolution(arrays):
  given = state_dict(arrays)
  weight, bias = (
    next(x for x in given.values() if x.ndim == n) for n in (5, 1)
  )
  kernel = tensors.LAYOUTS['conv_transpose_in_frame'](weight)
  x = jnp.asarray(arrays['in/ct_in'])[0].transpose(1, 2, 3, 0)
  module = layers.Upsample(kernel.shape[-1])
  out = module.apply({'params': dict(kernel=kernel, bias=bias)}, x)
  theirs = arrays['out/conv_transpose3d'][0].transpose(1, 2, 3, 0)
  assert_equal(out, theirs)

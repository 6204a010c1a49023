"""Convolutions of images, alone and to twice the size."""

import jax
import jax.numpy as jnp
import numpy as np

# A product over gathered patches is many times faster than small convolutions
# and their gradients in XLA's CPU backend.
GATHER_PIXELS = 16
DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')

# Which of a kernel's taps (last) meets which of the two inputs (middle) that
# each phase of an output of twice the size (first) sees.
_NEAREST = np.zeros((2, 2, 3), np.float32)
_TRANSPOSED = np.zeros((2, 2, 4), np.float32)
for _phase, _input, _tap in (
  *((0, 0, 0), (0, 1, 1), (0, 1, 2)),
  *((1, 0, 0), (1, 0, 1), (1, 1, 2)),
):
  _NEAREST[_phase, _input, _tap] = 1
for _phase, _input, _tap in ((0, 0, 3), (0, 1, 1), (1, 0, 2), (1, 1, 0)):
  _TRANSPOSED[_phase, _input, _tap] = 1


def conv2d(x: jax.Array, kernel: jax.Array, stride: int, pad: int) -> jax.Array:
  """Convolves `[N, H, W, C]` with `[K, K, C, C']`, `pad` zeros on all sides."""
  _, height, width, channels = x.shape
  size = kernel.shape[0]
  if height == width == 1 and size == 2 * pad + 1:
    # All but the central tap would read zeros.
    return x @ kernel[pad, pad]
  if height * width > GATHER_PIXELS:
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      ((pad, pad),) * 2,
      dimension_numbers=DIMENSIONS,
    )
  x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  rows = (height + 2 * pad - size) // stride + 1
  columns = (width + 2 * pad - size) // stride + 1
  patches = [
    x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
    for i in range(size)
    for j in range(size)
  ]
  return jnp.concatenate(patches, -1) @ kernel.reshape(-1, kernel.shape[-1])


def conv2d_of_nearest(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`conv2d(upsample_nearest(x), kernel, 1, 1)` in 4/9 of its products.

  Of the nine pixels below a kernel only four differ, so the taps that meet the
  same one are summed first.

  Args:
    x: `[N, H, W, C]`.
    kernel: `[3, 3, C, C']`, float32 for sums that are not rounded twice.

  Returns:
    `[N, 2H, 2W, C']` in the dtype of x.
  """
  return _to_phases(x, kernel, _NEAREST)


def conv2d_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Transposed convolution of stride 2, with padding 1 in torch's terms.

  Args:
    x: `[N, H, W, C]`.
    kernel: `[4, 4, C, C']`, as torch has it but for the order of axes.

  Returns:
    `[N, 2H, 2W, C']` in the dtype of x.
  """
  return _to_phases(x, kernel, _TRANSPOSED)


def _to_phases(x: jax.Array, kernel: jax.Array, taps: np.ndarray) -> jax.Array:
  """Each of the 2 x 2 pixels that come of one sees 2 x 2 inputs of its own.

  One convolution for all four, whose windows overlap.
  """
  n, height, width, channels = x.shape
  features = kernel.shape[-1]
  kernel = jnp.einsum(
    'aik,bjl,klco->ijcabo', taps, taps, kernel, precision='highest'
  )
  kernel = kernel.reshape(2, 2, channels, 4 * features).astype(x.dtype)
  y = conv2d(x, kernel, 1, 1).reshape(n, height + 1, width + 1, 2, 2, features)
  rows = [
    jnp.stack([y[:, a : a + height, b : b + width, a, b] for b in (0, 1)], 3)
    for a in (0, 1)
  ]
  return jnp.stack(rows, 2).reshape(n, 2 * height, 2 * width, features)

"""Convolution, normalisation by stored statistics, ReLU: of score networks."""

import jax
import jax.numpy as jnp
from flax import linen as nn

EPSILON = 1e-3  # Of batch norm in TensorFlow's Inceptions.


class ConvUnit(nn.Module):
  """Convolution without bias, batch norm of inference, ReLU; any rank.

  The norm's scale, bias, mean and var are parameters beside the kernel, neither
  folded into it nor ever updated, so that a file holds the public numbers. On
  every device all products are float32: a score must not depend on the chip.

  Attributes:
    features: output channels C'.
    kernel: size along each axis of space, and of time if there is one.
    stride: of all these axes.
    padding: 'SAME' as in TensorFlow, or 'VALID'.
  """

  features: int
  kernel: tuple[int, ...]
  stride: int = 1
  padding: str = 'SAME'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, ..., C]` to `[B, ..., C']`, float32."""
    weights = self.param(
      'kernel',
      nn.initializers.he_normal(),
      (*self.kernel, x.shape[-1], self.features),
    )
    space = 'DHW'[-len(self.kernel) :]
    x = jax.lax.conv_general_dilated(
      x,
      weights,
      (self.stride,) * len(space),
      self.padding,
      dimension_numbers=(f'N{space}C', f'{space}IO', f'N{space}C'),
      precision=jax.lax.Precision.HIGHEST,
    )
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    scale, bias, mean, var = (
      self.param(name, init, (self.features,))
      for name, init in dict(
        scale=ones, bias=zeros, mean=zeros, var=ones
      ).items()
    )
    gain = scale * jax.lax.rsqrt(var + EPSILON)
    return nn.relu((x - mean) * gain + bias)


def chain(x: jax.Array, *units: nn.Module) -> jax.Array:
  """Passes x through the units, one after the other."""
  for unit in units:
    x = unit(x)
  return x


def join(*branches: jax.Array) -> jax.Array:
  """Concatenates along the channels."""
  return jnp.concatenate(branches, axis=-1)

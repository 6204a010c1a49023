"""Modules that work on a long array piece by piece, so that memory lasts."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def one_by_one(
  module: nn.Module,
  cut: tuple,
  *given: Any,
  size: int,
  axis: int = 0,
  parts: int = 1,
) -> jax.Array:
  """Calls `module` on pieces of arrays, each after the other.

  Of what lies within the module there is never more than one piece. For modules
  that treat every entry of the axis by itself; the results are then those of a
  call with the whole.

  Args:
    module: bound, a submodule of the caller.
    cut: arguments of it, arrays or trees of them, with one length along `axis`.
    given: its further arguments, the same for every piece.
    size: entries of a piece at most. Where no similar size divides the array,
      the last piece repeats its end.
    axis: along which to cut, and of the result.
    parts: devices that the axis is split over. A piece has entries of each of
      them; that takes a copy of the array, in another order.
  """
  length = jax.tree.leaves(cut)[0].shape[axis]
  size = _divisor(length // parts, max(1, size // parts))
  count = -(-length // (parts * size))
  # Parameters are drawn once, outside.
  if count == 1 or module.is_initializing():
    return module(*cut, *given)

  def split(x):
    x = jnp.moveaxis(x, axis, 0)
    pad = ((0, parts * count * size - length),) + ((0, 0),) * (x.ndim - 1)
    x = jnp.pad(x, pad, mode='edge')
    x = x.reshape(parts, count, size, *x.shape[1:])
    x = jnp.moveaxis(x, 1, 0).reshape(count, parts * size, *x.shape[3:])
    return jnp.moveaxis(x, 1, axis + 1)

  def call(module, carry, piece):
    return carry, module(*piece, *given)

  scan = nn.scan(
    call, variable_broadcast='params', split_rngs={'params': False}
  )
  _, y = scan(module, (), jax.tree.map(split, cut))
  y = jnp.moveaxis(y, axis + 1, 1)
  y = y.reshape(count, parts, size, *y.shape[2:])
  y = jnp.moveaxis(y, 0, 1).reshape(parts * count * size, *y.shape[3:])
  return jnp.moveaxis(y[:length], 0, axis)


def _divisor(length: int, size: int) -> int:
  """The largest divisor of `length` above a half of `size`, else `size`.

  What is divided evenly needs no padded copy.
  """
  for candidate in range(size, size // 2, -1):
    if length % candidate == 0:
      return candidate
  return size

"""Modules that work on a long array piece by piece, so that memory lasts."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def one_by_one(
  module: nn.Module, cut: tuple, *given: Any, size: int, axis: int = 0
) -> jax.Array:
  """Calls `module` on pieces of arrays, each after the other.

  Of what lies within the module there is never more than one piece. For modules
  that treat every entry of the axis by itself; the results are then those of a
  call with the whole. Entries of a piece lie far apart, so that an array that
  is split over devices gives each of them a part of every piece.

  Args:
    module: bound, a submodule of the caller.
    cut: arguments of it, arrays or trees of them, with one length along `axis`.
    given: its further arguments, the same for every piece.
    size: entries of a piece. The last piece repeats the end of the array.
    axis: along which to cut, and of the result.
  """
  length = jax.tree.leaves(cut)[0].shape[axis]
  count = -(-length // size)
  # Parameters are drawn once, outside.
  if count == 1 or module.is_initializing():
    return module(*cut, *given)

  def split(x):
    x = jnp.moveaxis(x, axis, 0)
    pad = ((0, count * size - length),) + ((0, 0),) * (x.ndim - 1)
    x = jnp.pad(x, pad, mode='edge').reshape(size, count, *x.shape[1:])
    return jnp.moveaxis(x, 0, axis + 1)

  def call(module, carry, piece):
    return carry, module(*piece, *given)

  scan = nn.scan(
    call, variable_broadcast='params', split_rngs={'params': False}
  )
  _, y = scan(module, (), jax.tree.map(split, cut))
  y = jnp.moveaxis(y, axis + 1, 0)
  y = y.reshape(size * count, *y.shape[2:])[:length]
  return jnp.moveaxis(y, 0, axis)

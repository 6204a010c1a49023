"""From frames to latents and back, through the frozen FDE and LMAE.

What the diffusion learns in, without what it learns. `frozen` has the variables
of both as phases receive them; clips pass in pieces of time, because the
auto-encoders need the memory.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from mdcf_jax.models.fde import FDE
from mdcf_jax.models.lmae import LMAE, Identity
from mdcf_jax.phases import guides

CHUNK = 8  # Frames that pass at a time.


def encode(
  fde: FDE,
  lmae: LMAE | Identity,
  frozen: dict,
  source: jax.Array,
  video: jax.Array,
  points: tuple[jax.Array, jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Posterior of the latents of clips (equation 4); no gradient.

  Args:
    source: `[B, H, W, 3]` in [-1, 1].
    video: `[B, T, H, W, 3]`.
    points: guide points of the source `[B, 8, 2]` and of the frames
      `[B, T, 8, 2]`, whose regions take the place of those that FDE finds.

  Returns:
    mean and logvar `[B, T, h, w, C]`.
  """

  of_source = source, *(points or ())[:1]
  of_frames = video, *(points or ())[1:]

  def piece(given):
    frames = given[0]
    single = (jnp.repeat(x, frames.shape[1], axis=0) for x in of_source)
    # Source and frame, then the points of both, if there are any.
    pairs = zip(single, (x.reshape(-1, *x.shape[2:]) for x in given))
    dynamics = fde.apply(
      module_variables(frozen['fde']),
      *itertools.chain(*pairs),
      method=guides.estimate if points else 'estimate',
    )
    moments = lmae.apply(
      module_variables(frozen['lmae']), dynamics, method='encode'
    )
    return tuple(x.reshape(*frames.shape[:2], *x.shape[1:]) for x in moments)

  return jax.lax.stop_gradient(over_time(piece, of_frames))


def encode_source(fde: FDE, frozen: dict, source: jax.Array) -> tuple:
  """Features of `[B, H, W, 3]`, see `FDE.encode`; no gradient."""
  features = fde.apply(module_variables(frozen['fde']), source, method='encode')
  return jax.lax.stop_gradient(features)


def decode(
  fde: FDE, lmae: LMAE | Identity, frozen: dict, features: tuple, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Frames of latents `[B, T, h, w, C]`.

  Args:
    features: of `encode_source`, of one source for each clip.

  Returns:
    dynamics `[B, T, H/4, W/4, 3]` and frames `[B, T, H, W, 3]` in [-1, 1].
  """

  def piece(z):
    dynamics = lmae.apply(module_variables(frozen['lmae']), z, method='decode')
    images = fde.apply(
      module_variables(frozen['fde']),
      tuple(jnp.repeat(f, z.shape[1], axis=0) for f in features),
      dynamics.reshape(-1, *dynamics.shape[2:]),
      method='decode',
    )
    return dynamics, images.reshape(*z.shape[:2], *images.shape[1:])

  return over_time(piece, z)


def channel_moments(
  posterior: Callable[[dict, dict], tuple[jax.Array, jax.Array]],
  frozen: dict,
  batches: Iterable[dict],
) -> tuple[jax.Array, jax.Array] | None:
  """Mean and deviation `[C]` of draws from the posterior, over real frames.

  Args:
    posterior: `(frozen, batch) -> (mean, logvar)` `[B, T, h, w, C]`.
    frozen: its first argument.
    batches: with frame_mask `[B, T]`; each is looked at once.

  Returns:
    None without any batch.
  """

  @jax.jit
  def sums(frozen, batch):
    mean, logvar = posterior(frozen, batch)
    mask = batch['frame_mask'][..., None, None, None]
    axes = (0, 1, 2, 3)
    # Of the draws, so the posterior's own variance counts.
    square = jnp.square(mean) + jnp.exp(logvar)
    cells = jnp.sum(mask) * mean.shape[2] * mean.shape[3]
    return cells, jnp.sum(mask * mean, axes), jnp.sum(mask * square, axes)

  total = None
  for batch in batches:
    now = sums(frozen, batch)
    total = now if total is None else jax.tree.map(jnp.add, total, now)
  if total is None:
    return None
  mean = total[1] / total[0]
  variance = jnp.maximum(total[2] / total[0] - jnp.square(mean), 1e-8)
  return mean, jnp.sqrt(variance)


def module_variables(frozen: dict) -> dict:
  """Variables of a module from what an earlier phase hands over."""
  return {'params': frozen['params'], **frozen['model_state']}


def over_time(fn: Callable[[Any], Any], x: Any) -> Any:
  """Applies `fn` to arrays `[B, T, ...]` in pieces of time, one by one.

  The batch stays whole in every piece, so it may be spread over devices.
  """
  batch, length = jax.tree.leaves(x)[0].shape[:2]
  size = 1  # As long as the length is a symbol.
  if isinstance(length, int):
    size = max(1, min(length, CHUNK // batch))
  count = -(-length // size)
  if count == 1:
    return fn(x)

  def split(x):
    pad = ((0, 0), (0, count * size - length)) + ((0, 0),) * (x.ndim - 2)
    x = jnp.pad(x, pad, mode='edge').reshape(batch, count, size, *x.shape[2:])
    return jnp.moveaxis(x, 1, 0)

  pieces = jax.lax.map(fn, jax.tree.map(split, x))

  def join(y):
    y = jnp.moveaxis(y, 0, 1)
    return y.reshape(batch, count * size, *y.shape[3:])[:, :length]

  return jax.tree.map(join, pieces)

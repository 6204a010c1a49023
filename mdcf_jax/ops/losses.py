"""Loss terms: arrays in, one number per example out.

The phase takes the mean over the batch and applies the weights.
"""

import jax
import jax.numpy as jnp

# Deviation of a mouth's opening, over the height of the face, below which it
# hardly moves and the rest is error of the landmarks.
_RESTING_OPENING = 0.01


def _check(pred: jax.Array, target: jax.Array):
  assert pred.shape == target.shape, (
    f'pred {pred.shape} and target {target.shape} differ'
  )


def _per_example(x: jax.Array) -> jax.Array:
  """Mean of `[B, ...]` over everything but the batch: `[B]`."""
  return jnp.mean(x.reshape(x.shape[0], -1), axis=-1)


def mse(pred: jax.Array, target: jax.Array) -> jax.Array:
  """Mean squared error of two `[B, ...]` arrays: `[B]`."""
  _check(pred, target)
  return _per_example(jnp.square(pred - target))


def psnr(pred: jax.Array, target: jax.Array) -> jax.Array:
  """Peak signal-to-noise ratio of `[B, ...]` pixels in [-1, 1]: `[B]`, dB."""
  return 10 * jnp.log10(4 / jnp.maximum(mse(pred, target), 1e-10))


def l1(pred: jax.Array, target: jax.Array) -> jax.Array:
  """Mean absolute error of two `[B, ...]` arrays: `[B]`."""
  _check(pred, target)
  return _per_example(jnp.abs(pred - target))


def masked_mse(
  pred: jax.Array, target: jax.Array, mask: jax.Array
) -> jax.Array:
  """Mean squared error over the positions kept by `mask`.

  Args:
    pred, target: `[B, ..., C]`, for instance `[B, T, H, W, C]`.
    mask: `[B, ..., 1]`, non-negative weights; 1 on the mouth or on real
      frames, say.

  Returns:
    `[B]`; 0 for an example whose mask is all zero.
  """
  _check(pred, target)
  assert mask.shape == (*pred.shape[:-1], 1), (
    f'mask {mask.shape} does not belong to {pred.shape}'
  )
  error = jnp.mean(jnp.square(pred - target), axis=-1, keepdims=True)
  axes = tuple(range(1, pred.ndim))
  total = jnp.sum(mask, axis=axes)
  return jnp.sum(mask * error, axis=axes) / jnp.maximum(total, 1e-6)


def kl_divergence(mean: jax.Array, logvar: jax.Array) -> jax.Array:
  """KL divergence of N(mean, exp(logvar)) from N(0, I), in nats.

  Args:
    mean, logvar: `[B, ...]`. Elements set to 0 in both (padding, say)
      contribute nothing.

  Returns:
    `[B]`, the sum over all latent elements; 0 at the prior, never negative.
  """
  _check(mean, logvar)
  kl = 0.5 * (jnp.square(mean) + jnp.expm1(logvar) - logvar)
  return jnp.sum(kl.reshape(kl.shape[0], -1), axis=-1)


def centred(x: jax.Array, mask: jax.Array) -> jax.Array:
  """`[B, T]` less its mean over the frames of the mask `[B, T]`."""
  return x - _masked_mean(x, mask)


def opening(pred: jax.Array, gap: jax.Array, mask: jax.Array) -> jax.Array:
  """Squared error of how far a mouth is open for the one whose mouth it is.

  Its mean and its deviation over the clip are a person's habit, and the
  camera's; they cannot be heard.

  Args:
    pred: `[B, T]`, in the clip's deviations.
    gap: `[B, T]`, that of the lips over the height of the face.
    mask: `[B, T]`, 1 on the frames that count.

  Returns:
    `[B]`; 0 for an example whose mask is all zero.
  """
  _check(pred, gap)
  gap = centred(gap, mask)
  deviation = jnp.sqrt(_masked_mean(jnp.square(gap), mask))
  error = centred(pred, mask) - gap / (deviation + _RESTING_OPENING)
  return _masked_mean(jnp.square(error), mask)[:, 0]


def _masked_mean(x: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean over time of `[B, T]`: `[B, 1]`."""
  total = jnp.sum(x * mask, axis=1, keepdims=True)
  return total / jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)

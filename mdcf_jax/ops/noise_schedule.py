"""The noise schedule of the diffusion, and what follows from it.

The forward process is `xt = alpha[t] * x0 + sigma[t] * noise` with
`alpha = sqrt(alphas_cumprod)` and `sigma = sqrt(1 - alphas_cumprod)`. All
constants are computed once in float64 and stored as float32: products of a
thousand factors lose digits otherwise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class NoiseSchedule(NamedTuple):
  """Constants of a discrete schedule; every array is `[S]`, float32.

  `betas` are the variances added by each step, `alphas_cumprod` the share of
  the signal's variance left after it, `log_snr` is `log(alpha / sigma)`. The
  `posterior_*` belong to `q(x[t-1] | xt, x0)` with mean
  `coef1 * x0 + coef2 * xt`.
  """

  betas: np.ndarray
  alphas_cumprod: np.ndarray
  alphas_cumprod_prev: np.ndarray
  sqrt_alphas_cumprod: np.ndarray
  sqrt_one_minus_alphas_cumprod: np.ndarray
  sqrt_recip_alphas_cumprod: np.ndarray
  sqrt_recipm1_alphas_cumprod: np.ndarray
  log_one_minus_alphas_cumprod: np.ndarray
  log_snr: np.ndarray
  posterior_variance: np.ndarray
  posterior_log_variance: np.ndarray
  posterior_mean_coef1: np.ndarray
  posterior_mean_coef2: np.ndarray

  @property
  def num_steps(self) -> int:
    """Number of noise levels S; t runs from 0 to S - 1."""
    return len(self.betas)


def cosine_schedule(
  num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.9999
) -> NoiseSchedule:
  """Returns the cosine schedule (Nichol and Dhariwal 2021).

  Args:
    num_steps: number of noise levels S.
    offset: keeps the first betas away from zero.
    max_beta: clip of betas; the last one would be 1.
  """
  x = np.linspace(0, num_steps, num_steps + 1, dtype=np.float64)
  f = np.cos((x / num_steps + offset) / (1 + offset) * np.pi / 2) ** 2
  f = f / f[0]
  betas = np.clip(1 - f[1:] / f[:-1], 0, max_beta)
  alphas = 1 - betas
  cumprod = np.cumprod(alphas)
  prev = np.append(1.0, cumprod[:-1])
  variance = betas * (1 - prev) / (1 - cumprod)
  constants = NoiseSchedule(
    betas=betas,
    alphas_cumprod=cumprod,
    alphas_cumprod_prev=prev,
    sqrt_alphas_cumprod=np.sqrt(cumprod),
    sqrt_one_minus_alphas_cumprod=np.sqrt(1 - cumprod),
    sqrt_recip_alphas_cumprod=np.sqrt(1 / cumprod),
    sqrt_recipm1_alphas_cumprod=np.sqrt(1 / cumprod - 1),
    log_one_minus_alphas_cumprod=np.log(1 - cumprod),
    log_snr=0.5 * (np.log(cumprod) - np.log1p(-cumprod)),
    posterior_variance=variance,
    # The first variance is zero; its logarithm is clipped.
    posterior_log_variance=np.log(np.maximum(variance, 1e-20)),
    posterior_mean_coef1=betas * np.sqrt(prev) / (1 - cumprod),
    posterior_mean_coef2=(1 - prev) * np.sqrt(alphas) / (1 - cumprod),
  )
  return NoiseSchedule(*(c.astype(np.float32) for c in constants))


def at(constant: np.ndarray, t: jax.Array, like: jax.Array) -> jax.Array:
  """Reads `constant [S]` at levels t and adds axes to broadcast with `like`.

  Args:
    constant: one of the schedule's arrays.
    t: integer levels, of the leading axes of `like`: `[B]` or `[B, T]`.
    like: `[B, T, ...]`.
  """
  values = jnp.asarray(constant)[t]
  return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def q_sample(
  schedule: NoiseSchedule, x0: jax.Array, t: jax.Array, noise: jax.Array
) -> jax.Array:
  """Noises clean `x0 [B, T, ...]` to levels t `[B, T]` (or `[B]`)."""
  alpha = at(schedule.sqrt_alphas_cumprod, t, x0)
  sigma = at(schedule.sqrt_one_minus_alphas_cumprod, t, x0)
  return alpha * x0 + sigma * noise


def noise_to_x0(
  schedule: NoiseSchedule, xt: jax.Array, t: jax.Array, noise: jax.Array
) -> jax.Array:
  """Returns the x0 that `xt` and its noise imply."""
  recip = at(schedule.sqrt_recip_alphas_cumprod, t, xt)
  return recip * xt - at(schedule.sqrt_recipm1_alphas_cumprod, t, xt) * noise


def x0_to_noise(
  schedule: NoiseSchedule, xt: jax.Array, t: jax.Array, x0: jax.Array
) -> jax.Array:
  """Returns the noise that `xt` and its x0 imply."""
  alpha = at(schedule.sqrt_alphas_cumprod, t, xt)
  return (xt - alpha * x0) / at(schedule.sqrt_one_minus_alphas_cumprod, t, xt)


def to_velocity(
  schedule: NoiseSchedule, x0: jax.Array, t: jax.Array, noise: jax.Array
) -> jax.Array:
  """Returns the velocity `alpha * noise - sigma * x0` (Salimans and Ho)."""
  alpha = at(schedule.sqrt_alphas_cumprod, t, x0)
  return alpha * noise - at(schedule.sqrt_one_minus_alphas_cumprod, t, x0) * x0


def velocity_to_x0(
  schedule: NoiseSchedule, xt: jax.Array, t: jax.Array, velocity: jax.Array
) -> jax.Array:
  """Returns the x0 that `xt` and a velocity imply."""
  alpha = at(schedule.sqrt_alphas_cumprod, t, xt)
  sigma = at(schedule.sqrt_one_minus_alphas_cumprod, t, xt)
  return alpha * xt - sigma * velocity


def velocity_to_noise(
  schedule: NoiseSchedule, xt: jax.Array, t: jax.Array, velocity: jax.Array
) -> jax.Array:
  """Returns the noise that `xt` and a velocity imply."""
  alpha = at(schedule.sqrt_alphas_cumprod, t, xt)
  sigma = at(schedule.sqrt_one_minus_alphas_cumprod, t, xt)
  return sigma * xt + alpha * velocity

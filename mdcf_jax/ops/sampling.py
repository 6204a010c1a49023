"""Samplers: from noise to a sample, in few steps and one `lax.scan`.

Both samplers take `denoise_fn(xt, t) -> noise_pred` with conditioning closed
over, xt `[B, T, ...]` and t `[B, T]` integer levels. They advance a `State` by
all steps, or by some, so that a caller can tell how far a long clip is.

The corrections to the reference: both alphas of a DDIM step come from the level
they belong to (it read both one level late), and the noise is computed again
after x0 was clipped. Sampling starts at the noisiest level whose signal can
still be seen: at t = 999 of the cosine schedule x0 is divided by 1.5e-5, which
turns a prediction error of 0.001 into 65 standard deviations.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.ops.noise_schedule import NoiseSchedule

DenoiseFn = Callable[[jax.Array, jax.Array], jax.Array]


class State(NamedTuple):
  """Where a sampler stands.

  Attributes:
    xt: `[B, T, ...]`, at the last the sample itself.
    x0: the latest estimate of the sample, which DPM-Solver++ looks back at.
  """

  xt: jax.Array
  x0: jax.Array


def start(noise: jax.Array) -> State:
  """The state before the first step; noise `[B, T, ...]` is normal."""
  return State(noise, jnp.zeros_like(noise))


def frame_noise(rng: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Draws normal noise that does not depend on how long the clip is padded.

  Every frame has its own key, folded from its index: frame t of clip b gets
  the same numbers whatever B and T are.

  Args:
    rng: one key.
    shape: `(B, T, ...)`.
  """

  def one_frame(b, t):
    key = jax.random.fold_in(jax.random.fold_in(rng, b), t)
    return jax.random.normal(key, shape[2:])

  over_time = jax.vmap(one_frame, in_axes=(None, 0))
  over_batch = jax.vmap(over_time, in_axes=(0, None))
  return over_batch(jnp.arange(shape[0]), jnp.arange(shape[1]))


def start_level(schedule: NoiseSchedule, min_signal: float = 0.05) -> int:
  """Returns the noisiest level with `alpha >= min_signal`."""
  visible = np.asarray(schedule.sqrt_alphas_cumprod) >= min_signal
  return int(np.nonzero(visible)[0][-1])


def sampling_levels(start: int, steps: int) -> np.ndarray:
  """Returns `steps` levels from `start` down to 0, evenly spaced, `[steps]`.

  Raises:
    ValueError: if there are fewer levels than steps.
  """
  if not 1 <= steps <= start + 1:
    raise ValueError(f'steps must be in [1, {start + 1}], got {steps}')
  if steps == 1:
    return np.array([start], np.int32)
  return np.linspace(start, 0, steps).round().astype(np.int32)


def ddim(
  denoise_fn: DenoiseFn,
  state: State,
  rng: jax.Array,
  schedule: NoiseSchedule,
  *,
  levels: np.ndarray,
  eta: float = 1.0,
  clip: float | None = None,
  first: int | jax.Array = 0,
  count: int | None = None,
) -> State:
  """Samples with DDIM (Song et al. 2021).

  Args:
    denoise_fn: predicts the noise.
    state: of `start`, or after the steps before `first`.
    rng: key of the noise that `eta > 0` adds.
    schedule: the schedule of training.
    levels: falling levels, see `sampling_levels`.
    eta: 0 is deterministic, 1 adds as much noise as ancestral sampling.
    clip: x0 is clipped to +-clip at every step; None leaves it.
    first, count: which steps to take; by default all.

  Returns:
    The state after them; after the last, xt is the sample.
  """
  cumprod = np.float64(schedule.alphas_cumprod)
  now = cumprod[levels]
  after = np.append(cumprod[levels[1:]], 1.0)  # The last step ends at x0.
  sigma = eta * np.sqrt((1 - after) / (1 - now) * (1 - now / after))
  steps = dict(
    index=np.arange(len(levels)),
    t=levels,
    alpha=np.sqrt(now),
    std=np.sqrt(1 - now),
    next_alpha=np.sqrt(after),
    next_std=np.sqrt(np.maximum(1 - after - sigma**2, 0)),
    sigma=sigma,
  )

  def step(state, s):
    xt = state.xt
    noise_pred = denoise_fn(xt, jnp.full(xt.shape[:2], s['t'], jnp.int32))
    x0 = (xt - s['std'] * noise_pred) / s['alpha']
    if clip is not None:
      x0 = jnp.clip(x0, -clip, clip)
      noise_pred = (xt - s['alpha'] * x0) / s['std']
    xt = s['next_alpha'] * x0 + s['next_std'] * noise_pred
    if eta:
      key = jax.random.fold_in(rng, s['index'])
      xt = xt + s['sigma'] * frame_noise(key, xt.shape)
    return State(xt, x0), None

  return jax.lax.scan(step, state, _some(steps, first, count))[0]


def dpm_solver(
  denoise_fn: DenoiseFn,
  state: State,
  schedule: NoiseSchedule,
  *,
  levels: np.ndarray,
  clip: float | None = None,
  first: int | jax.Array = 0,
  count: int | None = None,
) -> State:
  """Samples with DPM-Solver++(2M) (Lu et al. 2022); deterministic.

  A linear multistep method of second order on x0 in `log(alpha / sigma)`; the
  first and the last step are of first order. Arguments and result as `ddim`.
  """
  cumprod = np.asarray(schedule.alphas_cumprod, np.float64)
  now = cumprod[levels]
  alpha, std = np.sqrt(now), np.sqrt(1 - now)
  log_snr = np.log(alpha) - np.log(std)
  h = np.diff(log_snr)
  # The last step ends at alpha = 1, sigma = 0, where h is infinite: x = x0.
  scale_x = np.append(std[1:] / std[:-1], 0.0)
  scale_x0 = np.append(-alpha[1:] * np.expm1(-h), 1.0)
  momentum = np.zeros(len(levels))  # 1 / (2 r), r = ratio of step sizes.
  momentum[1:-1] = h[1:] / h[:-1] / 2
  steps = dict(
    t=levels,
    alpha=alpha,
    std=std,
    scale_x=scale_x,
    scale_x0=scale_x0,
    momentum=momentum,
  )

  def step(state, s):
    xt, last = state
    noise_pred = denoise_fn(xt, jnp.full(xt.shape[:2], s['t'], jnp.int32))
    x0 = (xt - s['std'] * noise_pred) / s['alpha']
    if clip is not None:
      x0 = jnp.clip(x0, -clip, clip)
    ahead = x0 + s['momentum'] * (x0 - last)
    return State(s['scale_x'] * xt + s['scale_x0'] * ahead, x0), None

  return jax.lax.scan(step, state, _some(steps, first, count))[0]


def _some(
  steps: dict[str, np.ndarray], first: int | jax.Array, count: int | None
) -> dict[str, jax.Array]:
  """Inputs of a scan over `count` steps from `first`, which may be traced."""
  kinds = {'f': jnp.float32, 'i': jnp.int32}
  steps = {k: jnp.asarray(v, kinds[v.dtype.kind]) for k, v in steps.items()}
  if count is None:
    return steps
  return {
    k: jax.lax.dynamic_slice_in_dim(v, first, count) for k, v in steps.items()
  }

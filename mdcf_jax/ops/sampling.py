"""Samplers: from noise to a sample, in few steps and one `lax.scan`.

Both samplers take `denoise_fn(xt, t) -> noise_pred` with conditioning closed
over, xt `[B, T, ...]` and t `[B, T]` integer levels. They advance a `State` by
all steps, or by some, so that a caller can tell how far a long clip is.

The corrections to the reference: both alphas of a DDIM step come from the level
they belong to (it read both one level late), and the noise is computed again
after x0 was clipped. Sampling starts at the noisiest level whose signal can
still be seen: at t = 999 of the cosine schedule x0 is divided by 1.5e-5, which
turns a prediction error of 0.001 into 65 standard deviations. The reference's
steps are options: `reference_levels`, `reference_alphas`, `dynamic_threshold`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.ops.noise_schedule import NoiseSchedule

SAMPLERS = ('ddim', 'dpm++', 'ddim-dawn')

DenoiseFn = Callable[[jax.Array, jax.Array], jax.Array]
Clip = float | Callable[[jax.Array], jax.Array]


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


def reference_levels(steps: int, num_steps: int = 1000) -> np.ndarray:
  """Returns the levels of the public DDIM: 952, ..., 47 for 20 of 1000.

  Raises:
    ValueError: if there are fewer levels than steps.
  """
  if not 1 <= steps < num_steps:
    raise ValueError(f'steps must be in [1, {num_steps - 1}], got {steps}')
  levels = np.linspace(0, num_steps, steps + 2).astype(np.int32)
  return levels[steps:0:-1]


def dynamic_threshold(
  x0: jax.Array, frame_mask: jax.Array, quantile: float = 0.9
) -> jax.Array:
  """Clips x0 to a quantile of its absolute values and divides by that.

  The public code does so where the quantile is above 1. It fits pixels and
  sampling grids, which should stay in [-1, 1]; it shrinks normal latents.

  Args:
    x0: `[B, T, ...]`.
    frame_mask: `[B, T]`, 1 on the frames that count.
  """
  mask = frame_mask.reshape(*frame_mask.shape, *(1,) * (x0.ndim - 2))
  size = jnp.where(mask > 0, jnp.abs(x0), jnp.nan).reshape(x0.shape[0], -1)
  limit = jnp.maximum(jnp.nanquantile(size, quantile, axis=1), 1.0)
  limit = limit.reshape(-1, *(1,) * (x0.ndim - 1))
  return jnp.clip(x0, -limit, limit) / limit


def advance(
  sampler: str,
  denoise_fn: DenoiseFn,
  state: State,
  rng: jax.Array,
  schedule: NoiseSchedule,
  *,
  steps: int,
  eta: float,
  clip: float | None,
  frame_mask: jax.Array,
  **part: Any,
) -> State:
  """Takes some of `steps` steps of the sampler of a name.

  Args:
    sampler: 'ddim', 'dpm++' (which is deterministic), or 'ddim-dawn': DDIM with
      the levels, alphas and threshold of the public code, whatever `clip`.
    denoise_fn, state, rng, schedule, eta, clip: as in `ddim`.
    steps: evaluations of the denoiser in all.
    frame_mask: `[B, T]`, 1 on the frames that count.
    part: first and count, as in `ddim`.

  Raises:
    ValueError: no such sampler, or more steps than levels.
  """
  if sampler not in SAMPLERS:
    raise ValueError(f'sampler {sampler!r} is none of {SAMPLERS}')
  if sampler == 'ddim-dawn':
    return ddim(
      denoise_fn,
      state,
      rng,
      schedule,
      levels=reference_levels(steps),
      eta=eta,
      clip=functools.partial(dynamic_threshold, frame_mask=frame_mask),
      reference_alphas=True,
      **part,
    )
  part |= dict(levels=sampling_levels(start_level(schedule), steps), clip=clip)
  if sampler == 'dpm++':
    return dpm_solver(denoise_fn, state, schedule, **part)
  return ddim(denoise_fn, state, rng, schedule, eta=eta, **part)


def ddim(
  denoise_fn: DenoiseFn,
  state: State,
  rng: jax.Array,
  schedule: NoiseSchedule,
  *,
  levels: np.ndarray,
  eta: float = 1.0,
  clip: Clip | None = None,
  reference_alphas: bool = False,
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
    clip: x0 is clipped to +-clip at every step, or is what this function
      makes of it; None leaves it.
    reference_alphas: as the public code, read both alphas one level late and
      keep the predicted noise when x0 was clipped.
    first, count: which steps to take; by default all.

  Returns:
    The state after them; after the last, xt is the sample.
  """
  cumprod = np.float64(schedule.alphas_cumprod)
  true = now = cumprod[levels]
  if reference_alphas:
    cumprod = np.float64(schedule.alphas_cumprod_prev)
    now = cumprod[levels]
  after = np.append(cumprod[levels[1:]], 1.0)  # The last step ends at x0.
  sigma = eta * np.sqrt((1 - after) / (1 - now) * (1 - now / after))
  steps = dict(
    index=np.arange(len(levels)),
    t=levels,
    alpha=np.sqrt(true),
    std=np.sqrt(1 - true),
    next_alpha=np.sqrt(after),
    next_std=np.sqrt(np.maximum(1 - after - sigma**2, 0)),
    sigma=sigma,
  )

  def step(state, s):
    xt = state.xt
    noise_pred = denoise_fn(xt, jnp.full(xt.shape[:2], s['t'], jnp.int32))
    x0 = (xt - s['std'] * noise_pred) / s['alpha']
    if clip is not None:
      x0 = _clipped(x0, clip)
      if not reference_alphas:
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
  clip: Clip | None = None,
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
      x0 = _clipped(x0, clip)
    ahead = x0 + s['momentum'] * (x0 - last)
    return State(s['scale_x'] * xt + s['scale_x0'] * ahead, x0), None

  return jax.lax.scan(step, state, _some(steps, first, count))[0]


def _clipped(x0: jax.Array, clip: Clip) -> jax.Array:
  return clip(x0) if callable(clip) else jnp.clip(x0, -clip, clip)


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

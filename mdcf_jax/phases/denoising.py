"""What a denoiser is given, and how well it sees."""

from typing import Any

import jax
import jax.numpy as jnp

from mdcf_jax.models.denoiser import Denoiser
from mdcf_jax.ops import boxes, losses, sampling
from mdcf_jax.ops.objectives import Objective


def draw_levels(
  rng: jax.Array, shape: tuple[int, int], num_steps: int, independent: bool
) -> jax.Array:
  """Draws noise levels; spread over a batch, for a steadier gradient.

  Args:
    rng: one key.
    shape: `(B, T)`.
    num_steps: number of levels, which are equally likely.
    independent: one for every frame, not one for every clip.

  Returns:
    int32 `[B, T]`.
  """
  batch, length = shape
  if independent:
    return jax.random.randint(rng, shape, 0, num_steps)
  share = jax.random.uniform(rng) + jnp.arange(batch) / batch
  t = jnp.int32(share % 1 * num_steps)
  return jnp.broadcast_to(t[:, None], (batch, length))


def loss_terms(
  objective: Objective,
  prediction: jax.Array,
  target: jax.Array,
  scales: tuple[jax.Array, jax.Array],
  batch: dict,
  max_x0_factor: float,
) -> dict[str, jax.Array]:
  """Squared errors, each the mean over the batch.

  Args:
    objective: what is predicted.
    prediction, target: `[B, T, h, w, C]`.
    scales: alpha and sigma, which broadcast with them.
    batch: frame_mask `[B, T]`, mouth_box `[B, T, 4]`.
    max_x0_factor: by which the error is multiplied at most in `x0_mse`.

  Returns:
    `mse` of the target; `noise_mse` and `x0_mse` of the noise and of the clean
    latents that the prediction implies; `mouth_mse` of the target in the cells
    that the mouth covers.
  """
  frames = batch['frame_mask'][..., None, None, None]
  mask = jnp.broadcast_to(frames, (*target.shape[:-1], 1))
  mouth = boxes.box_coverage(batch['mouth_box'], *target.shape[2:4])

  def mse(gain=1.0, mask=mask):
    return jnp.mean(losses.masked_mse(gain * prediction, gain * target, mask))

  x0_gain = jnp.minimum(objective.x0_gain(*scales), max_x0_factor**0.5)
  return dict(
    mse=mse(),
    noise_mse=mse(objective.noise_gain(*scales)),
    x0_mse=mse(x0_gain),
    mouth_mse=mse(mask=mask * mouth),
  )


def conditions(
  source_features: jax.Array, batch: dict, opened: jax.Array | None
) -> dict:
  """Arguments of `Denoiser.condition`: changes of pose and blink, and others.

  `opened`: what the mouth's opening changes of standardised latents
  `[B, T, h, w, C]`, or None where that is not apart.
  """
  return dict(
    source_features=source_features,
    audio_emb=batch['audio_emb'],
    pose_delta=batch['pose'] - batch['source_pose'][:, None],
    blink_delta=batch['blink'] - batch['source_blink'][:, None],
    face_box=batch['face_box'],
    opened=opened,
  )


def make_denoise_fn(
  denoiser: Denoiser,
  params: Any,
  cond: dict[str, jax.Array],
  frame_mask: jax.Array,
  guidance_scale: float,
) -> sampling.DenoiseFn:
  """Closes over the conditions, with guidance if it is asked for.

  Args:
    denoiser, params: the module and its parameters.
    cond: of `Denoiser.condition`.
    frame_mask: `[B, T]`.
    guidance_scale: 1 needs one evaluation of the denoiser, others two.
  """

  def denoise(xt, t, null_cond=None):
    return denoiser.apply(
      {'params': params},
      xt,
      t,
      cond,
      null_cond=null_cond,
      frame_mask=frame_mask,
    )

  def guided(xt, t):
    null = denoise(xt, t, jnp.ones(xt.shape[:1], bool))
    return null + guidance_scale * (denoise(xt, t) - null)

  return denoise if guidance_scale == 1.0 else guided

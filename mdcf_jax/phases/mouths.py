"""What the opening of a mouth changes of the latents of a clip.

Not in the paper, whose denoiser finds it in hours of video. What speech does to
latents is little beside what the head does, and its sign turns with the mouth's
place within a cell of the latent, so that it is found late. Guide points tell
it at once: flow of points whose lips part, moved along with the head, encoded.
A denoiser then learns what is left of the latents.
"""

import jax
import jax.numpy as jnp

from mdcf_jax.models.fde import FDE
from mdcf_jax.models.lmae import LMAE, Identity
from mdcf_jax.ops.warp import identity_grid, warp
from mdcf_jax.phases import guides, latent_space


def open_latents(
  fde: FDE,
  lmae: LMAE | Identity,
  frozen: dict,
  *,
  source: jax.Array,
  source_landmarks: jax.Array,
  source_pose: jax.Array,
  source_opening: jax.Array,
  pose: jax.Array,
  opening: jax.Array,
) -> jax.Array:
  """Changes of latents `[B, T, h, w, C]` by openings alone; no gradient.

  Args:
    fde, lmae, frozen: as in `latent_space`.
    source: `[B, H, W, 3]` in [-1, 1].
    source_landmarks: guide points `[B, 8, 2]` in [0, 1].
    source_pose, pose: `[B, 6]`, `[B, T, 6]`, see `FaceTrack.pose`.
    source_opening, opening: `[B]`, `[B, T]`, gap of the lips over the height of
      the face.
  """
  fde_variables, lmae_variables = (
    latent_space.module_variables(frozen[name]) for name in ('fde', 'lmae')
  )
  rest, change = fde.apply(
    fde_variables, source, source_landmarks, method=guides.opening_dynamics
  )

  pivot = 2 * guides.middle(source_landmarks) - 1
  lmae = lmae.clone(dtype=jnp.float32)  # A small difference of two.

  def encode(dynamics):
    return lmae.apply(lmae_variables, dynamics, method='encode')[0]

  def piece(given):
    poses, by = given
    moved = follow_head(change, pivot, source_pose, poses)
    return encode(rest[:, None] + by[..., None, None, None] * moved)

  further = opening - source_opening[:, None]
  opened = latent_space.over_time(piece, (pose, further))
  return jax.lax.stop_gradient(opened - encode(rest)[:, None])


def follow_head(
  image: jax.Array, pivot: jax.Array, source_pose: jax.Array, pose: jax.Array
) -> jax.Array:
  """Moves, turns and enlarges square images in their plane as heads do.

  Args:
    image: `[B, H, W, C]`, of heads in the pose `source_pose [B, 6]`; zeros come
      from outside of it.
    pivot: `[B, 2]`, (x, y) in [-1, 1] of the middle of the head. Of a picture
      whose pose is a guess it is known better.
    pose: `[B, T, 6]`, see `FaceTrack.pose`; yaw and pitch do not count.

  Returns:
    `[B, T, H, W, C]`.
  """
  batch, height, width, channels = image.shape
  source_pose = source_pose[:, None]
  # Positive roll is counter-clockwise, and y goes down. From there to here.
  angle = jnp.deg2rad(pose[..., 2] - source_pose[..., 2])
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  turn = jnp.stack([cos, -sin, sin, cos], axis=-1)
  turn = turn.reshape(*angle.shape, 2, 2)
  turn *= jnp.exp(source_pose[..., 5] - pose[..., 5])[..., None, None]
  shift = (pose - source_pose)[..., None, None, 3:5]
  pivot = pivot[:, None, None, None]
  away = identity_grid(height, width) - shift - pivot
  grid = jnp.einsum('btij,bthwj->bthwi', turn, away, precision='highest')
  grid += pivot

  def move(image, grid):
    return warp(image[None], grid, padding='zeros')

  return jax.vmap(move)(image, grid)

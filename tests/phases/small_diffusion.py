"""The diffusion phase on top of auto-encoders that are simple arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mdcf_jax.models import denoiser
from mdcf_jax.phases import diffusion

SIZE, LENGTH = 32, 6


def shrink(x, factor):
  return nn.avg_pool(x, (factor, factor), (factor, factor))


class FakeFDE(nn.Module):
  """Dynamics are the difference of two small pictures."""

  scale: int = 4
  num_regions: int = 10

  def setup(self):
    self.gain = self.param('gain', nn.initializers.ones, ())

  def encode(self, source):
    return source, self.gain * shrink(source, 4)

  def estimate(self, source, driving):
    return self.gain * shrink(driving - source, 4)

  def dynamics(self, source, regions, driven, background, *, train):
    # Of regions that go down: more on the right than on the left.
    down = jnp.sum(driven['shift'] - regions['shift'], axis=1)[:, 1]
    columns = jnp.arange(source.shape[2] // 4)[:, None]
    flow = self.gain * down[:, None, None, None] * columns
    shape = shrink(source, 4).shape
    return dict(dynamics=jnp.broadcast_to(flow, shape))

  def decode(self, features, dynamics):
    moved = features[-1] + dynamics
    return jnp.repeat(jnp.repeat(moved, 4, axis=1), 4, axis=2)


class FakeLMAE(nn.Module):
  """The latent is four copies of the dynamics' mean, of half the size."""

  latent_channels: int = 4
  factor: int = 2
  dtype: Any = jnp.float32

  def setup(self):
    self.gain = self.param('gain', nn.initializers.ones, ())

  def encode(self, dynamics):
    mean = shrink(dynamics, 2).mean(axis=-1, keepdims=True)
    mean = self.gain * jnp.repeat(mean, 4, axis=-1) * jnp.arange(1.0, 5.0)
    return mean, jnp.full_like(mean, -6.0)

  def decode(self, z):
    flow = jnp.repeat(jnp.repeat(z[..., :3], 2, axis=-3), 2, axis=-2)
    return self.gain * flow


FROZEN = {
  name: {'params': {'gain': jnp.ones(())}, 'model_state': {}}
  for name in ('fde', 'lmae')
}


def make_phase(opening=False, **kwargs):
  model = denoiser.Denoiser(
    opening=opening,
    dim=8,
    dim_mults=(1,),  # The levels are the U-Net's own matter.
    num_heads=2,
    head_dim=4,
    cross_heads=2,
    cross_head_dim=4,
    num_groups=4,
    window=4,
    stem_features=8,
    stem_levels=1,
    audio_features=8,
    audio_layers=1,
  )
  return diffusion.DiffusionPhase(FakeFDE(), FakeLMAE(), model, **kwargs)


def make_batch(batch=2, length=LENGTH, seed=0):
  rng = np.random.default_rng(seed)

  def normal(*shape):
    return jnp.float32(rng.standard_normal(shape))

  box = jnp.array([0.2, 0.3, 0.8, 0.9])
  return dict(
    source=normal(batch, SIZE, SIZE, 3),
    source_pose=normal(batch, 6),
    source_blink=normal(batch, 2),
    source_opening=normal(batch),
    source_landmarks=normal(batch, 8, 2),
    face_box=jnp.tile(box, (batch, 1)),
    video=normal(batch, length, SIZE, SIZE, 3),
    audio_emb=normal(batch, length, 12),
    pose=normal(batch, length, 6),
    blink=normal(batch, length, 2),
    mouth_box=jnp.tile(box, (batch, length, 1)),
    opening=normal(batch, length),
    landmarks=normal(batch, length, 8, 2),
    frame_mask=jnp.ones((batch, length)),
  )


def drawn(phase):
  """Parameters that are not trained, none of them 0; and the state."""
  variables = phase.init(jax.random.key(0), make_batch())
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: x + 0.1 * jnp.float32(rng.standard_normal(x.shape)),
    variables['params'],
  )
  return params, {'latent_stats': variables['latent_stats']}


def conditions(batch, length=None):
  """Arguments of `sample`, padded to `length`."""
  names = ('audio_emb', 'pose', 'blink', 'frame_mask')
  padded = {}
  for name in names:
    x = batch[name]
    more = (length or x.shape[1]) - x.shape[1]
    padded[name] = jnp.pad(x, ((0, 0), (0, more)) + ((0, 0),) * (x.ndim - 2))
  fixed = ('source_pose', 'source_blink', 'face_box')
  features = shrink(batch['source'], 4)
  fixed = {name: batch[name] for name in fixed}
  return dict(source_features=features, **fixed, **padded)

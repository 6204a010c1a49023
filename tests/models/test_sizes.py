"""Multiples that sizes of pictures must be of, against the networks' own."""

import jax
import jax.numpy as jnp
import pytest

from configs import base, models
from mdcf_jax.models.fde import FDE
from mdcf_jax.models.sizes import resolution_multiple
from mdcf_jax.phases import DiffusionPhase


@pytest.mark.parametrize(
  'variant,expected',
  [
    ('base', (128, 128, 256, 1)),
    ('mini', (128, 128, 256, 1)),
    ('mini,d16', (128, 128, 128, 1)),
    ('mini,d8', (256, 256, 256, 1)),
    ('tiny', (32, 32, 64, 1)),
  ],
)
def test_multiples_of_the_sizes(variant, expected):
  model = base.finish(base.get_config('fde', variant)).model
  phases = ('fde', 'lmae', 'diffusion', 'pbnet')
  found = tuple(resolution_multiple(model, [phase]) for phase in phases)
  assert found == expected
  assert resolution_multiple(model, phases) == max(expected)


def test_modules_that_are_left_out_have_defaults():
  assert resolution_multiple({}, ['fde']) == 128
  assert resolution_multiple({}, ['diffusion']) == 256


def test_the_hourglasses_agree():
  fde = FDE(**models.SIZES['tiny']['fde'])

  def init(size):
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(fde.init, jax.random.key(0), image, image)

  init(96)
  with pytest.raises(ValueError, match='not divisible'):
    init(112)


def test_the_u_net_agrees():
  from configs import diffusion

  phase = DiffusionPhase.from_config(diffusion.get_config('tiny'))

  def init(size):
    shapes = dict(
      source=(1, size, size, 3),
      source_pose=(1, 6),
      source_blink=(1, 2),
      face_box=(1, 4),
      audio_emb=(1, 2, 320),
      pose=(1, 2, 6),
      blink=(1, 2, 2),
      frame_mask=(1, 2),
    )
    batch = {k: jnp.zeros(shape) for k, shape in shapes.items()}
    return jax.eval_shape(phase.init, jax.random.key(0), batch)

  init(64)
  with pytest.raises(ValueError, match='cannot be halved'):
    init(96)

"""What the losses of the phases take: shapes of any config, drawn arrays."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.phases import PHASES

RNG = jax.random.key(0)
# Factors and variances: drawn around 1.
_POSITIVE = (
  *('scale', 'var', 'std', 'norm', 'norm_out', 'q_scale', 'k_scale'),
)
# Guide points of a face, `media.faces`' order.
_FACE = (
  *((0.5, 0.64), (0.5, 0.68), (0.43, 0.66), (0.57, 0.66)),
  *((0.5, 0.8), (0.42, 0.42), (0.58, 0.42), (0.5, 0.55)),
)


def get_config(phase: str, variant: str = 'tiny') -> Any:
  """The config of a phase, `configs/<phase>.py`."""
  return importlib.import_module(f'configs.{phase}').get_config(variant)


def batch_shapes(config: Any) -> dict[str, jax.ShapeDtypeStruct]:
  """A batch of training, every entry of `data/pipeline.py`'s PHASE_KEYS."""
  size, length = config.resolution, config.data.num_frames
  image = (size, size, 3)
  clip = dict(
    audio_emb=(length, 320),
    pose=(length, 6),
    blink=(length, 2),
    frame_mask=(length,),
  )
  shapes = dict(
    fde=dict(
      source=image,
      driving=image,
      source_landmarks=(8, 2),
      driving_landmarks=(8, 2),
      mouth_box=(4,),
    ),
    diffusion=dict(
      source=image,
      source_pose=(6,),
      source_blink=(2,),
      source_opening=(),
      source_landmarks=(8, 2),
      face_box=(4,),
      mouth_box=(length, 4),
      opening=(length,),
      landmarks=(length, 8, 2),
      video=(length, *image),
      **clip,
    ),
    pbnet=clip,
  )
  shapes |= dict.fromkeys(('lmae', 'vae', 'joint'), shapes['fde'])
  return {
    name: jax.ShapeDtypeStruct((config.batch_size, *shape), jnp.float32)
    for name, shape in shapes[config.phase].items()
  }


def draw_batch(config: Any) -> dict[str, jax.Array]:
  """A batch of smooth pictures and slow motion."""
  rng = np.random.default_rng(0)

  def draw(name, shape):
    if name in ('source', 'driving', 'video'):
      coarse = (*shape[:-3], 4, 4, 3)
      small = jnp.float32(rng.uniform(-1, 1, coarse))
      return jax.image.resize(small, shape, 'linear')
    if name.endswith('landmarks'):
      return jnp.float32(_FACE + rng.normal(scale=0.01, size=shape))
    if name.endswith('box'):
      return jnp.broadcast_to(jnp.array([0.3, 0.5, 0.7, 0.8]), shape)
    if name == 'frame_mask':
      return jnp.ones(shape)
    if name.endswith('blink'):
      return jnp.float32(rng.uniform(0.2, 0.35, shape))
    return jnp.float32(rng.normal(size=shape))

  shapes = batch_shapes(config)
  return {name: draw(name, x.shape) for name, x in shapes.items()}


def abstract_inputs(config: Any) -> tuple[Any, tuple]:
  """The phase and shapes of params, model_state, frozen and batch."""
  batch = batch_shapes(config)
  phase = PHASES[config.phase].from_config(config)
  variables = dict(jax.eval_shape(phase.init, RNG, batch))
  params = variables.pop('params')
  frozen = jax.eval_shape(lambda batch: _init_frozen(phase, batch), batch)
  return phase, (params, variables, frozen, batch)


def draw_inputs(config: Any) -> tuple[Any, tuple]:
  """The same with arrays. No parameter is 0, so that none hides another."""
  phase, (*variables, _) = abstract_inputs(config)
  rng = np.random.default_rng(1)

  def draw(path, x):
    noise = jnp.float32(rng.standard_normal(x.shape))
    if path[-1].key in _POSITIVE:
      return jnp.abs(1 + 0.1 * noise)
    fan_in = np.prod(x.shape[:-1]) if len(x.shape) > 1 else 100
    return noise / np.float32(fan_in) ** 0.5

  drawn = (jax.tree_util.tree_map_with_path(draw, x) for x in variables)
  return phase, (*drawn, draw_batch(config))


def _init_frozen(phase: Any, batch: Any) -> dict:
  frozen, source = {}, batch.get('source')
  if 'fde' in phase.frozen_names:
    variables = dict(phase.fde.init(RNG, source[:1], source[:1]))
    params = variables.pop('params')
    frozen['fde'] = dict(params=params, model_state=variables)
  if 'lmae' in phase.frozen_names:
    size = source.shape[1] // phase.fde.scale
    dynamics = jnp.zeros((1, size, size, 3))
    params = phase.lmae.init(RNG, dynamics, RNG)['params']
    frozen['lmae'] = dict(params=params, model_state={})
  if 'vgg19' in phase.frozen_names:
    frozen['vgg19'] = phase.perceptual.init(RNG, source[:1], source[:1])
  return frozen

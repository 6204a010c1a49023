"""Phases as packed weights describe them: to use what was trained."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mdcf_jax.phases import PHASES

NAMES = ('fde', 'lmae', 'diffusion', 'pbnet')
# Keys of the diffusion's `loss` that its samples depend on.
_OF_SAMPLING = ('objective', 'clip', 'smoothing')


def build_phases(
  config: dict[str, Any], dtype: str = 'float32'
) -> dict[str, Any]:
  """Returns the phases that a `config.json` has weights of, by their names.

  Args:
    config: of the weights.
    dtype: to compute in.
  """
  settings = dict(
    model=_tuples(config['model']),
    resolution=config['resolution'],
    audio_encoder=config['audio_encoder'],
    dtype=dtype,
    remat='none',
    perceptual='random',
  )
  return {
    name: PHASES[name].from_config(
      ConfigDict(settings | dict(loss=_kept(config['phases'][name])))
    )
    for name in NAMES
    if name in config['phases']
  }


def split(variables: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
  """Returns (params, model_state) of the variables of a phase."""
  state = {k: v for k, v in variables.items() if k != 'params'}
  return variables.get('params', {}), state


def frozen(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Returns FDE and LMAE as the diffusion receives them from their phases.

  Args:
    variables: name of a phase -> its variables; 'lmae' may be missing where it
      has nothing to learn.
  """
  return {
    name: dict(zip(('params', 'model_state'), split(variables.get(name, {}))))
    for name in ('fde', 'lmae')
  }


def _kept(how: dict[str, Any]) -> dict[str, Any]:
  """What matters after training of `loss`, from how a phase was trained.

  Weights from before there was such a choice, and converted ones, do not name
  theirs: the phase's default.
  """
  trained = how.get('config', {}).get('loss', {})
  return {k: trained[k] for k in _OF_SAMPLING if k in trained}


def _tuples(value: Any) -> Any:
  """Lists of a JSON document as tuples, as linen modules take them."""
  if isinstance(value, dict):
    return {key: _tuples(x) for key, x in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def variable_shapes(
  phases: dict[str, Any], config: dict[str, Any], audio_dim: int
) -> dict[str, Any]:
  """Returns the abstract variables of each phase; allocates nothing.

  Args:
    phases: of `build_phases`.
    config: what they were built from.
    audio_dim: numbers per frame of the encoder of sound.
  """
  size, length = int(config['resolution']), 16
  channels, factor = 4, 32
  for name in ('lmae', 'diffusion'):
    if name in phases:
      fde, lmae = phases[name].fde, phases[name].lmae
      channels, factor = lmae.latent_channels, fde.scale * lmae.factor
  z = length, size // factor, size // factor, channels
  shapes = dict(
    source=(size, size, 3),
    driving=(size, size, 3),
    mouth_box=(length, 4),
    z_mean=z,
    z_logvar=z,
    audio_emb=(length, audio_dim),
    pose=(length, 6),
    blink=(length, 2),
    source_pose=(6,),
    source_blink=(2,),
    face_box=(4,),
    frame_mask=(length,),
  )
  batch = {
    key: jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    for key, shape in shapes.items()
  }
  rng = jax.random.key(0)
  return {
    name: jax.eval_shape(phase.init, rng, batch)
    for name, phase in phases.items()
  }

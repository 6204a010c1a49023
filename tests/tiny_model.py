"""A folder of small random weights, for tests that need some."""

import pathlib

import jax
import numpy as np

from configs import models
from mdcf_jax import weights
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.phases import packed


def write_tiny_weights(
  folder: pathlib.Path,
  size: str = 'tiny',
  resolution: int = 64,
  audio_encoder: str = 'mel',
  opening: bool = False,
) -> pathlib.Path:
  """Writes random weights; no tensor is without effect."""
  model = dict(models.SIZES[size])
  model['denoiser'] = model['denoiser'] | dict(opening=opening)
  config = dict(
    model=model,
    resolution=resolution,
    audio_encoder=audio_encoder,
    phases={name: {} for name in packed.NAMES},
  )
  rng = np.random.default_rng(0)

  def draw(path, x):
    name = jax.tree_util.keystr(path)
    if 'var' in name or 'std' in name:
      return np.ones(x.shape, np.float32)
    # Large enough that faces move, and that no layer starts at zero.
    scale = 0.5 / np.sqrt(max(1, np.prod(x.shape[:-1])))
    return scale * rng.standard_normal(x.shape).astype(np.float32)

  shapes = packed.variable_shapes(
    packed.build_phases(config),
    config,
    AUDIO_ENCODERS[config['audio_encoder']],
  )
  for name, variables in jax.tree_util.tree_map_with_path(draw, shapes).items():
    weights.save(folder, name, variables)
  weights.save_config(folder, config)
  return folder

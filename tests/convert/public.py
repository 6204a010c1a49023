"""State dicts in the names of public implementations, made from our modules."""

import jax
import numpy as np
from flax import traverse_util

from mdcf_jax.convert import dawn_lfg, dawn_pbnet, dawn_unet

# From our layouts back to theirs.
INVERSE = {
  'same': lambda x: x,
  'conv': lambda x: np.moveaxis(x, (-1, -2), (0, 1)),
  'conv_in_frame': lambda x: np.moveaxis(x, (-1, -2), (0, 1))[:, :, None],
  'conv_transpose': lambda x: np.moveaxis(x, (-2, -1), (0, 1)),
  'conv_transpose_in_frame': lambda x: np.moveaxis(x, (-2, -1), (0, 1))[
    :, :, None
  ],
  'dense': lambda x: x.T,
  'flat': lambda x: x[None, :, None],
}
BLOCKS = dict(block_expansion=4, num_blocks=2, max_features=8)
LFG = dict(
  num_regions=10,
  scale=4,
  region=BLOCKS,
  background=BLOCKS,
  flow=BLOCKS,
  generator=dict(block_expansion=4, max_features=16, num_bottleneck_blocks=1),
)
UNET = dict(
  dim=8,
  dim_mults=(1, 2),
  num_heads=2,
  head_dim=8,
  cross_heads=2,
  cross_head_dim=4,
)
PBNET = dict(
  latent_dim=8,
  reference_dim=8,
  audio_dim=16,
  num_heads=2,
  head_dim=8,
  rotary_dim=2,
  ff_dim=16,
  num_buckets=8,
  max_distance=8,
)


def state_dict(table, shapes, draw) -> dict[str, np.ndarray]:
  """Public tensors of a table; `draw(path, shape)` makes our variables."""
  ours = {
    path: draw(path, x.shape)
    for path, x in traverse_util.flatten_dict(shapes, sep='/').items()
  }
  tensors = {}
  for name, entry in table.items():
    parts = [ours[path] for path in entry.paths]
    if entry.slot is not None:
      parts = [part[entry.slot] for part in parts]
    x = parts[0] if len(parts) == 1 else np.concatenate(parts, entry.axis)
    if entry.order is not None:
      x = np.take(x, np.argsort(entry.order), axis=entry.axis)
    tensors[name] = INVERSE[entry.layout](x)
  return tensors


def random(seed=0):
  """A `draw`: values of usual size, variances of one."""
  rng = np.random.RandomState(seed)

  def draw(path, shape):
    if path.endswith('/var'):
      return np.ones(shape, np.float32)
    scale = 0.5 / np.sqrt(max(1, np.prod(shape[:-1])))
    return (scale * rng.randn(*shape)).astype(np.float32)

  return draw


def zeros(path, shape):
  """A `draw` that allocates nothing."""
  del path
  return np.broadcast_to(np.float32(0), shape)


def lfg(keywords=LFG, draw=None):
  """An LFG checkpoint, as the script flattens it."""
  model = {**keywords, **dawn_lfg.REFERENCE}
  table, shapes = dawn_lfg.table(model), dawn_lfg.shapes(model)
  tensors = state_dict(table, shapes, draw or random())
  name = 'generator.first.norm.num_batches_tracked'
  tensors |= {name: np.array(3), 'epoch': np.array(9)}
  gaussian = np.zeros((3, 1, 13, 13), np.float32)
  return tensors | {'region_predictor.down.weight': gaussian}


def unet(keywords=UNET, features=16, streams=(320, 6, 2), draw=None):
  """A diffusion checkpoint; its face encoder was not saved."""
  model = dawn_unet.denoiser.REFERENCE | keywords
  model |= dict(pose_scale=(1.0,) * streams[1])
  shapes = dawn_unet.shapes(model, features, streams)
  tensors = state_dict(dawn_unet.table(model), shapes, draw or random(1))
  return {
    f'diffusion/denoise_fn.{name}': x
    for name, x in tensors.items()
    if not name.startswith('face_encoder')
  } | {'diffusion/betas': np.zeros(1000, np.float32)}


def pbnet(motion_dim, keywords=PBNET, audio_features=320, draw=None):
  """A PBNet checkpoint."""
  model = dawn_pbnet.pbnet.REFERENCE | dict(num_layers=2) | keywords
  model |= dawn_pbnet.motion_units(motion_dim)
  shapes = dawn_pbnet.shapes(model, audio_features)
  table = dawn_pbnet.table(model)
  tensors = state_dict(table, shapes, draw or random(motion_dim))
  pe = np.zeros((20000, 1, 8), np.float32)
  freqs = np.zeros(model['rotary_dim'] // 2, np.float32)
  name = 'decoder.init_temporal_attn.fn.fn.rotary_emb.freqs'
  return tensors | {'encoder.sequence_pos_encoder.pe': pe, name: freqs}


def count(shapes) -> int:
  """Numbers in a tree of shapes."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(shapes))

"""DAWN's 3-D U-Net as our Denoiser with its `REFERENCE` options.

The checkpoint holds `diffusion`: constants of the schedule and `denoise_fn`.
The encoder of the face's box is neither trained nor saved there, and drawn anew
whenever the public code starts; `prepare` draws it once, from a fixed seed.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.convert import dawn_pose
from mdcf_jax.convert.tensors import (
  Description,
  Entry,
  Table,
  count_blocks,
  shape,
)
from mdcf_jax.models import denoiser

logger = logging.getLogger(__name__)

PHASE = 'diffusion'
WINDOW = 40  # Frames to each side, of the public inference.

# The constants are computed here too; the heads' attentions are never called.
CONSTANTS = (
  'betas',
  'alphas_cumprod*',
  'sqrt_*alphas_cumprod',
  'log_one_minus_alphas_cumprod',
  'posterior_*',
  '*.rotary_emb.freqs',
)
UNUSED = ('final_conv.0.cross_attn_*', 'occlusion_map.0.cross_attn_*')
DEAD = (*CONSTANTS, *UNUSED, 'optimizer*', 'example*', 'epoch*')

_PREFIXES = ('diffusion.', 'module.', 'denoise_fn.')
_FACE = 'face_encoder'
_STREAMS = (('audio', 'aud'), ('pose', 'pose'), ('eye', 'eye'))
_HEADS = ('final_conv', 'occlusion_map')


def prepare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors under names as 'init_conv.weight'.

  An encoder of the face's box may be among them as 'face_encoder.conv1.weight'
  and so on; without it one is drawn.
  """
  prepared = {}
  for name, x in tensors.items():
    name = name.replace('/', '.')
    for prefix in _PREFIXES:
      name = name.removeprefix(prefix)
    prepared[name] = x
  if f'{_FACE}.conv1.weight' not in prepared:
    logger.warning('no encoder of the face box in the file: it is drawn')
    prepared |= _draw_face_encoder()
  return prepared


def _draw_face_encoder() -> dict[str, np.ndarray]:
  """As PyTorch draws convolutions: uniform up to one over sqrt(fan in)."""
  rng, drawn = np.random.RandomState(0), {}
  for i, (features, channels) in enumerate(((8, 1), (16, 8)), start=1):
    limit = (9 * channels) ** -0.5
    kernel = rng.uniform(-limit, limit, (features, channels, 3, 3))
    drawn[f'{_FACE}.conv{i}.weight'] = kernel.astype(np.float32)
    bias = rng.uniform(-limit, limit, features)
    drawn[f'{_FACE}.conv{i}.bias'] = bias.astype(np.float32)
  return drawn


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what prepared tensors are.

  Raises:
    InputError: tensors are missing that say how large the network is.
  """
  levels = count_blocks(tensors, 'downs.')
  dim, channels, _, _, _ = shape(tensors, 'init_conv.weight')
  widths = [
    shape(tensors, f'downs.{i}.0.block1.proj.weight')[0] for i in range(levels)
  ]
  heads = tuple(shape(tensors, f'{name}.1.weight')[0] for name in _HEADS)
  bias = 'time_rel_pos_bias.relative_attention_bias.weight'
  num_heads = shape(tensors, bias)[1]
  inner = shape(tensors, 'init_temporal_attn.fn.fn.fn.to_qkv.weight')[0] // 3
  cross = 'downs.0.0.cross_attn_aud'
  cross_head_dim = shape(tensors, f'{cross}.q_scale')[0]
  streams = [
    shape(tensors, f'downs.0.0.{name}_mlp.1.weight')[1] for name, _ in _STREAMS
  ]
  model = denoiser.REFERENCE | dict(
    latent_channels=sum(heads),
    heads=heads,
    dim=dim,
    dim_mults=tuple(width // dim for width in widths),
    num_heads=num_heads,
    head_dim=inner // num_heads,
    cross_heads=shape(tensors, f'{cross}.to_q.weight')[0] // cross_head_dim,
    cross_head_dim=cross_head_dim,
    window=WINDOW,
    pose_scale=_pose_scale(streams[1]),
  )
  features = channels - sum(heads) - 16  # 16 are of the face's box.
  abstract = shapes(model, features, streams)
  channels = model['latent_channels']
  stats = dict(mean=np.zeros(channels), std=np.ones(channels))
  return Description(
    # What it denoises are the dynamics, as they are.
    {'denoiser': model, 'lmae': {'kind': 'identity'}},
    abstract,
    table(model),
    audio_features=streams[0],
    constants={'latent_stats': stats},
  )


def _pose_scale(numbers: int) -> tuple[float, ...]:
  """For our pose; raw where the model takes others than ours has."""
  ours = dawn_pose.UNIT
  return ours if numbers == len(ours) else (1.0,) * numbers


def shapes(model: Mapping, features: int, streams: Sequence[int]) -> Mapping:
  """Returns the abstract variables of a Denoiser with these keywords.

  Args:
    model: the keywords.
    features: channels of E(x_src).
    streams: widths of sound, pose and blink.
  """
  size = 2 ** (len(model['dim_mults']) - 1)
  conditions = dict(
    source_features=jnp.zeros((1, size, size, features)),
    audio_emb=jnp.zeros((1, 2, streams[0])),
    pose_delta=jnp.zeros((1, 2, streams[1])),
    blink_delta=jnp.zeros((1, 2, streams[2])),
    face_box=jnp.zeros((1, 4)),
  )
  xt = jnp.zeros((1, 2, size, size, model['latent_channels']))
  t = jnp.zeros((1, 2), jnp.int32)
  module, rng = denoiser.Denoiser(**model), jax.random.key(0)
  return jax.eval_shape(
    lambda: module.init(rng, xt, t, conditions, method='denoise')
  )


def table(model: Mapping) -> Table:
  """Returns the table of a Denoiser with these keywords."""
  levels = len(model['dim_mults'])
  entries = {
    'time_rel_pos_bias.relative_attention_bias.weight': Entry(
      'params/unet/relative_bias'
    ),
    # The source and the box do not change with time: a convolution of their
    # own, computed once.
    'init_conv.weight': Entry(
      ('params/unet/init_conv/kernel', 'params/static_conv/kernel'),
      'conv_in_frame',
      axis=-2,
    ),
    'init_conv.bias': Entry('params/unet/init_conv/bias'),
  }
  entries |= _attention('init_temporal_attn', 'init_temporal')
  entries |= _layer('time_mlp.1', 'time_0', 'dense')
  entries |= _layer('time_mlp.3', 'time_1', 'dense')
  entries |= _block('mid_block1', 'mid_block_0')
  entries |= _attention('mid_spatial_attn', 'mid_pixels')
  entries |= _attention('mid_temporal_attn', 'mid_temporal')
  entries |= _block('mid_block2', 'mid_block_1')
  for way in ('down', 'up'):
    for i, wider in enumerate(_changes_width(way, model['dim_mults'])):
      theirs, ours = f'{way}s.{i}', f'{way}_{i}'
      entries |= _block(f'{theirs}.0', f'{ours}_block_0', skip=wider)
      entries |= _block(f'{theirs}.1', f'{ours}_block_1')
      entries |= _attention(f'{theirs}.2', f'{ours}_pixels', linear=True)
      entries |= _attention(f'{theirs}.3', f'{ours}_temporal')
  for i in range(levels - 1):
    entries |= _layer(f'downs.{i}.4', f'down_{i}_half', 'conv_in_frame')
    double = f'up_{i}_double'
    entries |= _layer(f'ups.{i}.4', double, 'conv_transpose_in_frame')
  for i, name in enumerate(_HEADS):
    head = f'head_{i}_block'
    entries |= _block(f'{name}.0', head, skip=True, modulated=False)
    entries |= _layer(f'{name}.1', f'head_{i}_out', 'dense')
  for i in range(2):
    theirs, ours = f'{_FACE}.conv{i + 1}', f'params/{_FACE}/conv_{i}'
    entries[f'{theirs}.weight'] = Entry(f'{ours}/kernel', 'conv')
    entries[f'{theirs}.bias'] = Entry(f'{ours}/bias')
  if len(model['pose_scale']) == len(dawn_pose.ORDER):
    for name in entries:
      if name.endswith('.pose_mlp.1.weight'):
        entries[name] = dataclasses.replace(
          entries[name], axis=0, order=dawn_pose.ORDER
        )
  return entries


def _changes_width(way: str, dim_mults: tuple[int, ...]) -> list[bool]:
  """Whether a level's first block has a convolution on its shortcut."""
  mults = [1, *dim_mults]
  if way == 'down':
    return [before != after for before, after in zip(mults, dim_mults)]
  # It reads the level below and what the way down left at this one.
  after = mults[-2::-1]
  below, left = [mults[-1], *after[:-1]], mults[:0:-1]
  return [x + skip != y for x, skip, y in zip(below, left, after)]


def _layer(theirs: str, ours: str, layout: str, bias: bool = True) -> Table:
  entries = {
    f'{theirs}.weight': Entry(f'params/unet/{ours}/kernel', layout),
    f'{theirs}.bias': Entry(f'params/unet/{ours}/bias'),
  }
  return entries if bias else {f'{theirs}.weight': entries[f'{theirs}.weight']}


def _attention(theirs: str, ours: str, linear: bool = False) -> Table:
  """Residual, norm and attention; those in linear time lack a wrapper."""
  inner = f'{theirs}.fn.fn' if linear else f'{theirs}.fn.fn.fn'
  gain = Entry(f'params/unet/{ours}/norm/scale', 'flat')
  return {
    f'{theirs}.fn.norm.gamma': gain,
    **_layer(f'{inner}.to_qkv', f'{ours}/to_qkv', 'dense', bias=False),
    **_layer(f'{inner}.to_out', f'{ours}/to_out', 'dense', bias=linear),
  }


def _block(
  theirs: str, ours: str, skip: bool = False, modulated: bool = True
) -> Table:
  """Residual block; one that is not modulated has neither time nor streams."""
  entries = {}
  for i in (1, 2):
    proj, norm = f'{theirs}.block{i}.proj', f'{theirs}.block{i}.norm'
    entries |= _layer(proj, f'{ours}/conv_{i}', 'conv_in_frame')
    gain = Entry(f'params/unet/{ours}/norm_{i}/scale')
    entries[f'{norm}.weight'] = gain
    entries[f'{norm}.bias'] = Entry(f'params/unet/{ours}/norm_{i}/bias')
  if skip:
    entries |= _layer(f'{theirs}.res_conv', f'{ours}/skip', 'dense')
  if not modulated:
    return entries
  entries |= _layer(f'{theirs}.time_mlp.1', f'{ours}/time_proj', 'dense')
  for i, (mlp, cross) in enumerate(_STREAMS):
    context = f'{ours}/context_{i}'
    entries |= _layer(f'{theirs}.{mlp}_mlp.1', context, 'dense')
    entries |= _cross_attention(f'{theirs}.cross_attn_{cross}', ours, i)
  return entries


def _cross_attention(theirs: str, ours: str, slot: int) -> Table:
  """One of the attentions to the conditions; ours are stacked."""
  leaves = {
    'null_kv': ('null_kv', 'same'),
    'q_scale': ('q_scale', 'same'),
    'k_scale': ('k_scale', 'same'),
    'norm.g': ('norm', 'same'),
    'to_q.weight': ('to_q', 'dense'),
    'to_kv.weight': ('to_kv', 'dense'),
    'to_out.0.weight': ('to_out', 'dense'),
    'to_out.1.g': ('norm_out', 'same'),
  }
  return {
    f'{theirs}.{name}': Entry(
      f'params/unet/{ours}/cross/{leaf}', layout, slot=slot
    )
    for name, (leaf, layout) in leaves.items()
  }

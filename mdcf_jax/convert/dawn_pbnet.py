"""DAWN's PBNet as ours with its `REFERENCE` options.

Three are in use: one of pose (6 numbers), one of blink (2), one of both. Theirs
sees motion in [0, 1], by ranges of its own; here these are `motion_center` and
`motion_scale`, so that ours takes and gives the pose of this package.
"""

import dataclasses
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
from mdcf_jax.errors import InputError
from mdcf_jax.models import pbnet

PHASE = 'pbnet'

# Tables of sines and cosines, which are computed here.
DEAD = ('*.pe', '*.rotary_emb.freqs', 'optimizer*', 'example*', 'epoch*')

# Of yaw, pitch, roll, x, y and scale what the network sees as 0, and how much
# more it sees as 1, in their units.
_POSE_LOW = (-90.0, -90.0, -90.0, 0.0, 0.0, 0.0)
_POSE_RANGE = (180.0, 180.0, 180.0, 720.0, 1080.0, 1.0)
# And in ours.
_POSE_CENTER = tuple(
  zero + low * unit
  for zero, low, unit in zip(dawn_pose.ZERO, _POSE_LOW, dawn_pose.UNIT)
)
_POSE_SCALE = tuple(x * y for x, y in zip(_POSE_RANGE, dawn_pose.UNIT))
_BLINK_CENTER, _BLINK_SCALE = (0.0, 0.0), (1.0, 1.0)
_CENTER = {
  6: _POSE_CENTER,
  2: _BLINK_CENTER,
  8: _POSE_CENTER + _BLINK_CENTER,
}
_SCALE = {6: _POSE_SCALE, 2: _BLINK_SCALE, 8: _POSE_SCALE + _BLINK_SCALE}
# Tensors whose rows or columns are numbers of motion, and the axis in ours.
_OF_MOTION = {
  'encoder.firstposeEmbedding.weight': 0,
  'encoder.poseEmbedding.weight': 0,
  'decoder.firstposeEmbedding.weight': 0,
  'decoder.finallayer.weight': -1,
  'decoder.finallayer.bias': -1,
}
_PARTS = {6: 'pose', 2: 'blink'}
_QUERY = 'decoder.init_temporal_attn.fn.fn.to_qkv.weight'
_BIAS = 'relative_attention_bias.weight'


def prepare(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors under names as 'encoder.mu_layer.weight'."""
  prepared = {}
  for name, x in tensors.items():
    name = name.replace('/', '.')
    for prefix in ('state_dict.', 'model.', 'module.'):
      name = name.removeprefix(prefix)
    prepared[name] = x
  return prepared


def join(given: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """Returns one model of pose and one of blink as 'pose.encoder...' and so on.

  Raises:
    InputError: they are not one of each.
  """
  joined, found = {}, []
  for tensors in map(prepare, given):
    dim = shape(tensors, 'encoder.poseEmbedding.weight')[1]
    found.append(_PARTS.get(dim, f'{dim} numbers a frame'))
    joined |= {f'{found[-1]}.{name}': x for name, x in tensors.items()}
  if sorted(found) != sorted(_PARTS.values()):
    raise InputError(
      f'give one PBNet of pose and one of blink, not of {" and ".join(found)}'
    )
  return joined


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what prepared or joined tensors are.

  The window of attention is not in them: it is 200 frames in one version of
  the public code, 100 in another, and the former here.

  Raises:
    InputError: tensors are missing that say how large the network is.
  """
  if f'pose.{_QUERY}' in tensors:
    return _describe_parts(tensors)
  buckets, num_heads = shape(tensors, f'decoder.time_rel_pos_bias_tgt.{_BIAS}')
  audio_dim, audio_features = shape(tensors, 'encoder.audioEmbedding.weight')
  reference_dim, motion_dim = shape(tensors, 'encoder.poseEmbedding.weight')
  layers = 'encoder.seqTransEncoder.layers.'
  model = pbnet.REFERENCE | dict(
    latent_dim=shape(tensors, 'encoder.mu_layer.weight')[0],
    reference_dim=reference_dim,
    audio_dim=audio_dim,
    num_layers=count_blocks(tensors, layers),
    num_heads=num_heads,
    head_dim=shape(tensors, _QUERY)[0] // 3 // num_heads,
    rotary_dim=_rotary_dim(tensors, num_heads),
    ff_dim=shape(tensors, f'{layers}0.linear1.weight')[0],
    num_buckets=buckets,
    max_distance=buckets,  # As in every public configuration.
    **motion_units(motion_dim),
  )
  abstract = shapes(model, audio_features)
  return Description({PHASE: model}, abstract, table(model), audio_features)


def _describe_parts(tensors: Mapping[str, np.ndarray]) -> Description:
  """Of joined tensors: the variables of `PBNetPair`."""
  model, abstract, entries = {}, {}, {}
  for part in _PARTS.values():
    own = {
      name.removeprefix(f'{part}.'): x
      for name, x in tensors.items()
      if name.startswith(f'{part}.')
    }
    found = describe(own)
    model[part] = found.model[PHASE]
    abstract[f'{part}_net'] = found.shapes['params']
    for name, entry in found.table.items():
      paths = tuple(
        path.replace('params/', f'params/{part}_net/', 1)
        for path in entry.paths
      )
      entries[f'{part}.{name}'] = dataclasses.replace(entry, path=paths)
  audio_features = found.audio_features
  shapes = {'params': abstract}
  return Description({PHASE: model}, shapes, entries, audio_features)


def _rotary_dim(tensors: Mapping[str, np.ndarray], num_heads: int) -> int:
  """Twice the stored frequencies; as many as heads where none are stored."""
  for name, x in tensors.items():
    if name.endswith('.rotary_emb.freqs'):
      return 2 * x.size
  return num_heads


def motion_units(motion_dim: int) -> dict:
  """Returns the keywords of a PBNet that say what its motion is.

  Raises:
    InputError: it is neither pose, nor blink, nor both.
  """
  if motion_dim not in _CENTER:
    raise InputError(
      f'PBNet of {motion_dim} numbers a frame is neither of pose (6), nor of '
      'blink (2), nor of both (8)'
    )
  return dict(
    motion_dim=motion_dim,
    motion_center=_CENTER[motion_dim],
    motion_scale=_SCALE[motion_dim],
  )


def shapes(model: Mapping, audio_features: int) -> Mapping:
  """Returns the abstract variables of a PBNet with these keywords."""
  module, rng = pbnet.PBNet(**model), jax.random.key(0)
  motion = jnp.zeros((1, 2, model['motion_dim']))
  audio_emb = jnp.zeros((1, 2, audio_features))
  return jax.eval_shape(
    lambda: module.init(rng, motion, audio_emb, jnp.ones((1, 2)), rng=rng)
  )


def table(model: Mapping) -> Table:
  """Returns the table of a PBNet with these keywords."""
  entries = {
    f'decoder.time_rel_pos_bias_tgt.{_BIAS}': Entry('params/self_bias/table'),
    f'decoder.time_rel_pos_bias_mem.{_BIAS}': Entry('params/memory_bias/table'),
  }
  for theirs, ours in (
    ('encoder.firstposeEmbedding', 'encoder_reference'),
    ('encoder.poseEmbedding', 'encoder_delta'),
    ('encoder.audioEmbedding', 'encoder_audio'),
    ('encoder.mu_layer', 'to_mean'),
    ('encoder.sigma_layer', 'to_logvar'),
    ('decoder.firstposeEmbedding', 'decoder_reference'),
    ('decoder.audioEmbedding', 'decoder_audio'),
    ('decoder.ztimelinear', 'to_memory'),
    ('decoder.init_proj', 'query'),
    ('decoder.finallayer', 'to_delta'),
  ):
    entries |= _dense(theirs, ours)
  first = 'decoder.init_temporal_attn.fn'
  entries |= _self_attention(f'{first}.fn', 'query_attention')
  entries[f'{first}.norm.gamma'] = Entry('params/query_norm/scale', 'flat')
  for i in range(model['num_layers']):
    entries |= _encoder_layer(
      f'encoder.seqTransEncoder.layers.{i}', f'encoder_layers_{i}'
    )
    entries |= _decoder_layer(
      f'decoder.seqTransDecoder.decoder_layers.{i}', f'decoder_layers_{i}'
    )
  if model['motion_dim'] > 2:  # With a pose.
    order = (*dawn_pose.ORDER, 6, 7)[: model['motion_dim']]
    for name, axis in _OF_MOTION.items():
      entries[name] = dataclasses.replace(entries[name], axis=axis, order=order)
  return entries


def _encoder_layer(theirs: str, ours: str) -> Table:
  """PyTorch's own layer: queries, keys and values in one, with a bias."""
  attention = f'{ours}/self_attention'
  return {
    f'{theirs}.self_attn.in_proj_weight': _fused(attention, 'kernel', 'dense'),
    f'{theirs}.self_attn.in_proj_bias': _fused(attention, 'bias', 'same'),
    **_dense(f'{theirs}.self_attn.out_proj', f'{attention}/to_out'),
    **_dense(f'{theirs}.linear1', f'{ours}/ff_1'),
    **_dense(f'{theirs}.linear2', f'{ours}/ff_2'),
    **_norm(f'{theirs}.norm1', f'{ours}/norm_1'),
    **_norm(f'{theirs}.norm2', f'{ours}/norm_3'),
  }


def _decoder_layer(theirs: str, ours: str) -> Table:
  entries = _self_attention(f'{theirs}.self_attn', f'{ours}/self_attention')
  for name in ('to_q', 'to_k', 'to_v', 'to_out'):
    cross = f'{ours}/cross_attention/{name}'
    entries |= _dense(f'{theirs}.multihead_attn.{name}', cross, bias=False)
  entries |= _dense(f'{theirs}.ffn.linear1', f'{ours}/ff_1')
  entries |= _dense(f'{theirs}.ffn.linear2', f'{ours}/ff_2')
  for i in (1, 2, 3):
    entries |= _norm(f'{theirs}.layer_norm{i}', f'{ours}/norm_{i}')
  return entries


def _self_attention(theirs: str, ours: str) -> Table:
  return {
    f'{theirs}.to_qkv.weight': _fused(ours, 'kernel', 'dense'),
    **_dense(f'{theirs}.to_out', f'{ours}/to_out', bias=False),
  }


def _fused(ours: str, leaf: str, layout: str) -> Entry:
  """One tensor for the three projections that are apart here."""
  names = ('to_q', 'to_k', 'to_v')
  return Entry(tuple(f'params/{ours}/{n}/{leaf}' for n in names), layout)


def _dense(theirs: str, ours: str, bias: bool = True) -> Table:
  entries = {f'{theirs}.weight': Entry(f'params/{ours}/kernel', 'dense')}
  if bias:
    entries[f'{theirs}.bias'] = Entry(f'params/{ours}/bias')
  return entries


def _norm(theirs: str, ours: str) -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/scale'),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
  }

"""PBNet: parity with the public modules, padding, length, structure."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import models
from mdcf_jax.models import pbnet
from mdcf_jax.models.pbnet import PBNet
from mdcf_jax.models.transformer import band_attention

TINY = models.SIZES['tiny']['pbnet']


def _inputs(length, batch=2, seed=0):
  keys = jax.random.split(jax.random.key(seed), 2)
  motion = jax.random.normal(keys[0], (batch, length, 8)) * 0.05
  audio_emb = jax.random.normal(keys[1], (batch, length, 320))
  return motion, audio_emb, jnp.ones((batch, length))


@functools.cache
def _params():
  """Of the tiny net; they depend on neither its window nor its latents."""
  rng = jax.random.key(0)
  return jax.jit(PBNet(**TINY).init)(rng, *_inputs(16), rng=rng)


def _apply(net, method, *args):
  """Jitted: one program is compiled faster than every operation by itself."""
  return jax.jit(lambda *args: net.apply(*args, method=method))(*args)


def _public_params(sd, num_layers):
  """The public state dict under our names."""
  params = {}

  def put(path, value):
    *parents, leaf = path.split('/')
    node = params
    for name in parents:
      node = node.setdefault(name, {})
    node[leaf] = jnp.asarray(value)

  def dense(path, name):
    put(f'{path}/kernel', sd[f'{name}.weight'].T)
    if f'{name}.bias' in sd:
      put(f'{path}/bias', sd[f'{name}.bias'])

  def norm(path, name):
    put(f'{path}/scale', sd[f'{name}.weight'])
    put(f'{path}/bias', sd[f'{name}.bias'])

  def fused(path, weight, bias=None):
    """One projection to q, k and v becomes three."""
    for i, name in enumerate(('to_q', 'to_k', 'to_v')):
      put(f'{path}/{name}/kernel', np.split(sd[weight], 3)[i].T)
      if bias:
        put(f'{path}/{name}/bias', np.split(sd[bias], 3)[i])

  encoder, decoder = 'encoder.', 'decoder.'
  dense('encoder_reference', f'{encoder}firstposeEmbedding')
  dense('encoder_delta', f'{encoder}poseEmbedding')
  dense('encoder_audio', f'{encoder}audioEmbedding')
  dense('to_mean', f'{encoder}mu_layer')
  dense('to_logvar', f'{encoder}sigma_layer')
  dense('decoder_reference', f'{decoder}firstposeEmbedding')
  dense('decoder_audio', f'{decoder}audioEmbedding')
  dense('to_memory', f'{decoder}ztimelinear')
  dense('query', f'{decoder}init_proj')
  dense('to_delta', f'{decoder}finallayer')
  table = 'relative_attention_bias.weight'
  put('self_bias/table', sd[f'{decoder}time_rel_pos_bias_tgt.{table}'])
  put('memory_bias/table', sd[f'{decoder}time_rel_pos_bias_mem.{table}'])
  first = f'{decoder}init_temporal_attn.fn'
  fused('query_attention', f'{first}.fn.to_qkv.weight')
  dense('query_attention/to_out', f'{first}.fn.to_out')
  put('query_norm/scale', sd[f'{first}.norm.gamma'].ravel())
  for i in range(num_layers):
    theirs, ours = f'encoder.seqTransEncoder.layers.{i}', f'encoder_layers_{i}'
    name = f'{theirs}.self_attn'
    fused(
      f'{ours}/self_attention', f'{name}.in_proj_weight', f'{name}.in_proj_bias'
    )
    dense(f'{ours}/self_attention/to_out', f'{name}.out_proj')
    dense(f'{ours}/ff_1', f'{theirs}.linear1')
    dense(f'{ours}/ff_2', f'{theirs}.linear2')
    norm(f'{ours}/norm_1', f'{theirs}.norm1')
    norm(f'{ours}/norm_3', f'{theirs}.norm2')

    theirs = f'decoder.seqTransDecoder.decoder_layers.{i}'
    ours = f'decoder_layers_{i}'
    fused(f'{ours}/self_attention', f'{theirs}.self_attn.to_qkv.weight')
    dense(f'{ours}/self_attention/to_out', f'{theirs}.self_attn.to_out')
    for name in ('to_q', 'to_k', 'to_v', 'to_out'):
      dense(f'{ours}/cross_attention/{name}', f'{theirs}.multihead_attn.{name}')
    dense(f'{ours}/ff_1', f'{theirs}.ffn.linear1')
    dense(f'{ours}/ff_2', f'{theirs}.ffn.linear2')
    for j in (1, 2, 3):
      norm(f'{ours}/norm_{j}', f'{theirs}.layer_norm{j}')
  return params


@pytest.mark.parity
@pytest.mark.parametrize('name', ['pose', 'blink'])
def test_reference_options_equal_the_public_module(test_data, name):
  path = test_data / 'parity' / f'pbnet_{name}.npz'
  if not path.is_file():
    pytest.skip(f'no reference output {path}')
  data = np.load(path, allow_pickle=False)
  meta = json.loads(str(data['meta']))
  motion_dim = meta['pos_dim'] + meta['eye_dim']
  net = PBNet(
    latent_dim=meta['audio_latent_dim'],
    motion_dim=motion_dim,
    reference_dim=meta['pose_latent_dim'],
    audio_dim=meta['audio_latent_dim'],
    num_layers=meta['num_layers'],
    num_heads=meta['num_heads'],
    ff_dim=meta['ff_size'],
    num_buckets=meta['num_buckets'],
    max_distance=meta['max_distance'],
    motion_center=(0.0,) * motion_dim,
    motion_scale=(1.0,) * motion_dim,
    **pbnet.REFERENCE,
  )
  motion, audio_emb = data['in/x'], data['in/y']
  mask = jnp.ones(motion.shape[:2])
  sd = {k[3:]: data[k] for k in data.files if k.startswith('sd/')}
  variables = {'params': _public_params(sd, meta['num_layers'])}
  rng = jax.random.key(0)
  expected = jax.eval_shape(
    lambda: net.init(rng, motion, audio_emb, mask, rng=rng)
  )
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
    lambda x: x.shape, expected
  )
  mean, logvar, _ = _apply(net, 'encode', variables, motion, audio_emb, mask)
  z = data['in/z'].swapaxes(0, 1)  # Theirs is [T, B, Z].
  output, _ = _apply(net, 'decode', variables, z, audio_emb, motion[:, 0], mask)
  # Float32 sums in another order, on values up to 5.
  np.testing.assert_allclose(mean, data['out/mu'].swapaxes(0, 1), atol=2e-5)
  np.testing.assert_allclose(
    logvar, data['out/logvar'].swapaxes(0, 1), atol=2e-5
  )
  np.testing.assert_allclose(output, data['out/output'], atol=2e-5)


@pytest.mark.parametrize('length, window', [(40, 100), (45, 6)])
def test_band_attention_equals_masked_full_attention(length, window):
  q, k, v = jax.random.normal(jax.random.key(0), (3, 2, length, 2, 4))
  mask = (jnp.arange(length) < length - 3).astype(jnp.float32)
  out = band_attention(
    q, k, v, jnp.stack([mask] * 2), window, lambda d: 0.1 * d[None], block=16
  )
  distance = np.arange(length) - np.arange(length)[:, None]
  logits = jnp.einsum('bqhd,bkhd->bhqk', q, k) / 2 + 0.1 * distance
  allowed = (np.abs(distance) <= window) & (mask > 0)
  weights = jax.nn.softmax(jnp.where(allowed, logits, -jnp.inf))
  expected = jnp.einsum('bhqk,bkhd->bqhd', weights, v)
  seen = np.any(allowed, axis=-1)  # Queries that see a key at all.
  # Float32 rounding of sums over at most 40 keys.
  np.testing.assert_allclose(out[:, seen], expected[:, seen], atol=2e-6)


@pytest.mark.parametrize('z_stride', [0, 8])
def test_padding_changes_no_real_frame(z_stride):
  net = PBNet(**TINY | dict(z_stride=z_stride))
  variables = _params()
  motion, audio_emb, mask = _inputs(21)
  mean, _, valid = _apply(net, 'encode', variables, motion, audio_emb, mask)
  more = ((0, 0), (0, 11), (0, 0))
  longer = [jnp.pad(x, more, constant_values=9) for x in (motion, audio_emb)]
  long_mask = jnp.pad(mask, more[:2])
  long_mean, _, long_valid = _apply(
    net, 'encode', variables, *longer, long_mask
  )
  used = int(valid[0].sum())
  assert used == long_valid[0].sum()
  np.testing.assert_allclose(mean[:, :used], long_mean[:, :used], atol=1e-5)
  z = jax.random.normal(jax.random.key(5), long_mean.shape)
  short, logits = _apply(
    net,
    'decode',
    variables,
    z[:, : mean.shape[1]],
    audio_emb,
    motion[:, 0],
    mask,
  )
  long, long_logits = _apply(
    net, 'decode', variables, z, longer[1], motion[:, 0], long_mask
  )
  # Another length is another program: float32 rounding, nothing more.
  np.testing.assert_allclose(short, long[:, :21], atol=1e-5)
  np.testing.assert_allclose(logits, long_logits[:, :21], atol=1e-5)


def test_far_frames_do_not_matter():
  """Beyond the window of all layers a change is not felt: O(length) work."""
  net = PBNet(**TINY | dict(window=4))
  variables = _params()
  motion, audio_emb, mask = _inputs(200)
  z = jnp.zeros((2, net.num_latents(200), net.latent_dim))

  def decode(audio_emb):
    return _apply(net, 'decode', variables, z, audio_emb, motion[:, 0], mask)[0]

  changed = decode(audio_emb.at[:, 150:].add(3.0))
  np.testing.assert_allclose(
    decode(audio_emb)[:, :100], changed[:, :100], atol=1e-6
  )


def test_latents_in_between_are_interpolated():
  net = PBNet(**TINY)
  z = jnp.arange(4.0)[None, :, None]  # Latents at frames 0, 8, 16, 24.
  frames = net._expand(z, 20)[0, :, 0]
  np.testing.assert_allclose(frames, np.arange(20) / 8, atol=1e-6)


def test_an_event_shuts_both_eyes_and_leaves_the_pose():
  net = PBNet(**TINY)
  reference = jnp.array([[1.0, 2, 3, 0.1, 0.1, -0.5, 0.3, 0.28]])
  delta, events = jnp.zeros((1, 30, 8)), jnp.zeros((1, 30)).at[0, 12].set(1)
  motion = _apply(net, 'compose', _params(), delta, reference, events)[0]
  np.testing.assert_allclose(motion[:, :6], np.tile(reference[0, :6], (30, 1)))
  assert np.all(motion[12, 6:] < 0.08)
  np.testing.assert_allclose(motion[:5, 6:], reference[:, 6:].repeat(5, 0))
  np.testing.assert_allclose(motion[25:, 6:], reference[:, 6:].repeat(5, 0))


def test_sizes():
  """Base is near the public joint model, which has 2,347,532."""

  def count(size):
    net = PBNet(**models.SIZES[size]['pbnet'])
    rng = jax.random.key(0)
    variables = jax.eval_shape(lambda: net.init(rng, *_inputs(16), rng=rng))
    return sum(x.size for x in jax.tree.leaves(variables))

  assert 2e6 < count('base') < 3e6
  assert count('mini') < 6e5

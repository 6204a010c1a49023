"""PBNet: parity with the public modules, padding, length, structure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import models
from mdcf_jax.convert import dawn_pbnet, dawn_pose
from mdcf_jax.models.pbnet import PBNet
from mdcf_jax.models.transformer import band_attention
from tests import parity

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


@pytest.mark.parity
@pytest.mark.parametrize('name', ['pose', 'blink'])
def test_reference_options_equal_the_public_module(name):
  arrays = parity.load(f'pbnet_{name}')
  model, variables = parity.convert(dawn_pbnet, parity.state_dict(arrays))
  meta, model = arrays['meta'], model['pbnet']
  for ours, theirs in dict(
    latent_dim='audio_latent_dim',
    reference_dim='pose_latent_dim',
    audio_dim='audio_latent_dim',
    num_layers='num_layers',
    num_heads='num_heads',
    ff_dim='ff_size',
    num_buckets='num_buckets',
    max_distance='max_distance',
  ).items():
    assert model[ours] == meta[theirs], ours
  dim = model['motion_dim']
  assert dim == meta['pos_dim'] + meta['eye_dim']
  # The fixture's motion is already in the network's units.
  units = dict(motion_center=(0.0,) * dim, motion_scale=(1.0,) * dim)
  net = PBNet(**model | units)
  order = list(dawn_pose.ORDER[:dim] if dim == 6 else range(dim))
  motion, audio_emb = arrays['in/x'][..., order], arrays['in/y']
  mask = jnp.ones(motion.shape[:2])
  mean, logvar, _ = _apply(net, 'encode', variables, motion, audio_emb, mask)
  # Theirs are [T, B, Z].
  parity.assert_equal(mean, arrays['out/mu'].swapaxes(0, 1), 'mu')
  parity.assert_equal(logvar, arrays['out/logvar'].swapaxes(0, 1), 'logvar')
  z = arrays['in/z'].swapaxes(0, 1)
  output, _ = _apply(net, 'decode', variables, z, audio_emb, motion[:, 0], mask)
  parity.assert_equal(output, arrays['out/output'][..., order], 'output')


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

"""The U-Net: equality with the public one, padding, sizes, gradients."""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mdcf_jax.models import denoiser, layers, unet3d

PARITY = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared')) / 'parity'


def load_fixture(name):
  """Reads `<name>.npz`: (state dict, inputs, outputs)."""
  path = PARITY / f'{name}.npz'
  if not path.exists():
    pytest.skip(f'{path} is absent; set MDCF_TEST_DATA')
  with np.load(path, allow_pickle=False) as stored:
    groups = [
      {k[len(g) :]: stored[k] for k in stored.files if k.startswith(g)}
      for g in ('sd/', 'in/', 'out/')
    ]
  return groups


def channels_last(x):
  """`[B, C, T, H, W]` to `[B, T, H, W, C]`."""
  return np.moveaxis(x, 1, -1)


# Names of the reference's tensors -> ours, and how they are laid out.
def conv(sd, name, bias=True):
  """A convolution (C', C, 1, K, K) -> (K, K, C, C')."""
  weight = sd[f'{name}.weight']
  weight = weight.reshape(*weight.shape[:2], *weight.shape[-2:])
  params = dict(kernel=weight.transpose(2, 3, 1, 0))
  return params | ({'bias': sd[f'{name}.bias']} if bias else {})


def dense(sd, name, bias=False):
  """A linear layer or 1 x 1 convolution -> (C, C')."""
  weight = sd[f'{name}.weight']
  params = dict(kernel=weight.reshape(*weight.shape[:2]).T)
  return params | ({'bias': sd[f'{name}.bias']} if bias else {})


def block(sd, name):
  params = {}
  for i in (1, 2):
    params[f'conv_{i}'] = conv(sd, f'{name}.block{i}.proj')
    norm = f'{name}.block{i}.norm'
    params[f'norm_{i}'] = dict(
      scale=sd[f'{norm}.weight'], bias=sd[f'{norm}.bias']
    )
  if f'{name}.res_conv.weight' in sd:
    params['skip'] = dense(sd, f'{name}.res_conv', True)
  if f'{name}.time_mlp.1.weight' not in sd:
    return params  # A head: its cross attentions are never called.
  params['time_proj'] = dense(sd, f'{name}.time_mlp.1', True)
  crosses = []
  for i, (mlp, cross) in enumerate(
    (('audio', 'aud'), ('pose', 'pose'), ('eye', 'eye'))
  ):
    params[f'context_{i}'] = dense(sd, f'{name}.{mlp}_mlp.1', True)
    cross = f'{name}.cross_attn_{cross}'
    crosses.append(
      dict(
        {k: sd[f'{cross}.{k}'] for k in ('null_kv', 'q_scale', 'k_scale')},
        norm=sd[f'{cross}.norm.g'],
        to_q=sd[f'{cross}.to_q.weight'].T,
        to_kv=sd[f'{cross}.to_kv.weight'].T,
        to_out=sd[f'{cross}.to_out.0.weight'].T,
        norm_out=sd[f'{cross}.to_out.1.g'],
      )
    )
  params['cross'] = jax.tree.map(lambda *x: np.stack(x), *crosses)
  return params


def attend(sd, name, inner='fn.fn.fn', bias=False):
  return dict(
    norm=dict(scale=sd[f'{name}.fn.norm.gamma'].reshape(-1)),
    to_qkv=dense(sd, f'{name}.{inner}.to_qkv'),
    to_out=dense(sd, f'{name}.{inner}.to_out', bias),
  )


def convert(sd, channels, levels):
  """Returns our parameters, and the static part of the first convolution."""
  first = conv(sd, 'init_conv')
  static = first['kernel'][:, :, channels:]
  first['kernel'] = first['kernel'][:, :, :channels]
  params = dict(
    init_conv=first,
    relative_bias=sd['time_rel_pos_bias.relative_attention_bias.weight'],
    init_temporal=attend(sd, 'init_temporal_attn'),
    time_0=dense(sd, 'time_mlp.1', True),
    time_1=dense(sd, 'time_mlp.3', True),
    mid_block_0=block(sd, 'mid_block1'),
    mid_pixels=attend(sd, 'mid_spatial_attn'),
    mid_temporal=attend(sd, 'mid_temporal_attn'),
    mid_block_1=block(sd, 'mid_block2'),
  )
  for way, theirs in (('down', 'downs'), ('up', 'ups')):
    for i in range(levels):
      name = f'{theirs}.{i}'
      params[f'{way}_{i}_block_0'] = block(sd, f'{name}.0')
      params[f'{way}_{i}_block_1'] = block(sd, f'{name}.1')
      params[f'{way}_{i}_pixels'] = attend(sd, f'{name}.2', 'fn.fn', True)
      params[f'{way}_{i}_temporal'] = attend(sd, f'{name}.3')
  for i in range(levels - 1):
    params[f'down_{i}_half'] = conv(sd, f'downs.{i}.4')
    weight = sd[f'ups.{i}.4.weight']  # (C, C', 1, 4, 4)
    params[f'up_{i}_double'] = dict(
      kernel=weight[:, :, 0].transpose(2, 3, 0, 1), bias=sd[f'ups.{i}.4.bias']
    )
  for i, name in enumerate(('final_conv', 'occlusion_map')):
    params[f'head_{i}_block'] = block(sd, f'{name}.0')
    params[f'head_{i}_out'] = dense(sd, f'{name}.1', True)
  return params, static


class Reference:
  """The fixture's U-Net with our code."""

  def __init__(self):
    self.sd, self.inputs, self.outputs = load_fixture('unet3d')
    self.params, self.static = convert(self.sd, channels=3, levels=3)

  @functools.cache  # noqa: B019
  def compiled(self, window):
    """One program per window: (outputs, intermediate values) of a condition."""
    x = channels_last(self.inputs['x'])
    # The fixture's other channels differ from frame to frame.
    static = jax.vmap(lambda f: layers.conv2d(f, self.static, 1, 3))(x[..., 3:])
    model = unet3d.UNet3D(
      out_channels=(2, 1),
      dim=16,
      dim_mults=(1, 2, 4),
      window=window,
      norm_over_time=True,
    )
    t = np.broadcast_to(self.inputs['time'][:, None], x.shape[:2])

    def apply(cond):
      return model.apply(
        {'params': self.params},
        x[..., :3],
        t,
        static,
        jnp.split(cond, (1024, 1030), axis=-1),
        capture_intermediates=True,
        mutable=['intermediates'],
      )

    return jax.jit(apply)

  def __call__(self, window, null=False):
    cond = self.inputs['cond'] * (0 if null else 1)
    return self.compiled(window)(cond)[0]


@pytest.fixture(scope='module')
def reference():
  return Reference()


def assert_close(ours, theirs):
  # Float32 through some sixty layers; values are of unit size.
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.parity
def test_all_weights_are_used(reference):
  """Every tensor of the reference but the dead ones has a place here."""
  ours = sum(x.size for x in jax.tree.leaves(reference.params))
  dead = [
    k
    for k in reference.sd
    if 'rotary' in k
    or k.startswith(('final_conv.0.cross', 'occlusion_map.0.cross'))
  ]
  theirs = sum(v.size for k, v in reference.sd.items() if k not in dead)
  assert ours + reference.static.size == theirs


@pytest.mark.parity
@pytest.mark.parametrize(
  'name, window, null',
  [
    ('train', None, False),
    ('masked', 3, False),
    ('masked_null', 3, True),
    ('local', 3, False),
  ],
)
def test_equals_the_reference(reference, name, window, null):
  ours = reference(window, null)
  assert_close(ours, channels_last(reference.outputs[name]))


@pytest.mark.parity
def test_guidance_equals_the_reference(reference):
  null, cond = reference(3, null=True), reference(3)
  guided = null + 2.0 * (cond - null)
  # The difference of two outputs is doubled, and so is its rounding.
  np.testing.assert_allclose(
    guided,
    channels_last(reference.outputs['masked_cfg2']),
    rtol=2e-4,
    atol=1e-4,
  )


@pytest.mark.parity
def test_intermediate_values_equal_the_reference(reference):
  _, state = reference.compiled(3)(reference.inputs['cond'])
  found = state['intermediates']
  pairs = dict(
    time_emb='time_1',
    init_temporal_attn='init_temporal',
    down0_block1='down_0_block_0',
    down0_spatial_attn='down_0_pixels',
    down0_temporal_attn='down_0_temporal',
    down0_downsample='down_0_half',
  )
  for theirs, ours in pairs.items():
    expected = reference.outputs[f'mid/{theirs}']
    value = found[ours]['__call__'][0]
    if theirs == 'time_emb':
      value = value[:, 0]  # One level per clip.
    else:
      expected = channels_last(expected)
      value = value.reshape(expected.shape)
    np.testing.assert_allclose(
      value, expected, rtol=1e-4, atol=2e-5, err_msg=theirs
    )


@pytest.mark.parity
def test_face_box_encoder_equals_the_reference():
  sd, inputs, outputs = load_fixture('face_loc_encoder')
  weights = sorted(k for k in sd if k.endswith('.weight'))
  params = {
    f'conv_{i}': conv(sd, name.removesuffix('.weight'))
    for i, name in enumerate(weights)
  }
  mask = np.moveaxis(inputs['mask'], 1, -1)
  ours = denoiser.FaceBoxEncoder().apply({'params': params}, mask)
  assert_close(ours, np.moveaxis(outputs['emb'], 1, -1))


def tiny(**kwargs):
  defaults = dict(
    dim=8,
    dim_mults=(1, 2),
    num_heads=2,
    head_dim=4,
    cross_heads=2,
    cross_head_dim=4,
    num_groups=4,
    window=3,
  )
  return unet3d.UNet3D(**(defaults | kwargs))


def tiny_inputs(length=20, size=4):
  keys = jax.random.split(jax.random.key(0), 4)
  x = jax.random.normal(keys[0], (2, length, size, size, 4))
  t = jax.random.randint(keys[1], (2, length), 0, 1000)
  static = jax.random.normal(keys[2], (2, 1, size, size, 8))
  streams = [jax.random.normal(keys[3], (2, length, d)) for d in (6, 3)]
  return x, t, static, streams


def random_params(model, *args):
  """Parameters without the zeros that hide what is behind them."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), *args)
  leaves, tree = jax.tree.flatten(shapes)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  values = [0.3 * jax.random.normal(k, s.shape) for k, s in zip(keys, leaves)]
  return jax.tree.unflatten(tree, values)


@pytest.mark.parametrize(
  'over_time', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_padding_changes_nothing(over_time):
  """A clip padded to a bucket gives the same real frames."""
  x, t, static, streams = tiny_inputs()
  model = tiny(norm_over_time=over_time)
  params = random_params(model, x, t, static, streams)

  def pad(a):
    return jnp.concatenate([a, 1 + jnp.zeros_like(a[:, :13])], axis=1)

  mask = pad(jnp.ones(t.shape)).at[:, 20:].set(0)
  apply = jax.jit(model.apply)
  whole = apply(params, x, t, static, streams)
  padded = apply(
    params, pad(x), pad(t), static, [pad(s) for s in streams], mask
  )
  # Sums are taken in another order, nothing more.
  np.testing.assert_allclose(padded[:, :20], whole, rtol=1e-4, atol=1e-4)


def test_drawn_parameters_are_those_of_the_initialisers():
  """Same mean and deviation, leaf by leaf."""

  class Modules(nn.Module):
    @nn.compact
    def __call__(self, x):
      n = len(x)
      streams = [jnp.ones((n, 24)), jnp.ones((n, 3))]
      block = unet3d.ResnetBlock(32, name='block')
      x = block(x, jnp.ones((1, n)), jnp.ones((n, 64)), streams)
      x = unet3d.PixelAttention(name='pixels')(x)
      return layers.Upsample(32, name='up_0_double')(x)

  def init(rng):
    return Modules().init(rng, jnp.ones((2, 4, 4, 32)))['params']

  expected = jax.jit(init)(jax.random.key(0))
  shapes = jax.eval_shape(init, jax.random.key(0))
  drawn = jax.jit(lambda rng: layers.draw_params(rng, shapes))
  drawn = drawn(jax.random.key(1))

  def compare(path, a, b):
    name = jax.tree_util.keystr(path)
    assert a.shape == b.shape and b.dtype == jnp.float32, name
    # Five deviations of the mean of so many draws, of either.
    slack = 10 * float(a.std()) / np.sqrt(a.size) + 1e-6
    np.testing.assert_allclose(b.mean(), a.mean(), atol=slack, err_msg=name)
    np.testing.assert_allclose(b.std(), a.std(), atol=slack, err_msg=name)

  jax.tree_util.tree_map_with_path(compare, expected, drawn)


def test_rematerialisation_changes_nothing_and_gradients_are_finite():
  x, t, static, streams = tiny_inputs(length=6)
  params = random_params(tiny(), x, t, static, streams)

  def gradient(model):
    def loss(p):
      return jnp.mean(jnp.square(model.apply(p, x, t, static, streams) - 1))

    return jax.jit(jax.grad(loss))(params)

  kept, again = gradient(tiny()), gradient(tiny(remat=True))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    kept,
    again,
  )
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(kept))
  # Every parameter takes part.
  assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(kept))


def test_a_size_that_cannot_be_halved_is_named():
  x, t, static, streams = tiny_inputs(size=3)
  with pytest.raises(ValueError, match='3x3 cannot be halved 1 times'):
    tiny().init(jax.random.key(0), x, t, static, streams)


def test_upsample_is_the_transposed_convolution():
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
  module = layers.Upsample(4)
  params = module.init(jax.random.key(1), x)
  kernel = params['params']['kernel']
  expected = jax.lax.conv_transpose(
    x, kernel[::-1, ::-1], (2, 2), 'SAME', dimension_numbers=layers.DIMENSIONS
  )
  np.testing.assert_allclose(module.apply(params, x), expected, atol=1e-5)


@pytest.mark.parametrize(
  'size, kernel, stride',
  [(1, 3, 1), (2, 3, 1), (4, 4, 2), (2, 4, 2), (2, 7, 1)],
)
def test_gathered_convolution_is_a_convolution(size, kernel, stride):
  x = jax.random.normal(jax.random.key(0), (3, size, size, 5))
  weight = jax.random.normal(jax.random.key(1), (kernel, kernel, 5, 6))
  pad = (kernel - 1) // 2
  expected = jax.lax.conv_general_dilated(
    x,
    weight,
    (stride, stride),
    ((pad, pad),) * 2,
    dimension_numbers=layers.DIMENSIONS,
  )
  ours = layers.conv2d(x, weight, stride, pad)
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)

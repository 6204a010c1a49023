"""The U-Net: padding, sizes, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mdcf_jax.models import layers, unet3d


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


@pytest.mark.parametrize(
  ('positions', 'parts'), [(1, 1), (32, 1), (256, 1), (10**6, 1), (96, 2)]
)
def test_pieces_equal_the_whole(positions, parts):
  """Of a pixel, of a part of a frame, of some frames that leave a rest."""
  inputs = tiny_inputs(23)
  params = random_params(tiny(), *inputs)
  mask = jnp.ones((2, 23)).at[1, 13:].set(0)
  whole, pieces = (
    jax.jit(tiny(positions=n, parts=parts).apply)(params, *inputs, mask)
    for n in (0, positions)
  )
  np.testing.assert_allclose(pieces, whole, rtol=1e-4, atol=1e-4)


def test_pieces_have_the_same_parameters():
  shapes = [
    jax.eval_shape(tiny(positions=n).init, jax.random.key(0), *tiny_inputs())
    for n in (0, 16)
  ]
  assert shapes[0] == shapes[1]


def gradient(model, params, *inputs):
  def loss(p):
    return jnp.mean(jnp.square(model.apply(p, *inputs) - 1))

  return jax.grad(loss)(params)


def test_blocks_are_rematerialised_if_asked():
  """Traced, not compiled: that takes a minute, see the next test."""
  inputs = tiny_inputs(length=6)
  params = jax.eval_shape(tiny().init, jax.random.key(0), *inputs)
  for remat in (False, True):
    trace = functools.partial(gradient, tiny(remat=remat))
    assert ('remat' in str(jax.make_jaxpr(trace)(params, *inputs))) == remat


@pytest.mark.slow
def test_rematerialisation_changes_nothing_and_gradients_are_finite():
  inputs = tiny_inputs(length=6)
  params = random_params(tiny(), *inputs)
  kept, again = (
    jax.jit(functools.partial(gradient, tiny(remat=remat)))(params, *inputs)
    for remat in (False, True)
  )
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

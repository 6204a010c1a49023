"""Blocks of the FDE: batch norms by themselves and within convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mdcf_jax.models import hourglass
from mdcf_jax.ops import resize


def drawn(module, x):
  """Variables whose norms have something to do."""
  variables = module.init(jax.random.key(0), x, train=False)
  leaves, tree = jax.tree.flatten(variables)
  rng = np.random.default_rng(0)
  # Above zero, as variances must be.
  leaves = [leaf + rng.uniform(0.1, 0.9, leaf.shape) for leaf in leaves]
  return jax.tree.unflatten(tree, leaves)


def apart(variables, name, x):
  """A convolution and then its batch norm, by their definitions."""
  params, stats = variables['params'], variables['batch_stats'][name[1]]
  kernel, bias = params[name[0]]['kernel'], params[name[0]]['bias']
  y = nn.Conv(kernel.shape[-1], kernel.shape[:2]).apply(
    {'params': dict(kernel=kernel, bias=bias)}, x
  )
  y = (y - stats['mean']) / jnp.sqrt(stats['var'] + 1e-5)
  return y * params[name[1]]['scale'] + params[name[1]]['bias']


@pytest.mark.parametrize('resample', ['same', 'down', 'up'])
def test_a_norm_within_a_convolution_is_the_norm_after_it(resample):
  block = hourglass.ConvBlock(6, 3, resample)
  x = jax.random.normal(jax.random.key(1), (2, 8, 8, 5))
  variables = drawn(block, x)
  before = x.repeat(2, 1).repeat(2, 2) if resample == 'up' else x
  expected = jax.nn.relu(apart(variables, ('conv', 'norm'), before))
  if resample == 'down':
    expected = resize.average_pool(expected)
  ours = block.apply(variables, x, train=False)
  # Products of numbers of about 10, in another order.
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_residual_block_has_one_norm_within():
  block = hourglass.PreActivationBlock(4)
  x = jax.random.normal(jax.random.key(1), (2, 8, 8, 4))
  variables = drawn(block, x)
  params, stats = variables['params'], variables['batch_stats']
  norm = hourglass.BatchNorm(4).apply(
    dict(params=params['norm1'], batch_stats=stats['norm1']), x, train=False
  )
  h = jax.nn.relu(apart(variables, ('conv1', 'norm2'), jax.nn.relu(norm)))
  conv = nn.Conv(4, (3, 3)).apply(dict(params=params['conv2']), h)
  ours = block.apply(variables, x, train=False)
  np.testing.assert_allclose(ours, x + conv, rtol=1e-4, atol=1e-3)


def test_training_normalises_by_the_batch():
  block = hourglass.ConvBlock(6, 3)
  x = jax.random.normal(jax.random.key(1), (4, 8, 8, 5)) + 3
  variables = block.init(jax.random.key(0), x, train=True)
  y, updates = block.apply(variables, x, train=True, mutable=['batch_stats'])
  # Half of a normal distribution is left, with mean 1 / sqrt(2 pi).
  np.testing.assert_allclose(y.mean(), (2 * np.pi) ** -0.5, atol=0.05)
  mean = updates['batch_stats']['norm']['mean']
  assert jnp.any(jnp.abs(mean) > 0.01)

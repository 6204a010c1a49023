"""The FDE: sizes of the paper's model, and what must hold for any weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import models
from mdcf_jax.models.fde import FDE


def parameters(tree):
  return sum(x.size for x in jax.tree.leaves(tree))


def test_full_size_has_the_reference_s_parameters():
  fde = FDE(**models.SIZES['base']['fde'])
  image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
  init = lambda rng, x: fde.init(rng, x, x)
  params = jax.eval_shape(init, jax.random.key(0), image)['params']
  assert parameters(params['region_predictor']) == 14_146_728
  assert parameters(params['background_predictor']) == 6_282_438
  generator = params['image_generator'], params['flow_predictor']
  assert parameters(generator) == 45_575_391


@pytest.fixture(scope='module')
def tiny():
  fde = FDE(**models.SIZES['tiny']['fde'])
  rng = jax.random.key(0)
  images = jax.random.uniform(rng, (2, 2, 64, 64, 3), minval=-1)
  variables = jax.jit(fde.init)(rng, *images)
  # Op by op, the networks take minutes to compile.
  return jax.jit(fde.apply, static_argnames='method'), variables, images


def test_shapes_and_ranges(tiny):
  apply, variables, (source, driving) = tiny
  out = apply(variables, source, driving)
  assert out['prediction'].shape == (2, 64, 64, 3)
  assert out['dynamics'].shape == (2, 16, 16, 3)
  assert jnp.max(jnp.abs(out['prediction'])) <= 1
  occlusion = out['dynamics'][..., 2]
  assert jnp.all((occlusion >= 0) & (occlusion <= 1))


def test_parts_equal_the_whole(tiny):
  apply, variables, (source, driving) = tiny
  whole = apply(variables, source, driving)
  dynamics = apply(variables, source, driving, method='estimate')
  features = apply(variables, source, method='encode')
  frames = apply(variables, features, dynamics, method='decode')
  assert features[-1].shape == (2, 16, 16, 16)
  np.testing.assert_allclose(dynamics, whole['dynamics'], atol=1e-5)
  np.testing.assert_allclose(frames, whole['prediction'], atol=1e-4)


def test_a_source_is_shared_by_all_frames(tiny):
  apply, variables, (source, driving) = tiny
  one = source[:1]
  dynamics = apply(
    variables, jnp.repeat(one, 2, axis=0), driving, method='estimate'
  )
  features = apply(variables, one, method='encode')
  shared = apply(variables, features, dynamics, method='decode')
  for i in range(2):
    frame = apply(variables, features, dynamics[i : i + 1], method='decode')
    np.testing.assert_allclose(shared[i], frame[0], atol=1e-5)


def test_no_motion_and_no_occlusion_return_the_source(tiny):
  apply, variables, (source, _) = tiny
  dynamics = jnp.zeros((2, 16, 16, 3)).at[..., 2].set(1.0)
  features = apply(variables, source, method='encode')
  frames = apply(variables, features, dynamics, method='decode')
  np.testing.assert_allclose(frames, source, atol=1e-4)


def test_eighth_of_the_size():
  fde = FDE(**{**models.SIZES['tiny']['fde'], 'scale': 8})
  image = jnp.zeros((1, 64, 64, 3))
  init = jax.jit(fde.init_with_output)
  out, _ = init(jax.random.key(0), image, image)
  assert out['dynamics'].shape == (1, 8, 8, 3)
  assert out['prediction'].shape == image.shape

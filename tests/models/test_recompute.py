"""Rematerialised blocks: the same numbers, less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mdcf_jax.models import vgg
from mdcf_jax.models.denoiser import SourceStem
from mdcf_jax.models.generator import Generator
from mdcf_jax.models.hourglass import Hourglass
from mdcf_jax.models.lmae import LMAE
from mdcf_jax.models.pbnet import PBNet

pytestmark = pytest.mark.slow  # Minutes of compiling.

RNG = jax.random.key(0)


def _generator(module, image):
  flow = 0.2 * image[:, ::4, ::4, :2]
  features = module.encode(image, train=True)
  return module.decode(features, flow, flow[..., :1] + 0.5, train=True)


def _pbnet(module, image):
  motion, audio_emb = image[:, 0, :, :2], image[:, 1]
  mask = jnp.ones(motion.shape[:2])
  return module(motion, audio_emb, mask, rng=RNG, train=True)


NETWORKS = {
  'hourglass': (
    functools.partial(Hourglass, 4, 2, 8),
    lambda module, image: module(image, train=True),
  ),
  'generator': (
    functools.partial(
      Generator, 4, 8, num_bottleneck_blocks=1, edge_kernel=3, padding='border'
    ),
    _generator,
  ),
  'lmae': (
    functools.partial(LMAE, 2, (4, 8), num_blocks=1, num_groups=2),
    lambda module, image: module(image, RNG),
  ),
  'vgg': (vgg.VGG19, lambda module, image: module(image)),
  'stem': (
    functools.partial(SourceStem, 8, 1, 4),
    lambda module, image: module(image),
  ),
  # In training, so that there are draws of dropout.
  'pbnet': (
    functools.partial(
      PBNet,
      latent_dim=4,
      motion_dim=2,
      reference_dim=8,
      audio_dim=8,
      num_layers=1,
      num_heads=2,
      head_dim=4,
      rotary_dim=4,
      ff_dim=8,
      blink_events=False,
      motion_center=(0.0, 0.0),
      motion_scale=(1.0, 1.0),
    ),
    _pbnet,
  ),
}


def _loss(call, module):
  """Mean square of all outputs as `(params, state, image) -> (loss, state)`."""
  apply = nn.apply(call, module, mutable=['batch_stats'])

  def loss(params, state, image):
    variables = {'params': params, **state}
    outputs, state = apply(variables, image, rngs={'dropout': RNG})
    leaves = jax.tree.leaves(outputs)
    return sum(jnp.mean(jnp.square(x)) for x in leaves), state

  return loss


@pytest.mark.parametrize('name', NETWORKS)
def test_numbers_are_the_same(name, monkeypatch):
  monkeypatch.setattr(vgg, 'VGG19_BLOCKS', ((4, 1), (8, 2)))
  make, call = NETWORKS[name]
  image = jax.random.uniform(RNG, (2, 16, 16, 3))
  init = nn.init(call, make())
  shapes = jax.eval_shape(init, RNG, image)
  assert shapes == jax.eval_shape(nn.init(call, make(remat=True)), RNG, image)
  variables = dict(jax.jit(init)(RNG, image))
  params = variables.pop('params')

  def run(remat):
    loss = _loss(call, make(remat=remat))
    grad = jax.value_and_grad(loss, argnums=(0, 2), has_aux=True)
    jaxpr = str(jax.make_jaxpr(grad)(params, variables, image))
    # A gradient that recomputes nothing would agree as well.
    assert ('remat' in jaxpr) == remat
    return jax.jit(grad)(params, variables, image)

  kept, again = run(False), run(True)
  # The compiler fuses, and so rounds, the same operations in another way.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    kept,
    again,
  )
  (_, state), _ = kept
  if name in ('hourglass', 'generator'):
    assert jax.tree.leaves(state)


# At these sizes what is kept between blocks is small beside what is inside.
LARGER = {
  'generator': (dict(num_bottleneck_blocks=6), (2, 32, 32, 3)),
  'lmae': (dict(num_blocks=4), (2, 32, 32, 3)),
  'pbnet': (dict(num_layers=4), (2, 2, 256, 3)),
}


@pytest.mark.parametrize('name', LARGER)
def test_less_is_kept_for_a_gradient(name):
  make, call = NETWORKS[name]
  keywords, shape = LARGER[name]

  def kept_bytes(remat):
    module = make(**keywords, remat=remat)
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = dict(jax.eval_shape(nn.init(call, module), RNG, image))
    params = variables.pop('params')
    loss = _loss(call, module)

    # What the backward pass is given, weights apart.
    def backward(params, state, image):
      return jax.vjp(lambda p: loss(p, state, image), params, has_aux=True)[1]

    kept = jax.eval_shape(backward, params, variables, image)
    size = lambda tree: sum(x.size * 4 for x in jax.tree.leaves(tree))
    return size(kept) - size(params)

  kept, again = kept_bytes(False), kept_bytes(True)
  assert again < 0.5 * kept, (again, kept)

"""Perceptual distances."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import tensors, vgg19
from mdcf_jax.errors import InputError
from mdcf_jax.models.vgg import VGG19, Perceptual
from tests.random_vgg import random_vgg19

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'vgg19.npz'
# Rounding, relative to the largest value.
RTOL, ATOL = 1e-4, 1e-5


def convert(weights):
  """Variables of `Perceptual` from weights by torchvision's names."""
  image = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
  shapes = jax.eval_shape(Perceptual().init, jax.random.key(0), image, image)
  return tensors.apply(weights, vgg19.table(), shapes, vgg19.DEAD)


@pytest.mark.parametrize(
  'kind', ['random', pytest.param('vgg19', marks=pytest.mark.slow)]
)
def test_distance_is_zero_for_equal_images_only(kind):
  image = jax.random.uniform(jax.random.key(0), (2, 128, 128, 3), minval=-1)
  perceptual = Perceptual(kind)
  variables = jax.jit(perceptual.init)(jax.random.key(1), image, image)
  other = image.at[1].multiply(0.5)
  distance = jax.jit(perceptual.apply)(variables, image, other)
  assert distance.shape == (2,)
  assert distance[0] == 0
  assert distance[1] > 0


def test_random_features_are_the_same_everywhere_and_have_no_parameters():
  image = jnp.linspace(-1, 1, 32 * 32 * 3).reshape(1, 32, 32, 3)
  perceptual = Perceptual('random')
  assert not jax.tree.leaves(perceptual.init(jax.random.key(0), image, image))
  first = perceptual.apply({}, image, -image)
  assert first == perceptual.apply({}, image, -image)


def test_vgg19_has_the_public_size():
  image = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
  init = lambda x: Perceptual('vgg19').init(jax.random.key(0), x, x)
  sizes = [x.size for x in jax.tree.leaves(jax.eval_shape(init, image))]
  # Convolutions up to conv5_1: 16 conv layers of VGG19 less the last three.
  assert sum(sizes) == 20_024_384 - 3 * (9 * 512 * 512 + 512)


def test_wrong_arguments_are_errors():
  image = jnp.zeros((1, 32, 32, 3))
  with pytest.raises(ValueError, match='vgg16'):
    Perceptual('vgg16').apply({}, image, image)
  with pytest.raises(ValueError, match='shapes differ'):
    Perceptual('random').apply({}, image, image[:, :16])
  with pytest.raises(ValueError, match='below the 128'):
    Perceptual('vgg19').apply({}, image, image)


def test_vgg19_equals_the_public_definition():
  """Five layers, and the loss over four scales, with converted weights."""
  variables = convert(random_vgg19())
  with np.load(GOLDEN, allow_pickle=False) as stored:
    image = np.moveaxis(stored['image'], 1, -1)
    inner = {'params': variables['params']['vgg19']}
    features = jax.jit(VGG19().apply)(inner, image)
    for i, ours in enumerate(features, start=1):
      theirs = np.moveaxis(stored[f'relu{i}_1'], 1, -1)
      scale = np.abs(theirs).max()
      np.testing.assert_allclose(
        ours[..., :8], theirs, rtol=RTOL, atol=ATOL * scale
      )
    rng = np.random.RandomState(1)
    rng.rand(*stored['image'].shape)
    pair = np.moveaxis(rng.rand(2, 1, 3, 128, 128), 2, -1).astype(np.float32)
    loss = jax.jit(Perceptual().apply)(variables, *(2 * pair - 1))
    np.testing.assert_allclose(loss, [stored['loss']], rtol=RTOL)


def test_torchvision_classifier_is_left_out_and_gaps_are_named():
  weights = random_vgg19()
  convert(weights | {'classifier.6.bias': np.zeros(1000, np.float32)})
  with pytest.raises(InputError, match='missing.*features.28.bias'):
    convert({k: v for k, v in weights.items() if k != 'features.28.bias'})
  with pytest.raises(InputError, match='unknown.*features.1.weight'):
    convert(weights | {'features.1.weight': np.zeros(64)})

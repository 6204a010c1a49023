"""Perceptual distances."""

import jax
import jax.numpy as jnp
import pytest

from mdcf_jax.models.vgg import Perceptual


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

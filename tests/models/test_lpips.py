"""LPIPS: public sizes, the public definition's distance, its properties."""

import pathlib

import jax
import numpy as np
import pytest

from mdcf_jax.convert import lpips as names
from mdcf_jax.convert import tensors
from mdcf_jax.errors import InputError
from mdcf_jax.models.lpips import LPIPS
from tests.random_tensors import random_images, random_tensors

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'lpips.npz'
NETS = ('alex', 'vgg16')


def random_weights(net):
  return random_tensors(names.table(net), names.shapes(net))


def convert(given):
  """Variables, as `mdcf convert` makes them."""
  given = names.prepare(given)
  found = names.describe(given)
  variables = tensors.apply(given, found.table, found.shapes, names.DEAD)
  return found.model, variables


def pairs():
  """Two pairs of pictures `[2, 64, 64, 3]` in [-1, 1]."""
  images = random_images(4, 64).astype(np.float32) / 127.5 - 1
  return images[:2], images[2:]


@pytest.mark.parametrize(
  'net, trunk, lins', [('alex', 2_469_696, 1152), ('vgg16', 14_714_688, 1472)]
)
def test_it_has_the_public_size(net, trunk, lins):
  """torchvision's 61,100,840 of AlexNet and 138,357,544 of VGG16 less their
  classifiers, and one weight per channel."""
  params = names.shapes(net)['params']
  total = sum(x.size for x in jax.tree.leaves(params['trunk']))
  classifier = {
    'alex': (256 * 36 + 1) * 4096 + 4097 * 4096 + 4097 * 1000,
    'vgg16': (512 * 49 + 1) * 4096 + 4097 * 4096 + 4097 * 1000,
  }[net]
  assert total == trunk
  assert total + classifier == {'alex': 61_100_840, 'vgg16': 138_357_544}[net]
  assert sum(params[f'lin{i}'].size for i in range(5)) == lins


@pytest.mark.parametrize('net', NETS)
def test_it_equals_the_public_definition(net):
  model, variables = convert(random_weights(net))
  assert model == {'lpips': {'net': net}}
  distance = jax.jit(LPIPS(net).apply)
  pred, target = pairs()
  with np.load(GOLDEN, allow_pickle=False) as stored:
    # Float32 rounding through the trunk.
    np.testing.assert_allclose(
      distance(variables, pred, target), stored[net], rtol=1e-5
    )
  assert not np.any(distance(variables, pred, pred))


def test_parts_and_the_whole_public_module_are_understood():
  given = random_weights('alex')
  _, expected = convert(given)
  slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
  whole = {'scaling_layer.shift': np.zeros((1, 3, 1, 1), np.float32)}
  for name, x in given.items():
    if name.startswith('features.'):
      _, place, kind = name.split('.')
      whole[f'net.slice{slices[int(place)]}.{place}.{kind}'] = x
    else:
      whole[name] = x
      whole[f'lins.{name[3]}.model.1.weight'] = x
  classifier = {'classifier.6.bias': np.zeros(1000, np.float32)}
  for more in (whole, given | classifier):
    _, variables = convert(more)
    for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(expected)):
      np.testing.assert_array_equal(a, b)
  trunk = {k: v for k, v in given.items() if k.startswith('features')}
  with pytest.raises(InputError, match='missing.*lin0.model.1.weight'):
    convert(trunk)
  with pytest.raises(InputError, match='missing.*features.0.weight'):
    convert({k: v for k, v in given.items() if k not in trunk})
  with pytest.raises(InputError, match='no network'):
    convert({'features.0.weight': np.zeros((64, 3, 7, 7), np.float32)})


@pytest.mark.parametrize('net, smallest', [('alex', 31), ('vgg16', 16)])
def test_the_smallest_image_has_a_distance(net, smallest):
  apply = lambda size: jax.eval_shape(
    LPIPS(net).apply,
    names.shapes(net),
    *[jax.ShapeDtypeStruct((2, size, 40, 3), np.float32)] * 2,
  )
  assert apply(smallest).shape == (2,)
  with pytest.raises(ValueError, match=f'below the {smallest}'):
    apply(smallest - 1)


def test_wrong_arguments_are_errors():
  image = np.zeros((1, 64, 64, 3), np.float32)
  with pytest.raises(ValueError, match='squeeze'):
    LPIPS('squeeze').apply({}, image, image)
  with pytest.raises(ValueError, match='differ'):
    LPIPS().apply({}, image, image[:, :32])

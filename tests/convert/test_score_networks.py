"""Files of FID's and FVD's networks become our variables."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from mdcf_jax.convert import i3d, inception, tensors
from mdcf_jax.errors import InputError
from tests.convert import public
from tests.random_networks import random_variables, random_weights

MODULES = pytest.mark.parametrize('module', [inception, i3d])


def convert(module, given):
  description = module.describe(given)
  return tensors.apply(
    given, description.table, description.shapes, module.DEAD
  )


@MODULES
def test_every_variable_comes_from_the_file(module):
  """What the state dict was made of comes back, leaf by leaf."""
  given, variables = random_weights(module), random_variables(module)
  flat = traverse_util.flatten_dict(variables, sep='/')
  again = public.state_dict(
    module.table(), module.shapes(), lambda path, shape: flat[path]
  )
  assert again.keys() == given.keys()
  for name, x in again.items():
    np.testing.assert_array_equal(x, given[name], err_msg=name)
  used, left = tensors.count(given, module.table())
  assert (used, left) == (public.count(variables), 0)
  assert set(variables) == {'params'}


@MODULES
def test_gaps_and_strangers_are_named(module):
  given = random_weights(module)
  name = next(name for name in given if name.endswith('running_var'))
  with pytest.raises(InputError, match=f'missing tensors .*{name}'):
    convert(module, {k: x for k, x in given.items() if k != name})
  with pytest.raises(InputError, match='unknown tensors .*Mixed_9z'):
    convert(module, given | {'Mixed_9z.weight': np.zeros(3)})
  counted = name.replace('running_var', 'num_batches_tracked')
  convert(module, given | {counted: np.array(7)})


def test_classifiers_of_inception_are_left_out():
  dead = {
    'fc.weight': np.zeros((1008, 2048), np.float32),
    'AuxLogits.conv0.conv.weight': np.zeros((128, 768, 1, 1), np.float32),
  }
  given = random_weights(inception)
  without, beside = convert(inception, given), convert(inception, given | dead)
  jax.tree.map(np.testing.assert_array_equal, without, beside)


def test_another_number_of_classes_is_refused():
  bias = {'logits.conv3d.bias': np.zeros(600, np.float32)}
  with pytest.raises(InputError, match=r'misshaped .*bias \(600,\)'):
    convert(i3d, random_weights(i3d) | bias)

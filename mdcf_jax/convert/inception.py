"""Inception v3 of FID, as mseitzer/pytorch-fid stores it.

The file is `pt_inception-2015-12-05-6726825d.pth` of that project's releases.
torchvision's own Inception v3 has the same names and other weights: features of
those are not those of FID, and nothing in the file tells.
"""

from collections.abc import Mapping

import jax
import numpy as np
from flax import traverse_util

from mdcf_jax.convert.tensors import Description, Entry, Table
from mdcf_jax.models import inception

# The classifiers, and what training left.
DEAD = ('AuxLogits.*', 'fc.*', '*.num_batches_tracked')
# Of the convolution and its norm, by our names.
LEAVES = dict(
  kernel='conv.weight',
  scale='bn.weight',
  bias='bn.bias',
  mean='bn.running_mean',
  var='bn.running_var',
)


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what the tensors are: there is one size."""
  del tensors
  return Description({}, shapes(), table())


def shapes() -> Mapping:
  """Returns the abstract variables of `InceptionV3`."""
  size = inception.RESOLUTION
  image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  module = inception.InceptionV3()
  return jax.eval_shape(module.init, jax.random.key(0), image)


def table() -> Table:
  """Names of pytorch-fid's state dict; modules have the same names here."""
  entries = {}
  for path in traverse_util.flatten_dict(shapes(), sep='/'):
    module, _, leaf = path.removeprefix('params/').rpartition('/')
    layout = 'conv' if leaf == 'kernel' else 'same'
    name = f'{module.replace("/", ".")}.{LEAVES[leaf]}'
    entries[name] = Entry(path, layout)
  return entries

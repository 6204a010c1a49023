"""`syncnet_v2.model` of github.com/joonson/syncnet_python as our SyncNet.

The file is a state dict of the class S of SyncNetModel.py: netcnnaud and
netfcaud for the sound, netcnnlip and netfclip for the pictures.
"""

from collections.abc import Mapping

import jax
import numpy as np

from mdcf_jax.convert.tensors import Description, Entry, Table
from mdcf_jax.models import syncnet

DEAD = ('*.num_batches_tracked',)
# Where the convolutions stand, among batch norms, ReLUs and poolings.
PLACES = (0, 4, 8, 11, 14, 18)


def table() -> Table:
  """Names of the public state dict, for the variables of `SyncNet`."""
  entries = {}
  for ours, theirs in (('audio', 'aud'), ('video', 'lip')):
    for i, place in enumerate(PLACES):
      # Only the first layer over pictures looks at more than one.
      flat = ours == 'video' and i > 0
      layout = 'conv_in_frame' if flat else 'conv'
      conv, norm = f'{ours}/conv_{i}', f'{ours}/norm_{i}'
      entries |= _layer(f'netcnn{theirs}.{place}', conv, layout)
      entries |= _norm(f'netcnn{theirs}.{place + 1}', norm)
    # The public code calls the head over pictures netfclip.
    head = f'netfc{theirs}'
    entries |= _layer(f'{head}.0', f'{ours}/head/dense_0', 'dense')
    entries |= _norm(f'{head}.1', f'{ours}/head/norm')
    entries |= _layer(f'{head}.3', f'{ours}/head/dense_1', 'dense')
  return entries


def _layer(theirs: str, ours: str, layout: str) -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/kernel', layout),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
  }


def _norm(theirs: str, ours: str) -> Table:
  return {
    f'{theirs}.weight': Entry(f'params/{ours}/scale'),
    f'{theirs}.bias': Entry(f'params/{ours}/bias'),
    f'{theirs}.running_mean': Entry(f'batch_stats/{ours}/mean'),
    f'{theirs}.running_var': Entry(f'batch_stats/{ours}/var'),
  }


def shapes() -> Mapping:
  """Abstract variables of `SyncNet`."""
  size = syncnet.SIZE
  video = (1, syncnet.NUM_FRAMES, size, size, 3)
  sound = (1, syncnet.NUM_STEPS, syncnet.NUM_COEFFICIENTS)
  return jax.eval_shape(
    syncnet.SyncNet().init,
    jax.random.key(0),
    jax.ShapeDtypeStruct(video, np.float32),
    jax.ShapeDtypeStruct(sound, np.float32),
  )


def describe(tensors: Mapping[str, np.ndarray]) -> Description:
  """What the tensors are: there is one SyncNet, so they are not looked at."""
  del tensors
  return Description({}, shapes(), table())

"""The mesh, and where parameters and batches lie on it.

Three axes: examples are split over `data` and `fsdp`, parameters and optimizer
over `fsdp`, the frames of a long clip over `frames`. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mdcf_jax.errors import InputError

AXES = ('data', 'fsdp', 'frames')

# Entries of a batch whose second axis is time, where they have one at all:
# `mouth_box` is `[B, 4]` for pairs of frames and `[B, T, 4]` for clips.
FRAME_RANKS = {
  'video': 5,
  'z_mean': 5,
  'z_logvar': 5,
  'audio_emb': 3,
  'pose': 3,
  'blink': 3,
  'mouth_box': 3,
  'opening': 2,
  'landmarks': 4,
  'frame_mask': 2,
}


def mesh_shape(
  count: int, fsdp: int = 1, frames: int = 1
) -> tuple[int, int, int]:
  """Returns the sizes of `(data, fsdp, frames)` for so many devices.

  Raises:
    InputError: the devices cannot be divided that way.
  """
  if fsdp < 1 or frames < 1 or count % (fsdp * frames):
    raise InputError(
      f'a mesh of fsdp={fsdp} x frames={frames} does not divide the '
      f'{count} device(s) there are; change config.mesh'
    )
  return count // (fsdp * frames), fsdp, frames


def create_mesh(
  fsdp: int = 1, frames: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
  """Returns a `(data, fsdp, frames)` mesh.

  Args:
    fsdp, frames: sizes of these axes; data takes the rest.
    devices: by default all devices of all processes.

  Raises:
    InputError: the devices cannot be divided that way.
  """
  devices = jax.devices() if devices is None else devices
  data, fsdp, frames = mesh_shape(len(devices), fsdp, frames)
  # Devices that are connected directly: a slice of TPUs, a node of GPUs.
  slices = len({getattr(device, 'slice_index', 0) for device in devices})
  if data % slices:
    raise InputError(
      f'a mesh of fsdp={fsdp} x frames={frames} does not fit into one of the '
      f'{slices} groups of connected devices; change config.mesh'
    )
  # Auto: reshapes over a sharded axis are the compiler's business.
  options = dict(axis_types=(AxisType.Auto,) * 3)
  if slices == 1:
    shape = (data, fsdp, frames)
    return jax.make_mesh(shape, AXES, devices=devices, **options)
  grid = mesh_utils.create_hybrid_device_mesh(
    (data // slices, fsdp, frames), (slices, 1, 1), devices
  )
  return Mesh(grid, AXES, **options)


def state_sharding(mesh: Mesh, tree: Any, min_size: int = 2**14) -> Any:
  """Returns the sharding of each array of `tree`, by one rule.

  The largest dimension that `fsdp` divides is split over it; arrays of fewer
  than `min_size` elements are replicated. The rule depends on shapes alone, so
  parameters, their average and the optimizer's moments always agree.

  Args:
    mesh: of `create_mesh`.
    tree: arrays or `jax.ShapeDtypeStruct`s.
    min_size: number of elements below which splitting is not worth it.
  """
  fsdp = mesh.shape['fsdp']

  def spec(x) -> NamedSharding:
    splittable = [d for d, size in enumerate(x.shape) if size % fsdp == 0]
    if fsdp == 1 or x.size < min_size or not splittable:
      return NamedSharding(mesh, P())
    d = max(splittable, key=lambda d: x.shape[d])
    return NamedSharding(mesh, P(*[None] * d, 'fsdp'))

  return jax.tree.map(spec, tree)


def batch_sharding(mesh: Mesh, batch: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the sharding of each entry of `batch`, given arrays or shapes."""
  return {
    name: NamedSharding(
      mesh,
      P(('data', 'fsdp'), 'frames')
      if FRAME_RANKS.get(name) == len(x.shape)
      else P(('data', 'fsdp')),
    )
    for name, x in batch.items()
  }


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of what every device holds whole."""
  return NamedSharding(mesh, P())


def put_batch(
  batch: Mapping[str, np.ndarray], shardings: Mapping[str, NamedSharding]
) -> dict[str, jax.Array]:
  """Makes global arrays of the part of a batch that this process has read.

  Args:
    batch: arrays on the host; examples of all processes make the global batch.
    shardings: of `batch_sharding`.
  """
  return {
    name: jax.make_array_from_process_local_data(sharding, batch[name])
    for name, sharding in shardings.items()
  }

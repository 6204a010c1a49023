"""Arrays through a compiled function, a few rows at a time."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


@functools.cache
def _mesh() -> Mesh:
  """The devices of this process in a row; other processes have other clips."""
  devices = jax.local_devices()
  types = (AxisType.Auto,)
  return jax.make_mesh((len(devices),), ('batch',), types, devices=devices)


def replicated() -> NamedSharding:
  """Where variables lie that are used with `apply_in_batches`."""
  return NamedSharding(_mesh(), P())


def whole_batch(size: int) -> int:
  """The smallest batch of at least `size` that the local devices divide."""
  count = jax.local_device_count()
  return -(-size // count) * count


def spread(batch: np.ndarray) -> Any:
  """Puts a batch on the local devices, in parts, if they divide it."""
  if len(batch) % jax.local_device_count():
    return batch
  return jax.device_put(batch, NamedSharding(_mesh(), P('batch')))


def apply_in_batches(
  function: Callable[[np.ndarray], np.ndarray],
  items: Iterable[np.ndarray],
  batch_size: int,
  width: int,
) -> np.ndarray:
  """Applies a function to all items, always to as many at once.

  The last batch repeats its last item, so that there is one compilation. A
  batch that the local devices divide is spread over them.

  Args:
    function: maps `[batch_size, ...]` to `[batch_size, width]`.
    items: arrays of one shape; one batch of them is held at a time.
    batch_size: B.
    width: of the results.

  Returns:
    `[N, width]` float32, in the order of the items; N may be 0.

  Raises:
    ValueError: the batch size is not positive.
  """
  if batch_size < 1:
    raise ValueError(f'a batch of {batch_size} holds nothing')
  results, batch = [np.zeros((0, width), np.float32)], []

  def flush() -> None:
    padded = batch + batch[-1:] * (batch_size - len(batch))
    out = np.asarray(function(spread(np.stack(padded))), np.float32)
    results.append(out[: len(batch)])
    batch.clear()

  for item in items:
    batch.append(item)
    if len(batch) == batch_size:
      flush()
  if batch:
    flush()
  return np.concatenate(results)


def check_frames(frames: np.ndarray) -> np.ndarray:
  """Returns frames that are uint8 `[T, H, W, 3]`.

  Raises:
    ValueError: they are something else.
  """
  frames = np.asarray(frames)
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
    raise ValueError(
      f'frames are {frames.dtype} {frames.shape}, not uint8 [T, H, W, 3]'
    )
  return frames

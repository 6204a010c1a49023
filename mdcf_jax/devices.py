"""What a generation runs on: devices, their memory, and the type of numbers."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mdcf_jax import host
from mdcf_jax.errors import InputError

DTYPES = 'float32', 'bfloat16'


@dataclasses.dataclass(frozen=True)
class Devices:
  """The first devices of this process: each has all weights and some frames.

  Attributes:
    count: how many; frames must be divisible by it.
  """

  count: int = 1

  def __post_init__(self):
    there = jax.local_device_count()
    if not 1 <= self.count <= there:
      raise InputError(f'devices {self.count} is not in 1 to {there}')

  @functools.cached_property
  def mesh(self) -> Mesh:
    devices = jax.local_devices()[: self.count]
    # Auto: what splits frames is the compiler's business.
    return jax.make_mesh(
      (self.count,), ('frames',), (AxisType.Auto,), devices=devices
    )

  def sharding(self, axis: int | None = None) -> NamedSharding:
    """Of arrays whose `axis` is that of frames; without one, whole on each."""
    spec = P() if axis is None else P(*[None] * axis, 'frames')
    return NamedSharding(self.mesh, spec)

  def put(self, tree: Any, axis: int | None = None) -> Any:
    """Arrays, or what has their shapes, where `sharding(axis)` has them.

    A single device needs no telling: its arrays may be the host's.
    """
    if self.count == 1:
      return tree
    sharding = self.sharding(axis)

    def put(x):
      if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
      return jax.device_put(x, sharding)

    return jax.tree.map(put, tree)

  @property
  def free_memory(self) -> int | None:
    """Bytes that are free on the first device, None where it does not tell."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if 'bytes_limit' in stats:
      return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
    if jax.default_backend() != 'cpu':
      return None
    free = host.free_memory()
    if free is None:
      return None
    return free // self.count  # Parts of one memory.


@contextlib.contextmanager
def out_of_memory() -> Iterator[None]:
  """Raises InputError where the device has not enough memory."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    reason = str(error).splitlines()[0]
    raise InputError(
      f'the device has not enough memory ({reason}); take a shorter sound, a '
      'smaller resolution, or fewer videos together'
    ) from error


def check_dtype(dtype: str | None) -> str:
  """Returns `dtype`, or what suits the device.

  Raises:
    InputError: it is neither float32 nor bfloat16.
  """
  if dtype is None:
    return 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
  if dtype not in DTYPES:
    raise InputError(f'dtype {dtype!r} is none of: {", ".join(DTYPES)}')
  return dtype

"""Random weights of SyncNet and S3FD by public names, the same everywhere."""

import math
import zlib

import numpy as np

_LAYOUTS = {
  'conv': lambda s: (s[-1], s[-2], *s[:-2]),
  'conv_in_frame': lambda s: (s[-1], s[-2], 1, *s[:-2]),
  'dense': lambda s: (s[1], s[0]),
  'same': lambda s: s,
}


def public_shapes(table, shapes) -> dict[str, tuple[int, ...]]:
  """Shapes of the public tensors that a table turns into `shapes`."""
  found = {}
  for name, entry in table.items():
    x = shapes
    for key in entry.path.split('/'):
      x = x[key]
    found[name] = _LAYOUTS[entry.layout](x.shape)
  return found


def random_weights(
  shapes: dict[str, tuple[int, ...]], seed: int = 0
) -> dict[str, np.ndarray]:
  """He-normal kernels, gains and variances about 1, small biases and means.

  A tensor depends on its name and the seed, not on the others.
  """
  arrays = {}
  for name, shape in shapes.items():
    rng = np.random.RandomState(zlib.crc32(name.encode()) ^ seed)
    if len(shape) > 1:
      x = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif name.endswith('running_var'):
      x = rng.uniform(0.5, 1.5, shape)
    elif name.endswith('.weight'):
      x = rng.uniform(0.8, 1.2, shape)
    else:
      x = 0.1 * rng.standard_normal(shape)
    arrays[name] = x.astype(np.float32)
  return arrays

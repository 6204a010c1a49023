"""Random weights by public names, the same on any machine."""

import numpy as np
from flax import traverse_util


def random_tensors(table, shapes, seed: int = 0) -> dict[str, np.ndarray]:
  """Tensors that a table of `mdcf_jax.convert` turns into variables.

  Kernels are He-normal, gains and variances near one, the rest small.

  Args:
    table: of plain entries: 'conv', 'flat' and 'same', one variable each.
    shapes: of our variables.
    seed: of what NumPy draws, in the order of the names.
  """
  rng = np.random.RandomState(seed)
  ours = traverse_util.flatten_dict(dict(shapes), sep='/')
  tensors = {}
  for name in sorted(table):
    entry = table[name]
    shape = ours[entry.path].shape
    if entry.layout == 'conv':
      *kernel, inputs, outputs = shape
      x = rng.randn(outputs, inputs, *kernel)
      x *= np.sqrt(2 / (inputs * np.prod(kernel)))
    elif entry.layout == 'flat':
      x = rng.rand(1, shape[0], 1, 1)
    elif entry.path.endswith(('scale', 'var')):
      x = rng.uniform(0.8, 1.2, shape)
    else:
      x = 0.1 * rng.randn(*shape)
    tensors[name] = x.astype(np.float32)
  return tensors


def random_images(count: int, size: int, seed: int = 0) -> np.ndarray:
  """`[count, size, size, 3]` uint8: squares of eight pixels, and noise."""
  rng = np.random.RandomState(seed)
  x = rng.randint(0, 200, (count, size // 8, size // 8, 3))
  x = x.repeat(8, axis=1).repeat(8, axis=2)
  return (x + rng.randint(0, 56, x.shape)).astype(np.uint8)

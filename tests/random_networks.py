"""Random weights of the score networks by public names, the same anywhere."""

import functools

import numpy as np

from mdcf_jax.convert import tensors
from tests.convert import public


@functools.cache
def random_variables(module):
  """`random_weights` as our variables; made once, so change nothing."""
  given = random_weights(module)
  description = module.describe(given)
  return tensors.apply(
    given, description.table, description.shapes, module.DEAD
  )


@functools.cache
def random_weights(module, seed: int = 0) -> dict[str, np.ndarray]:
  """A state dict of about unit gain, norms included.

  Made once, so change nothing.

  Args:
    module: of mdcf_jax.convert, with `table` and `shapes`.
    seed: of NumPy's old generator, whose numbers never change.
  """
  rng = np.random.RandomState(seed)

  def draw(path, shape):
    leaf = path.rpartition('/')[-1]
    if leaf == 'kernel':
      x = rng.randn(*shape) * np.sqrt(2 / np.prod(shape[:-1]))
    elif leaf == 'var':
      x = rng.uniform(0.5, 1.5, shape)
    else:
      x = (leaf == 'scale') + 0.1 * rng.randn(*shape)
    return x.astype(np.float32)

  return public.state_dict(module.table(), module.shapes(), draw)


def random_frames(*shape: int, seed: int = 0) -> np.ndarray:
  """uint8 `[*shape, 3]`, the same anywhere."""
  rng = np.random.RandomState(seed)
  return rng.randint(0, 256, (*shape, 3)).astype(np.uint8)

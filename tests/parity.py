"""Outputs of the public modules, where they are to be had."""

import json
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import tensors

FOLDER = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared')) / 'parity'


def load(name: str) -> dict[str, np.ndarray]:
  """Arrays 'sd/...' (weights), 'in/...' and 'out/...' of one module.

  'meta' are the arguments of its constructor.
  """
  path = FOLDER / f'{name}.npz'
  if not path.is_file():
    pytest.skip(f'no reference output {path}; set MDCF_TEST_DATA')
  with np.load(path, allow_pickle=False) as file:
    arrays = dict(file)
  arrays['meta'] = json.loads(str(arrays['meta']))
  return arrays


def state_dict(arrays, prefix: str = '') -> dict[str, np.ndarray]:
  """The weights alone, `prefix` before their names."""
  return {
    prefix + name[3:]: x for name, x in arrays.items() if name.startswith('sd/')
  }


def convert(module, given):
  """Keywords of our modules and their variables, as `mdcf convert` does it."""
  prepared = module.prepare(given)
  description = module.describe(prepared)
  variables = tensors.apply(
    prepared, description.table, description.shapes, module.DEAD
  )
  return description.model, variables


def channels_last(x: np.ndarray) -> jnp.ndarray:
  """`[B, C, ...]` to `[B, ..., C]`."""
  return jnp.asarray(np.moveaxis(x, 1, -1))


def assert_equal(ours, theirs, message: str = '') -> None:
  """Float32 rounding through a deep network, relative to the largest value."""
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  assert ours.shape == theirs.shape, message
  atol = 1e-5 * np.abs(theirs).max()
  np.testing.assert_allclose(
    ours, theirs, rtol=1e-4, atol=atol, err_msg=message
  )
  if os.environ.get('MDCF_PARITY_REPORT'):
    error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)
    with open(os.environ['MDCF_PARITY_REPORT'], 'a') as file:
      test = os.environ.get('PYTEST_CURRENT_TEST', '').split(' ')[0]
      file.write(f'{error:.1e} {test} {message} {ours.shape}\n')

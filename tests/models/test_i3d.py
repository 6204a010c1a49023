"""I3D of FVD: its size, its errors, and what PyTorch made of the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from mdcf_jax.convert import i3d as names
from mdcf_jax.metrics.fvd import i3d_features
from mdcf_jax.models.i3d import I3D
from tests.random_networks import random_frames, random_variables

# Rounding of some twenty layers, relative to the largest logit.
ATOL = 1e-5


def assert_equal(ours, theirs):
  """Equal up to rounding, and no trivial comparison."""
  assert ours.shape == theirs.shape
  assert theirs.std() > 0.1 * np.abs(theirs).max() > 0
  np.testing.assert_allclose(ours, theirs, atol=ATOL * np.abs(theirs).max())


def test_features_equal_the_public_definition(repository):
  """Two windows of ten small frames; the frame that is left is not used."""
  path = repository / 'tests' / 'golden' / 'i3d.npz'
  with np.load(path, allow_pickle=False) as stored:
    theirs = stored['features']
  frames = random_frames(21, 64, 64)
  variables = random_variables(names)
  ours = i3d_features(variables, frames, 10, size=64, batch_size=1)
  assert ours.dtype == np.float32
  assert_equal(ours, theirs)


def test_it_has_the_public_size():
  """The 12,287,264 of pytorch-i3d without logits, and 400 logits."""
  flat = traverse_util.flatten_dict(dict(names.shapes()), sep='/')
  trained = [x for k, x in flat.items() if not k.endswith(('/mean', '/var'))]
  assert sum(x.size for x in trained) == 12_287_264 + 1025 * 400


def test_wrong_arguments_are_errors():
  video = jnp.zeros((1, 16, 32, 32, 3))
  init = lambda x: I3D().init(jax.random.key(0), x)
  with pytest.raises(ValueError, match='9 frames'):
    init(video[:, :9])
  with pytest.raises(ValueError, match='16, 32, 32'):
    init(video[0])

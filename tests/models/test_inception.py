"""Inception v3 of FID: its size, its files, and what PyTorch made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from mdcf_jax.convert import inception as names
from mdcf_jax.metrics.fid import inception_features
from mdcf_jax.models.inception import InceptionV3
from tests.random_networks import random_frames, random_variables

# Rounding of some fifty layers, relative to the largest feature.
ATOL = 1e-5


def assert_equal(ours, theirs):
  """Equal up to rounding, and no trivial comparison."""
  assert ours.shape == theirs.shape
  assert theirs.std(axis=0).max() > 100 * ATOL * theirs.max() > 0
  np.testing.assert_allclose(ours, theirs, atol=ATOL * np.abs(theirs).max())


def test_features_equal_the_public_definition(repository):
  """Three frames in batches of two, resized to 299."""
  path = repository / 'tests' / 'golden' / 'inception.npz'
  with np.load(path, allow_pickle=False) as stored:
    theirs = stored['features']
  frames = random_frames(3, 40, 56)
  ours = inception_features(random_variables(names), frames, batch_size=2)
  assert ours.dtype == np.float32
  assert_equal(ours, theirs)


def test_it_has_the_public_size():
  """torchvision's 27,161,264 less its classifiers of 1000 classes."""
  flat = traverse_util.flatten_dict(dict(names.shapes()), sep='/')
  trained = [x for k, x in flat.items() if not k.endswith(('/mean', '/var'))]
  auxiliary = 768 * 128 + 256 + 25 * 128 * 768 + 1536 + 769 * 1000
  expected = 27_161_264 - auxiliary - 2049 * 1000
  assert sum(x.size for x in trained) == expected


def test_wrong_arguments_are_errors():
  image = jnp.zeros((1, 80, 80, 3))
  init = lambda module, x: module.init(jax.random.key(0), x)
  with pytest.raises(ValueError, match='80, 80, 1'):
    init(InceptionV3(), image[..., :1])
  with pytest.raises(ValueError, match='74 pixels'):
    init(InceptionV3(74), image)

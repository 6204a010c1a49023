"""Inception v3 of FID equals a plain PyTorch definition."""

import numpy as np
import pytest

from mdcf_jax.convert import inception as names
from mdcf_jax.metrics.fid import inception_features
from tests.models.test_inception import assert_equal
from tests.random_networks import (
  random_frames,
  random_variables,
  random_weights,
)

torch = pytest.importorskip('torch', reason='no torch: make parity')

from tests import torch_inception  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.mark.parametrize('shape', [(256, 256), (320, 180), (300, 64)])
@pytest.mark.parametrize('resolution', [75, 299])
def test_features(shape, resolution):
  """Larger and smaller frames, and the smallest last map there can be."""
  frames = random_frames(2, *shape, seed=1)
  model = torch_inception.inception(random_weights(names))
  theirs = torch_inception.features(model, frames, resolution)
  ours = inception_features(
    random_variables(names), frames, batch_size=2, resolution=resolution
  )
  error = np.abs(ours - theirs).max() / np.abs(theirs).max()
  print(f'{shape} to {resolution}: largest error {error:.1e} of the largest')
  assert_equal(ours, theirs)


def test_the_table_has_the_public_names_and_no_others():
  """All of the state dict but the classifier and what training counted."""
  theirs = {
    name: tuple(x.shape)
    for name, x in torch_inception.InceptionV3().state_dict().items()
  }
  ours = {name: x.shape for name, x in random_weights(names).items()}
  left = {'fc.weight', 'fc.bias'}
  kept = {
    name: shape
    for name, shape in theirs.items()
    if name not in left and not name.endswith('num_batches_tracked')
  }
  assert ours == kept

"""I3D equals a plain PyTorch definition."""

import jax
import numpy as np
import pytest

from mdcf_jax.convert import i3d as names
from mdcf_jax.metrics.fvd import i3d_features
from mdcf_jax.models.i3d import I3D
from tests.models.test_i3d import assert_equal
from tests.random_networks import (
  random_frames,
  random_variables,
  random_weights,
)

torch = pytest.importorskip('torch', reason='no torch: make parity')

from tests import torch_i3d  # noqa: E402

pytestmark = pytest.mark.parity


def model():
  return torch_i3d.i3d(random_weights(names))


@pytest.mark.parametrize('shape', [(11, 45, 70), (13, 33, 64), (32, 32, 32)])
def test_odd_sizes(shape):
  """The padding of TensorFlow is uneven, and depends on the size."""
  windows = random_frames(1, *shape, seed=2)
  video = windows.astype(np.float32) / 127.5 - 1
  ours = jax.jit(I3D().apply)(random_variables(names), video)
  assert_equal(ours, torch_i3d.features(model(), windows))


def test_full_size():
  """16 frames of 224 pixels, where the public pool is the whole last map."""
  frames = random_frames(16, 224, 224, seed=3)
  ours = i3d_features(random_variables(names), frames, batch_size=1)
  theirs = torch_i3d.features(model(), frames[None])
  error = np.abs(ours - theirs).max() / np.abs(theirs).max()
  print(f'full size: largest error {error:.1e} of the largest')
  assert_equal(ours, theirs)


def test_the_table_has_the_public_names_and_no_others():
  theirs = {
    name: tuple(x.shape)
    for name, x in torch_i3d.I3D().state_dict().items()
    if not name.endswith('num_batches_tracked')
  }
  assert {k: x.shape for k, x in random_weights(names).items()} == theirs

"""RAFT equals a plain PyTorch definition, with random and trained weights."""

import jax
import numpy as np
import pytest

from mdcf_jax.convert import raft as names
from mdcf_jax.convert import tensors
from mdcf_jax.models.raft import RAFT
from tests.models.test_raft import ATOL, texture
from tests.random_tensors import random_images, random_tensors

torch = pytest.importorskip('torch', reason='no torch: make parity')

from tests import torch_raft  # noqa: E402

pytestmark = pytest.mark.parity


def assert_equal_flow(size, weights, images, iterations, atol):
  """Of both directions, with the weights of the whole public state dict."""
  model = torch_raft.raft(size, weights)
  given = {f'module.{k}': v.numpy() for k, v in model.state_dict().items()}
  given = names.prepare(given)
  found = names.describe(given)
  assert found.model == {'raft': {'size': size}}
  variables = tensors.apply(given, found.table, found.shapes, names.DEAD)
  first, second = images, images[::-1]
  apply = jax.jit(RAFT(size).apply, static_argnums=3)
  ours = apply(variables, first, second, iterations)
  planes = [
    torch.from_numpy(np.moveaxis(x, -1, 1).astype(np.float32))
    for x in (first, second)
  ]
  with torch.no_grad():
    theirs = np.moveaxis(model(*planes, iterations).numpy(), 1, -1)
  scale = np.abs(theirs).max()
  error = np.abs(ours - theirs).max() / scale
  print(f'{size}, {iterations}: error {error:.1e} of the largest {scale:.1f}')
  assert scale > 1
  np.testing.assert_allclose(ours, theirs, atol=atol * scale)


@pytest.mark.parametrize('size', ['small', 'large'])
def test_random_weights(size):
  """Odd sizes of the coarser levels too: 17 x 16 features."""
  weights = random_tensors(names.table(size), names.shapes(size), seed=1)
  images = random_images(2, 136, seed=1)[:, :, :128]
  assert_equal_flow(size, weights, images, 2, ATOL)


def test_trained_weights(test_data):
  """All twelve iterations: a trained network does not amplify rounding."""
  weights = tensors.read(test_data / 'weights/raft-small.npz')
  picture = texture(160, 160)
  images = np.stack([picture[8:136, 8:136], picture[13:141, 2:130]])
  assert_equal_flow('small', weights, images, 12, 1e-5)

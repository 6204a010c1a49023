"""LPIPS equals a plain PyTorch definition, at several sizes."""

import jax
import numpy as np
import pytest

from mdcf_jax.models.lpips import LPIPS
from tests.models.test_lpips import NETS, convert, random_weights
from tests.random_tensors import random_images

torch = pytest.importorskip('torch', reason='no torch: make parity')

from tests import torch_lpips  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize('height, width', [(64, 64), (72, 57)])
def test_random_weights(net, height, width):
  weights = random_weights(net)
  model = torch_lpips.lpips(net, weights)
  images = random_images(4, 72, seed=1)[:, :height, :width]
  images = images.astype(np.float32) / 127.5 - 1
  _, variables = convert(weights)
  ours = jax.jit(LPIPS(net).apply)(variables, images[:2], images[2:])
  planes = torch.from_numpy(np.moveaxis(images, -1, 1))
  with torch.no_grad():
    theirs = model(planes[:2], planes[2:]).numpy()
  print(f'{net}: error {np.abs(ours / theirs - 1).max():.1e}')
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)

"""SyncNet equals a PyTorch definition with the same weights."""

import jax
import numpy as np
import pytest

from mdcf_jax.models.syncnet import SyncNet
from tests.models.test_syncnet import assert_close, convert, weights

torch = pytest.importorskip('torch', reason='no torch: make parity')

from tests import torch_syncnet  # noqa: E402

pytestmark = pytest.mark.parity


def test_both_towers():
  model = torch_syncnet.with_random_weights(torch_syncnet.SyncNet(), seed=1)
  variables = convert({k: v.numpy() for k, v in model.state_dict().items()})
  rng = np.random.RandomState(0)
  video = rng.randint(0, 256, (3, 5, 224, 224, 3)).astype(np.float32)
  mfcc = (10 * rng.randn(3, 20, 13)).astype(np.float32)
  with torch.no_grad():
    theirs = model(*torch_syncnet.inputs(video, mfcc))
  for a, b in zip(jax.jit(SyncNet().apply)(variables, video, mfcc), theirs):
    assert_close(a, b.numpy())


def test_names_are_those_of_the_definition():
  names = torch_syncnet.SyncNet().state_dict()
  counters = {x for x in names if x.endswith('num_batches_tracked')}
  assert set(weights()) == set(names) - counters

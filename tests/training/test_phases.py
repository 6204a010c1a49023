"""Interrupted equals uninterrupted through the real data pipeline."""

import jax
import numpy as np
import pytest

from configs import fde, pbnet
from mdcf_jax.phases import PHASES
from mdcf_jax.training import loop


def assert_resumes_exactly(config, tmp_path):
  """Parameters, moments, average, statistics and samples, bit for bit."""
  config.batch_size = 8
  config.save_every, config.eval_every, config.picture_every = 2, 0, 0
  config.data.synthetic_clips, config.data.synthetic_frames = 3, 40
  # The learning rate must not depend on when training ends.
  config.optimizer.schedule = 'constant'

  def train(workdir, total_steps):
    config.total_steps = total_steps
    return loop.train(config, workdir)

  whole = train(tmp_path / 'a', 5)
  train(tmp_path / 'b', 3)
  resumed = train(tmp_path / 'b', 5)
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)


def test_stream_of_samples_continues(toy_phase, tmp_path, monkeypatch):
  """A toy that learns from what the FDE's data pipeline gives."""
  monkeypatch.setitem(PHASES, 'fde', type(toy_phase))
  config = fde.get_config('tiny')
  config.resolution = 32
  config.model.toy = dict(features=8)
  assert_resumes_exactly(config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('module', [fde, pbnet], ids=['fde', 'pbnet'])
def test_real_phases_continue(module, tmp_path):
  assert_resumes_exactly(module.get_config('tiny'), tmp_path)

"""Cached latents belong to the weights, the size and the sources of a run."""

import threading

import numpy as np
import pytest

from configs import diffusion
from mdcf_jax.data import builder, records, synthetic
from mdcf_jax.errors import InputError
from mdcf_jax.training import latents, stopping

FROZEN = {name: {'params': {'a': np.ones(3)}} for name in ('fde', 'lmae')}


@pytest.fixture
def config(tmp_path):
  config = diffusion.get_config('tiny')
  config.data.latents = str(tmp_path / 'latents')
  return config


def test_the_run_that_made_them_goes_on(config):
  latents.check_label(config, FROZEN)  # Nothing there yet.
  latents.label(config, FROZEN)
  latents.label(config, FROZEN)
  latents.check_label(config, FROZEN)


@pytest.mark.parametrize(
  'value,changes',
  [
    (2.0, {}),
    (1.0, {'resolution': 128}),
    (1.0, {'data.latent_sources': 2}),
  ],
)
def test_other_runs_are_refused(config, value, changes):
  latents.label(config, FROZEN)
  frozen = FROZEN | {'fde': {'params': {'a': np.full(3, value)}}}
  config.update_from_flattened_dict(changes)
  with pytest.raises(InputError, match='name a new folder') as error:
    latents.label(config, frozen)
  assert config.data.latents in str(error.value)


def test_latents_of_unknown_weights_are_a_warning(config, tmp_path, caplog):
  (tmp_path / 'latents').mkdir()
  (tmp_path / 'latents' / 'a.npz').touch()
  latents.check_label(config, FROZEN)
  assert 'trusting' in caplog.text


def test_a_broken_label_is_named(config, tmp_path):
  (tmp_path / 'latents').mkdir()
  (tmp_path / 'latents' / latents.LABEL).write_text('{')
  with pytest.raises(InputError, match=latents.LABEL):
    latents.check_label(config, FROZEN)


def test_asked_to_stop_it_stops_between_clips(config, tmp_path, monkeypatch):
  """Of a dataset without a val split, which is no error."""
  paths = [tmp_path / f'{seed}.npz' for seed in range(3)]
  for seed, path in enumerate(paths):
    records.save(path, synthetic.make_clip(seed, 4, 32))
  builder.build({'train': paths}, tmp_path / 'set')
  config.data.dir = str(tmp_path / 'set')
  stop, seen = threading.Event(), []

  def write_latents(phase, frozen, clips, *args):
    for clip in clips:
      seen.append(clip['id'])
      if len(seen) == 2:
        stop.set()

  monkeypatch.setattr(latents, 'write_latents', write_latents)
  with pytest.raises(stopping.Stopped):
    latents.cache_latents(config, FROZEN, stop)
  assert len(seen) == 2
  stop.clear()
  latents.cache_latents(config, FROZEN, stop)
  assert len(seen) == 5

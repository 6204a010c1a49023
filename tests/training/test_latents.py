"""Cached latents belong to the weights, the size and the sources of a run."""

import numpy as np
import pytest

from configs import diffusion
from mdcf_jax.errors import InputError
from mdcf_jax.training import latents

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

"""Units of pose and blink: of the dataset, and then of the weights."""

import json

import numpy as np
import pytest

from configs import diffusion, fde, pbnet
from mdcf_jax import weights
from mdcf_jax.cli import pack
from mdcf_jax.data import builder, records, synthetic
from mdcf_jax.errors import InputError
from mdcf_jax.phases import PHASES
from mdcf_jax.training import checks, loop, normalisation
from mdcf_jax.training.checkpoint import Checkpoints, load_run
from mdcf_jax.training.state import TrainState

KEYS = {
  'diffusion': ('denoiser', ('pose_scale', 'blink_scale')),
  'pbnet': ('pbnet', ('motion_center', 'motion_scale')),
}


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  paths = [folder / f'{seed}.npz' for seed in range(3)]
  for seed, path in enumerate(paths):
    records.save(path, synthetic.make_clip(seed, 60, 32))
  return str(builder.build({'train': paths}, folder / 'set'))


def _config(module, dataset='', variant='tiny', **changes):
  config = module.get_config(variant)
  config.data.dir = dataset
  config.update_from_flattened_dict(changes)
  return config.lock()


@pytest.mark.parametrize('module', [diffusion, pbnet])
def test_datasets_give_the_units(module, dataset):
  config = _config(module, dataset)
  name, keys = KEYS[config.phase]
  resolved = normalisation.resolve(config)
  assert not set(keys) & set(config.model[name])  # It is not changed.
  assert set(keys) <= set(resolved.model[name])
  checks.make_phase(resolved)
  with resolved.unlocked():
    for key in keys:
      del resolved.model[name][key]
  assert resolved.to_json() == config.to_json()


def test_units_are_the_changes_within_clips(dataset):
  found = builder.read_statistics(dataset)
  net = normalisation.units('pbnet', found)
  np.testing.assert_allclose(
    net['motion_center'][:6], found.pose.mean, rtol=1e-3
  )
  np.testing.assert_allclose(
    net['motion_scale'][:6], found.pose.change, rtol=1e-3
  )
  assert net['motion_scale'][6] == net['motion_scale'][7]
  denoiser = normalisation.units('diffusion', found)
  assert denoiser['pose_scale'] == net['motion_scale'][:6]
  assert denoiser['blink_scale'] == net['motion_scale'][6]


def test_heads_that_never_move_do_not_divide_by_zero(tmp_path):
  clip = synthetic.make_clip(0, 6, 32)
  clip['pose'][:], clip['blink'][:] = 1, 0.3
  records.save(tmp_path / 'a.npz', clip)
  folder = builder.build({'train': [tmp_path / 'a.npz']}, tmp_path / 'set')
  found = normalisation.units('pbnet', builder.read_statistics(folder))
  assert min(found['motion_scale']) == 0.01


def test_what_stays_as_it_is(dataset):
  for config in (
    _config(fde, dataset),  # Sees no pose.
    _config(pbnet),  # Synthetic.
    _config(pbnet, dataset, 'mini'),  # As the bundled weights.
    _config(pbnet, dataset, **{'data.normalise': 'fixed'}),
    _config(diffusion, dataset, 'tiny,dawn,identity'),  # Has units already.
  ):
    assert normalisation.resolve(config).to_json() == config.to_json()


def test_runs_go_on_with_their_units(dataset):
  saved = normalisation.resolve(_config(pbnet, dataset))
  again = normalisation.resolve(_config(pbnet, '/gone'), saved.to_dict())
  assert again.model == saved.model
  before = _config(pbnet, dataset)  # A run from before there was a choice.
  assert normalisation.resolve(before, before.to_dict()).model == before.model


def test_weights_keep_their_units(dataset, tmp_path):
  """The dataset is not asked again for what was trained or packed."""
  config = normalisation.resolve(_config(pbnet, dataset))
  scale = config.model.pbnet.motion_scale
  params = {'kernel': np.zeros((3, 4), np.float32)}
  state = TrainState(
    step=np.int32(1),
    params=params,
    model_state={},
    ema_params=params,
    opt_state=(),
  )
  with Checkpoints(tmp_path / 'runs' / 'pbnet') as checkpoints:
    checkpoints.save(state, {'next': 1}, json.loads(config.to_json()))
  pack.pack(tmp_path / 'runs', tmp_path / 'model', ['pbnet'])
  stored = weights.load_config(tmp_path / 'model')['model']['pbnet']
  assert tuple(stored['motion_scale']) == scale
  for folder in ('runs/pbnet', 'model'):
    start = str(tmp_path / folder)
    other = _config(pbnet, '/other', **{'init_from.weights': start})
    found = normalisation.resolve(other).model.pbnet
    assert found.motion_scale == scale


def test_runs_store_their_units(toy_config, tmp_path, monkeypatch):
  """What training resolves is in its checkpoints, and it goes on from there."""
  found = iter([{'features': 16}])  # Of the dataset, which is read once.
  monkeypatch.setattr(
    normalisation, '_KEYWORDS', {'toy': ('toy', ('features',))}
  )
  monkeypatch.setattr(normalisation, 'units', lambda *_: next(found))
  monkeypatch.setattr(builder, 'read_statistics', lambda _: None)
  with toy_config.unlocked():
    toy_config.model.toy = {}
  toy_config.data.dir = 'somewhere'
  for steps in (2, 4):
    toy_config.total_steps = steps
    state = loop.train(toy_config, tmp_path)
    assert state.params['Dense_0']['kernel'].shape[1] == 16
  assert load_run(tmp_path)[1]['model']['toy'] == {'features': 16}


def test_motion_is_composed_in_its_own_units(dataset):
  """One unit of every number is what the dataset says, about the reference."""
  config = normalisation.resolve(_config(pbnet, dataset))
  module = PHASES['pbnet'].from_config(config).pbnet
  reference = np.float32([[7, 7, 7, 0.1, 0.1, -0.5, 0.3, 0.3]])
  params = {'params': {'blink_shape': np.zeros(11, np.float32)}}
  motion = module.apply(params, np.ones((1, 2, 8)), reference, method='compose')
  moved = np.asarray(motion)[0, 0] - reference[0]
  np.testing.assert_allclose(
    moved, config.model.pbnet.motion_scale, rtol=1e-4
  )  # Of float32 near 7.


def test_unknown_choices_and_lost_datasets(tmp_path):
  with pytest.raises(InputError, match='one of fixed, dataset'):
    checks.check_config(_config(pbnet, **{'data.normalise': 'foo'}))
  with pytest.raises(InputError, match='no such folder'):
    normalisation.resolve(_config(pbnet, str(tmp_path / 'absent')))

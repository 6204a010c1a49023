"""The scripts that train and measure the bundled weights, without training."""

import importlib.util

import numpy as np
import pytest

from mdcf_jax import weights


def load_script(repository, name):
  spec = importlib.util.spec_from_file_location(
    name, repository / 'scripts' / f'{name}.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture
def training(repository):
  return load_script(repository, 'train_bundled')


@pytest.fixture
def evaluation(repository):
  pytest.importorskip('mdcf_jax.pipeline')
  return load_script(repository, 'evaluate_bundled')


def test_minutes_of_one_or_of_each_stage(training):
  assert set(training.parse_minutes('5').values()) == {5.0}
  minutes = training.parse_minutes('fde=90,pbnet=0.5')
  assert minutes.pop('fde') == 90.0
  assert minutes.pop('pbnet') == 0.5
  assert set(minutes.values()) == {0.0}
  with pytest.raises(ValueError, match='unknown stage'):
    training.parse_minutes('fdee=1')


def test_every_phase_ends_in_a_stage_of_its_name(training):
  """Later phases and packing look for runs under the phases' names."""
  last = {stage.phase: stage.name for stage in training.STAGES}
  assert last == {name: name for name in training.PHASES}
  seen = ['']
  for stage in training.STAGES:
    assert stage.follows in seen
    seen.append(stage.name)


def test_settings_of_stages_are_keys_of_the_config(training):
  for stage in training.STAGES:
    module = importlib.import_module(f'configs.{stage.phase}')
    config = module.get_config('mini').lock()
    config.update_from_flattened_dict(stage.settings)  # Or a KeyError.


def test_weights_are_better_when_nothing_got_worse(training):
  def report(**means):
    return dict(means=means)

  old = report(psnr_fde=20.0, psnr_lmae=19.5, noise_mse=0.5)
  assert training.is_better(report(psnr_fde=20.1, noise_mse=0.5), old)
  assert not training.is_better(report(psnr_fde=20.1, noise_mse=0.6), old)
  assert not training.is_better(report(psnr_fde=20.0, noise_mse=0.5), old)
  assert not training.is_better(report(), old)


def test_phases_that_were_not_trained_stay(training, tmp_path, monkeypatch):
  bundled, packed = tmp_path / 'bundled', tmp_path / 'packed'
  monkeypatch.setattr(training, 'BUNDLED', bundled)
  config = dict(resolution=64, audio_encoder='mel')
  for folder, names in ((bundled, ('fde', 'pbnet')), (packed, ('fde',))):
    value = float(folder == packed)
    for name in names:
      weights.save(folder, name, dict(params=dict(w=np.full(2, value))))
    parts = {name: dict(value=value) for name in names}
    weights.save_config(folder, config | dict(model=parts, phases=parts))
  training.keep_bundled(packed, ['pbnet'])
  assert weights.load_config(packed)['model'] == dict(
    fde=dict(value=1.0), pbnet=dict(value=0.0)
  )
  assert weights.load(packed, 'pbnet')['params']['w'][0] == 0.0
  assert weights.load(packed, 'fde')['params']['w'][0] == 1.0


def test_summary_of_clips(evaluation, capsys):
  scores = {
    'a': dict(psnr_still=20.0, psnr_fde=23.0, psnr_lmae=22.0),
    'b': dict(psnr_still=22.0, psnr_fde=25.0, psnr_lmae=24.5),
  }
  report = evaluation.summarize(scores)
  assert report['means']['fde_over_still_db'] == 3.0
  assert report['intervals']['fde_over_still_db'] == (3.0, 3.0)
  assert report['means']['fde_over_lmae_db'] == 0.75
  assert report['num_clips']['psnr_fde'] == 2
  evaluation.print_table(report)
  assert 'psnr_still' in capsys.readouterr().out


def test_sound_is_fitted_to_the_frames(evaluation):
  sound = np.arange(1000.0)
  assert evaluation.fit(sound, 1).shape == (640,)
  np.testing.assert_array_equal(evaluation.fit(sound, 2)[1000:], sound[:280])


def test_unknown_stage_is_an_error(evaluation):
  with pytest.raises(SystemExit):
    evaluation.parse_args(['--stages', 'mouths'])


def test_frames_without_any_face_count_as_none(evaluation, monkeypatch):
  from mdcf_jax.errors import InputError
  from mdcf_jax.media import faces

  def none(frames, name):
    raise InputError(f'no face in {name}')

  def broken(frames, name):
    raise InputError('MediaPipe cannot be loaded')

  monkeypatch.setattr(faces, 'find_model', lambda: None)
  monkeypatch.setattr(faces, 'track_faces', none)
  assert evaluation.track(np.zeros((1, 8, 8, 3)), 'x') is None
  monkeypatch.setattr(faces, 'track_faces', broken)
  with pytest.raises(InputError, match='MediaPipe'):
    evaluation.track(np.zeros((1, 8, 8, 3)), 'x')


def test_scored_clips_are_of_many_people(repository, tmp_path, capsys):
  """One of each person first, val and with sound only; never in the repo."""
  script = load_script(repository, 'score_bundled')
  rows = ['file,identity,split,has_audio']
  rows += [f'av/a{i}.mp4,a,val,1' for i in range(3)]
  rows += ['av/b.mp4,b,val,1', 'av/c.mp4,c,train,1', 'motion/d.mp4,d,val,0']
  (tmp_path / 'manifest.csv').write_text('\n'.join(rows))
  chosen = [path.name for path in script.choose(tmp_path, 3)]
  assert chosen == ['a0.mp4', 'b.mp4', 'a1.mp4']
  given = ['--realset', str(tmp_path), '--output']
  assert script.parse_args([*given, str(tmp_path / 'out')]).clips == 15
  with pytest.raises(SystemExit):
    script.parse_args([*given, str(repository / 'out')])
  assert 'lies in the repository' in capsys.readouterr().err

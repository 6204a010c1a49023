"""Configs that cannot be are refused in one line, with nothing left behind."""

import pytest

from configs import diffusion, fde, lmae, pbnet
from mdcf_jax.data import builder, records, synthetic
from mdcf_jax.errors import InputError
from mdcf_jax.training import checks

CONFIGS = dict(fde=fde, lmae=lmae, diffusion=diffusion, pbnet=pbnet)


def make(name='fde', variant='tiny', **changes):
  config = CONFIGS[name].get_config(variant)
  config.batch_size = 8  # As many as the devices of the tests.
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize('variant', ['mini', 'tiny', 'mini,d8', 'tiny,d16'])
@pytest.mark.parametrize('name', CONFIGS)
def test_configs_as_they_are(name, variant):
  checks.check_config(make(name, variant))
  assert checks.make_phase(make(name, variant)).name == name


@pytest.mark.parametrize('variant', ['tiny,vae', 'mini,vae', 'tiny,no_tpc'])
def test_ablations_as_they_are(variant, caplog):
  checks.check_config(make('lmae', variant))
  assert not caplog.text
  with pytest.raises(InputError, match='positive and divisible by'):
    checks.check_config(make('lmae', variant, resolution=72))


@pytest.mark.parametrize(
  'changes,message',
  [
    (dict(batch_size=0), 'at least 1'),
    (dict(batch_size=-2), 'at least 1'),
    (dict(log_every=0), 'at least 1'),
    (dict(save_every=0), 'at least 1'),
    (dict(keep_checkpoints=0), 'at least 1'),
    (dict(eval_every=-1), 'at least 0'),
    (dict(seed=-1), 'in 0 to'),
    (dict(resolution=0), 'positive and divisible by 32'),
    (dict(resolution=-32), 'positive and divisible by 32'),
    (dict(perceptual='foo'), 'one of vgg19, random'),
    (dict(perceptual='vgg19'), 'images of 128 and more'),
    (dict(audio_encoder='foo'), 'it must be one of mel, hubert-base'),
    (dict(ema_decay=1.0), 'below 1'),
    (dict(batch_size=12), 'divisible by 8: 8 groups of devices'),
    (dict(dtype='float16'), 'one of float32, bfloat16'),
    (dict(remat='all'), 'one of none, blocks'),
    (dict(profile='5'), 'two steps such as'),
    (dict(profile='9:5'), 'two steps such as'),
    (dict(overfit=-1), 'at least 0'),
    ({'optimizer.accumulate': 0}, 'at least 1'),
    ({'optimizer.schedule': 'linear'}, 'one of constant, cosine'),
    ({'optimizer.learning_rate': float('nan')}, 'at least 0'),
    ({'data.cache_latents': True}, 'no use for latents'),
    ({'data.num_threads': -1}, 'at least 0'),
    ({'data.synthetic_clips': 0}, 'at least 1'),
    ({'data.synthetic_frames': 0}, 'at least 1'),
    ({'data.color_jitter': -1.0}, 'at least 0 and below 1'),
    ({'data.audio_jitter': 1e5}, 'in 0 to 10'),
    ({'optimizer.frozen': ('encoder', 1)}, 'names of modules'),
    ({'loss.window': 1000}, 'at most the 64 of a side'),
    ({'loss.window': 30}, 'divisible by 4'),
    ({'model.fde.scale': 3}, 'a power of two'),
    ({'model.fde.num_regions': 0}, 'at least 1'),
  ],
)
def test_values_that_cannot_be(changes, message):
  (key,) = changes
  with pytest.raises(InputError, match=message) as error:
    checks.check_config(make(**changes))
  assert f'config.{key}' in str(error.value)
  assert '\n' not in str(error.value)


def test_batches_and_frames_that_cannot_be_divided():
  """By 8 devices, in one line that says what to change."""
  mesh = {'mesh.fsdp': 2, 'mesh.frames': 2, 'data.num_frames': 8}
  checks.check_config(make('diffusion', **mesh))
  wrong = (
    ({'batch_size': 6}, 'config.batch_size is 6; .* divisible by 4'),
    ({'optimizer.accumulate': 4}, 'divisible by 16.*accumulate=4'),
    ({'data.num_frames': 7}, 'num_frames is 7; .*config.mesh.frames=2'),
    ({'mesh.fsdp': 3}, 'fsdp=3 x frames=2 does not divide the 8 device'),
  )
  for changes, message in wrong:
    with pytest.raises(InputError, match=message) as error:
      checks.check_config(make('diffusion', **mesh | changes))
    assert '\n' not in str(error.value)


def test_data_of_another_resolution(tmp_path):
  clip = synthetic.make_clip(0, 3, 32)
  records.save(tmp_path / 'clip.npz', clip)
  builder.build({'train': [tmp_path / 'clip.npz']}, tmp_path / 'set')
  there = {'data.dir': str(tmp_path / 'set'), 'data.resize': False}
  with pytest.raises(InputError, match='32x32 .*64.*data.resize=True') as error:
    checks.check_data(make(**there))
  assert '\n' not in str(error.value)
  checks.check_data(make(**there | {'data.resize': True}))
  checks.check_data(make(**there | {'resolution': 32}))
  checks.check_data(make('pbnet', **there))  # Has no use for pictures.
  checks.check_data(make())  # Made in memory.


def test_windows_are_not_shorter_than_themselves():
  lengths = {'data.num_frames': 32, 'data.min_frames': 33}
  with pytest.raises(InputError, match='at most data.num_frames, 32') as error:
    checks.check_config(make('diffusion', **lengths))
  assert 'config.data.min_frames is 33' in str(error.value)
  checks.check_config(make('pbnet', **lengths | {'data.min_frames': 32}))


def test_objectives():
  for name in ('noise', 'velocity', 'flow'):
    config = make('diffusion', **{'loss.objective': name})
    checks.check_config(config)
    assert checks.make_phase(config).objective == name
  config = make('diffusion', **{'loss.objective': 'foo'})
  with pytest.raises(InputError, match='one of noise, velocity, flow') as error:
    checks.check_config(config)
  assert '\n' not in str(error.value)


def test_a_resumed_run_keeps_its_objective():
  saved = make('diffusion').to_dict()
  flow = make('diffusion', **{'loss.objective': 'flow'})
  for before in (saved, saved | dict(loss={})):  # The latter: of old.
    checks.check_resumed('run', before, make('diffusion'))
    with pytest.raises(InputError, match='with loss.objective = noise'):
      checks.check_resumed('run', before, flow)


def test_a_loss_that_teaches_nothing():
  with pytest.raises(InputError, match='nothing would be learnt'):
    checks.check_config(make('diffusion', **{'loss.noise_weight': 0.0}))
  both = {'loss.noise_weight': 0.0, 'loss.opening_weight': 1.0}
  checks.check_config(make('diffusion', **both))
  for weight in (-1.0, float('nan')):
    with pytest.raises(InputError, match='loss.mse_weight.*at least 0'):
      checks.check_config(make('lmae', **{'loss.mse_weight': weight}))


def test_latents_have_units():
  nothing = {'calibration_batches': 0}
  with pytest.raises(InputError, match='latents have no units'):
    checks.check_config(make('diffusion', **nothing))
  checks.check_config(
    make('diffusion', **nothing, **{'init_from.weights': 'x'})
  )
  checks.check_config(make('diffusion', 'tiny,identity'))
  # Openings alone are learnt without any.
  alone = {'loss.noise_weight': 0.0, 'loss.opening_weight': 1.0}
  checks.check_config(make('diffusion', **nothing, **alone))


def test_weights_of_something_else_are_no_start(tiny_weights, tmp_path):
  """Known before anything is read or compiled: objective, sound, folder."""
  there = {'init_from.weights': str(tiny_weights)}
  checks.check_start(make('diffusion', **there))
  wrong = (
    ({'loss.objective': 'flow'}, 'loss.objective = noise'),
    ({'audio_encoder': 'hubert-base'}, 'audio_encoder = mel'),
    ({'init_from.weights': str(tmp_path / 'absent')}, 'absent'),
  )
  for changes, message in wrong:
    with pytest.raises(InputError, match=message) as error:
      checks.check_start(make('diffusion', **there | changes))
    assert '\n' not in str(error.value)


def test_batches_that_were_accumulated_in_the_optimizer():
  saved = make().to_dict()
  saved['optimizer']['accumulate'] = 2
  checks.check_resumed('run', saved, make())
  del saved['remat']  # As configs were then.
  with pytest.raises(InputError, match='init_from.weights of a new run'):
    checks.check_resumed('run', saved, make())


def test_a_run_that_learns_by_heart_goes_on_so():
  saved = make(overfit=2).to_dict()
  checks.check_resumed('run', saved, make(overfit=2))
  with pytest.raises(InputError, match='overfit = 2, this config has 0'):
    checks.check_resumed('run', saved, make())
  del saved['overfit']  # From before there was such a setting.
  checks.check_resumed('run', saved, make())


def test_frozen_modules_are_new_to_an_old_checkpoint():
  saved = make().to_dict()
  del saved['optimizer']['frozen']
  checks.check_resumed('run', saved, make())
  with pytest.raises(InputError, match='was trained with optimizer.frozen'):
    frozen = make(**{'optimizer.frozen': ('region_predictor',)})
    checks.check_resumed('run', saved, frozen)


@pytest.mark.parametrize(
  'name,variant,multiple',
  [
    ('fde', 'mini,64', 128),
    ('lmae', 'mini,64', 128),
    ('diffusion', 'mini,128', 256),
    ('fde', 'mini,d8,128', 256),
  ],
)
def test_sizes_that_a_model_cannot_take(name, variant, multiple):
  with pytest.raises(InputError, match=f'divisible by {multiple} for this'):
    checks.check_config(make(name, variant))


def test_sizes_that_a_later_phase_cannot_take_are_a_warning(caplog):
  checks.check_config(make('pbnet', 'mini,64'))
  checks.check_config(make('fde', 'mini,256'))
  assert not caplog.text
  checks.check_config(make('lmae', 'mini,128'))
  assert 'takes multiples of 256' in caplog.text


def test_the_config_of_another_phase():
  with pytest.raises(InputError, match='one of fde, lmae, diffusion, pbnet'):
    checks.make_phase(make(phase='foo'))
  files = {'lmae': '', 'diffusion': '', 'pbnet': ''}
  files |= {'vae': 'lmae.py:vae', 'joint': 'lmae.py:no_tpc'}
  for phase, file in files.items():
    file = file or f'{phase}.py'
    with pytest.raises(InputError, match=f'configs/{file} does') as error:
      checks.make_phase(make(phase=phase))
    assert '\n' not in str(error.value)


def test_folders_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').touch()
  checks.check_workdir(tmp_path / 'a' / 'b')
  assert not (tmp_path / 'a').exists()
  for workdir in ('', tmp_path / 'file', tmp_path / 'file' / 'a'):
    with pytest.raises(InputError):
      checks.check_workdir(workdir)


@pytest.mark.parametrize(
  'key,before,allowed,forbidden',
  [
    ('clip_norm', 1.0, 0.5, 0.0),
    ('weight_decay', 0.0, 0.0, 0.1),
    ('frozen', ('encoder',), ('decoder',), ()),
  ],
)
def test_a_resumed_optimizer_has_the_same_parts(
  key, before, allowed, forbidden
):
  saved = make(**{f'optimizer.{key}': before}).to_dict()
  checks.check_resumed('run', saved, make(**{f'optimizer.{key}': allowed}))
  with pytest.raises(InputError, match=f'run was trained with optimizer.{key}'):
    checks.check_resumed('run', saved, make(**{f'optimizer.{key}': forbidden}))

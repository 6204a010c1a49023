"""`mdcf pack` and `mdcf info`: runs to a folder of weights, and its table."""

import hashlib
import json

import numpy as np
import pytest

from configs import fde, lmae
from mdcf_jax import weights
from mdcf_jax.cli import main as cli
from mdcf_jax.cli import pack
from mdcf_jax.training.checkpoint import Checkpoints
from mdcf_jax.training.state import TrainState


@pytest.fixture
def runs(tmp_path):
  """Workdirs of an FDE and an LMAE, with made-up arrays."""
  for module in (fde, lmae):
    config = module.get_config('tiny')
    config.data.dir = '/private/videos'
    config.init_from.fde = '/private/runs/fde'
    _save(config, tmp_path / 'runs')
  return tmp_path / 'runs'


def _save(config, folder):
  """Writes a checkpoint whose average differs from its parameters."""
  state = TrainState(
    step=np.int32(7),
    params={'kernel': np.zeros((3, 4), np.float32)},
    model_state={'batch_stats': {'mean': np.full(4, 1.001, np.float32)}},
    ema_params={'kernel': np.ones((3, 4), np.float32)},
    opt_state=(),
  )
  with Checkpoints(folder / config.phase) as checkpoints:
    checkpoints.save(state, {'next': 7}, config.to_dict())


def run_pack(runs, output, phases='fde,lmae'):
  return cli.main(
    ['pack', f'--runs={runs}', f'--output={output}', f'--phases={phases}']
  )


def test_packed_weights_are_the_average(runs, tmp_path):
  assert run_pack(runs, tmp_path / 'model') == 0
  files = {path.name for path in (tmp_path / 'model').iterdir()}
  assert files == {'config.json', 'fde.safetensors', 'lmae.safetensors'}
  variables = weights.load(tmp_path / 'model', 'fde')
  np.testing.assert_array_equal(variables['params']['kernel'], 1)
  np.testing.assert_array_equal(
    variables['batch_stats']['mean'], np.float32(1.001)
  )
  config = weights.load_config(tmp_path / 'model')
  tiny = lmae.get_config('tiny')
  assert config['model']['lmae']['features'] == list(tiny.model.lmae.features)
  assert config['resolution'] == tiny.resolution
  assert config['phases']['fde']['steps'] == 7
  assert '/private' not in json.dumps(config)  # Where somebody's data lay.
  assert {path.name for path in tmp_path.iterdir()} == {'runs', 'model'}


def test_older_weights_are_replaced(runs, tmp_path):
  assert run_pack(runs, tmp_path / 'model', 'fde,lmae') == 0
  assert run_pack(runs, tmp_path / 'model', 'fde') == 0
  assert not (tmp_path / 'model' / 'lmae.safetensors').exists()


def test_other_folders_are_not_replaced(runs, tmp_path, capsys):
  (tmp_path / 'photos').mkdir()
  (tmp_path / 'photos' / 'me.jpg').write_text('dear')
  assert run_pack(runs, tmp_path / 'photos') == 2
  assert 'no folder of weights' in capsys.readouterr().err
  assert (tmp_path / 'photos' / 'me.jpg').read_text() == 'dear'


def test_a_folder_of_texts_is_not_replaced(runs, tmp_path, capsys):
  texts = tmp_path / 'docs'
  texts.mkdir()
  (texts / 'design.md').write_text('mine')
  assert run_pack(runs, texts) == 2
  assert (texts / 'design.md').read_text() == 'mine'
  assert 'no folder of weights' in capsys.readouterr().err


def test_texts_beside_weights_stay(runs, tmp_path):
  assert run_pack(runs, tmp_path / 'm') == 0
  (tmp_path / 'm' / 'README.md').write_text('mine')
  assert run_pack(runs, tmp_path / 'm') == 0
  assert (tmp_path / 'm' / 'README.md').read_text() == 'mine'
  assert not list(tmp_path.glob('.m*'))


def test_missing_phase(runs, tmp_path, capsys):
  assert run_pack(runs, tmp_path / 'model', 'fde,lmae,pbnet') == 2
  assert 'pbnet is no training run' in capsys.readouterr().err
  assert not (tmp_path / 'model').exists()


def test_weights_that_do_not_say_what_they_go_with(runs, tmp_path, capsys):
  """A converted denoiser knows nothing of the FDE below it."""
  other = tmp_path / 'other'
  weights.save(other, 'diffusion', dict(params=dict(w=np.ones(2))))
  weights.save_config(
    other,
    dict(
      model=dict(denoiser=dict(dim=8), lmae=dict(kind='identity')),
      resolution=64,
      audio_encoder='mel',
      phases=dict(diffusion=dict(converted='dawn-unet')),
    ),
  )
  args = ['pack', f'--runs={runs}', '--phases=fde,lmae,diffusion']
  output = tmp_path / 'model'
  assert cli.main([*args, f'--weights={other}', f'--output={output}']) == 0
  phases = weights.load_config(output)['phases']
  assert set(phases) == {'fde', 'diffusion'}
  assert cli.main([*args, '--weights=none', f'--output={output}']) == 2
  assert 'none' in capsys.readouterr().err


def test_a_run_that_trained_both(runs, tmp_path, capsys):
  """Halves of runs/joint, where no run of the phase itself is."""
  config = lmae.get_config('tiny,no_tpc')
  params = {name: {'kernel': np.full(2, i)} for i, name in enumerate('fl')}
  params = {'fde': params['f'], 'lmae': params['l']}
  state = TrainState(
    step=np.int32(9),
    params=params,
    model_state={'batch_stats': {'fde': {'mean': np.ones(4, np.float32)}}},
    ema_params=params,
    opt_state=(),
  )
  both = tmp_path / 'both'
  with Checkpoints(both / 'joint') as checkpoints:
    checkpoints.save(state, {'next': 9}, config.to_dict())
  assert run_pack(both, tmp_path / 'model') == 0
  found = weights.load(tmp_path / 'model', 'fde')
  assert set(found) == {'params', 'batch_stats'}
  np.testing.assert_array_equal(found['params']['kernel'], [0, 0])
  found = weights.load(tmp_path / 'model', 'lmae')
  assert set(found) == {'params'}
  np.testing.assert_array_equal(found['params']['kernel'], [1, 1])
  phases = weights.load_config(tmp_path / 'model')['phases']
  assert [phases[name]['steps'] for name in ('fde', 'lmae')] == [9, 9]
  # A run of the phase itself comes first; of another one there is none.
  (runs / 'joint').symlink_to(both / 'joint')
  assert run_pack(runs, tmp_path / 'first') == 0
  phases = weights.load_config(tmp_path / 'first')['phases']
  assert phases['fde']['steps'] == 7
  assert run_pack(both, tmp_path / 'none', 'fde,lmae,pbnet') == 2
  assert 'pbnet is no training run' in capsys.readouterr().err


def test_unknown_phase(runs, tmp_path, capsys):
  assert run_pack(runs, tmp_path / 'model', 'fde,lame') == 2
  assert "unknown phase 'lame'" in capsys.readouterr().err


def test_phases_of_different_models(runs, tmp_path, capsys):
  other = fde.get_config('tiny')
  other.model.fde.num_regions = 5
  _save(other, tmp_path / 'others')
  _save(lmae.get_config('tiny'), tmp_path / 'others')
  assert run_pack(tmp_path / 'others', tmp_path / 'model') == 2
  message = capsys.readouterr().err
  assert 'model.fde.num_regions = 5' in message and message.count('\n') == 1


def test_info(runs, tmp_path, capsys):
  model = tmp_path / 'model'
  pack.pack(runs, model, ['fde', 'lmae'], licence='CC0-1.0')
  assert cli.main(['info', str(model)]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert '64 x 64 pixels' in lines[0]
  row = next(line for line in lines if line.startswith('fde '))
  assert row.split()[1] == '12'  # Parameters.
  assert row.split()[3].startswith('BF16')
  assert 'steps 7,' in row
  digest = hashlib.sha256((model / 'fde.safetensors').read_bytes()).hexdigest()
  assert f'fde.safetensors: licence CC0-1.0, sha256 {digest}' in lines


def test_info_without_weights(tmp_path, capsys):
  assert cli.main(['info', str(tmp_path / 'absent')]) == 2
  assert 'no such weights' in capsys.readouterr().err

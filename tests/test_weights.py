"""Folders of weights: round trips, and one error per kind of damage."""

import json
import pathlib
import pickle

import numpy as np
import pytest

from mdcf_jax import weights
from mdcf_jax.errors import InputError

CONFIG = {
  'model': {'fde': {'num_regions': 10}},
  'resolution': 256,
  'audio_encoder': 'mel',
  'phases': {'fde': {'steps': 3}},
}


@pytest.fixture
def variables():
  rng = np.random.default_rng(0)
  return {
    'params': {
      'conv_1': {
        'kernel': rng.normal(size=(3, 3, 4, 8)).astype(np.float32),
        'bias': rng.normal(size=8).astype(np.float32),
      },
      'scale': np.float32(0.3),
    },
    'batch_stats': {'norm': {'mean': rng.normal(size=8).astype(np.float32)}},
  }


def test_round_trip_in_float32_is_exact(variables, tmp_path):
  weights.save(tmp_path, 'fde', variables, dtype='float32')
  loaded = weights.load(tmp_path, 'fde', variables)
  _compare(loaded, variables, rtol=0)


def test_bfloat16_rounds_parameters_but_not_statistics(variables, tmp_path):
  weights.save(tmp_path, 'fde', variables)
  loaded = weights.load(tmp_path, 'fde', variables)
  # bfloat16 keeps 8 bits of the mantissa.
  _compare(loaded['params'], variables['params'], rtol=2**-8)
  _compare(loaded['batch_stats'], variables['batch_stats'], rtol=0)
  assert loaded['params']['conv_1']['kernel'].dtype == np.float32
  assert loaded['params']['scale'].shape == ()


def test_saving_what_was_loaded_changes_nothing(variables, tmp_path):
  weights.save(tmp_path / 'a', 'fde', variables)
  weights.save(tmp_path / 'b', 'fde', weights.load(tmp_path / 'a', 'fde'))
  first, second = (tmp_path / name / 'fde.safetensors' for name in 'ab')
  assert first.read_bytes() == second.read_bytes()


def test_keys_are_paths(variables, tmp_path):
  """The file can be read by any safetensors library."""
  import safetensors

  weights.save(tmp_path, 'fde', variables)
  with safetensors.safe_open(tmp_path / 'fde.safetensors', 'np') as file:
    assert 'params/conv_1/kernel' in file.keys()
    assert 'batch_stats/norm/mean' in file.keys()


def test_nothing_is_left_beside_the_file(variables, tmp_path):
  weights.save(tmp_path, 'fde', variables)
  assert [p.name for p in tmp_path.iterdir()] == ['fde.safetensors']


def test_collections_without_tensors_are_no_difference(variables, tmp_path):
  weights.save(tmp_path, 'fde', {'params': variables['params']})
  like = {'params': variables['params'], 'batch_stats': {}}
  assert 'batch_stats' not in weights.load(tmp_path, 'fde', like)


def _missing(like):
  like['params']['conv_2'] = {'kernel': np.zeros(3)}


def _extra(like):
  del like['params']['conv_1']['bias']


def _misshaped(like):
  like['params']['conv_1']['kernel'] = np.zeros((3, 3, 4, 16))


@pytest.mark.parametrize(
  'change,message',
  [
    (_missing, 'lacks tensor params/conv_2/kernel'),
    (_extra, 'unknown tensor params/conv_1/bias'),
    (_misshaped, r'kernel has the shape \(3, 3, 4, 8\), .* \(3, 3, 4, 16\)'),
  ],
)
def test_weights_of_another_model(variables, tmp_path, change, message):
  weights.save(tmp_path, 'fde', variables)
  change(variables)
  _check_error(message, lambda: weights.load(tmp_path, 'fde', variables))


def _half(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _pickle(path):
  path.write_bytes(pickle.dumps({'params': np.zeros(3)}))


@pytest.mark.parametrize(
  'damage,message',
  [
    (_half, 'damaged'),
    (_pickle, 'no safetensors'),
    (lambda path: path.write_bytes(b''), 'no safetensors'),
    (pathlib.Path.unlink, 'no weights'),
    (lambda path: (path.unlink(), path.mkdir()), 'cannot read'),
  ],
)
def test_damaged_files(variables, tmp_path, damage, message):
  weights.save(tmp_path, 'fde', variables)
  damage(tmp_path / 'fde.safetensors')
  _check_error(message, lambda: weights.load(tmp_path, 'fde'))


def test_other_types_are_refused(tmp_path):
  import safetensors.numpy

  safetensors.numpy.save_file(
    {'params/a': np.zeros(3, np.int64)}, tmp_path / 'fde.safetensors'
  )
  _check_error('unknown type I64', lambda: weights.load(tmp_path, 'fde'))


def test_unwritable_folder(variables, tmp_path):
  (tmp_path / 'file').write_text('in the way')
  _check_error(
    'cannot write', lambda: weights.save(tmp_path / 'file', 'fde', variables)
  )


def test_config_round_trip(tmp_path):
  weights.save_config(tmp_path, CONFIG)
  assert weights.load_config(tmp_path) == {'format': 1, **CONFIG}


@pytest.mark.parametrize(
  'text,message',
  [
    ('{', 'is not JSON'),
    ('[]', "lacks the key 'format'"),
    ('{"format": 1}', "lacks the key 'model'"),
    (json.dumps({**CONFIG, 'format': 9}), 'has the format 9'),
    (json.dumps({**CONFIG, 'format': 1, 'phases': []}), "'phases' must be"),
    ('\x00\xff', 'is not JSON'),
  ],
)
def test_damaged_config(tmp_path, text, message):
  (tmp_path / weights.CONFIG_NAME).write_text(text)
  _check_error(message, lambda: weights.load_config(tmp_path))


def test_folders_without_a_config(tmp_path):
  _check_error('no config.json', lambda: weights.load_config(tmp_path))
  _check_error('no folder', lambda: weights.load_config(tmp_path / 'absent'))


def _compare(a, b, rtol):
  assert a.keys() == b.keys()
  for key in a:
    if isinstance(b[key], dict):
      _compare(a[key], b[key], rtol)
    else:
      np.testing.assert_allclose(a[key], b[key], rtol=rtol)


def _check_error(message, call):
  with pytest.raises(InputError, match=message) as error:
    call()
  assert '\n' not in str(error.value)


def test_other_weights_have_another_fingerprint():
  trees = [{'params': {'a': np.full(2, value)}} for value in (1.0, 1.0, 2.0)]
  prints = [weights.fingerprint(tree) for tree in trees]
  assert prints[0] == prints[1] != prints[2]

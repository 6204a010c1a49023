"""Weights by name: the real library against a server that plays the Hub."""

import contextlib
import json
import logging
import os

import pytest

from mdcf_jax import InputError, weights
from mdcf_jax.cli.main import main
from mdcf_jax.hub.fetch import BUNDLED, find_weights
from mdcf_jax.pipeline import Pipeline
from tests.hub.fake_hub import files_of

NAME = 'me/model'


@pytest.fixture
def model(hub, tiny_weights):
  """The commit of a whole model, with what nobody asked for beside it."""
  others = {'README.md': b'# Model', 'evil.pkl': b'x', 'a/b.safetensors': b'x'}
  others |= {'optimizer.safetensors': b'x', 'run.py': b'x'}
  return hub.commit(NAME, files_of(tiny_weights) | others)


def test_a_pipeline_of_a_name(model, tiny_weights, caplog):
  caplog.set_level(logging.INFO, 'mdcf_jax')
  pipe = Pipeline.from_pretrained(NAME)
  assert pipe.origin == f'{NAME}@{model}'
  assert f'main is commit {model}' in caplog.text
  assert pipe.config == weights.load_config(tiny_weights)
  assert Pipeline.from_pretrained(tiny_weights).origin == ''


def test_only_weights_and_texts_are_fetched(model, tiny_weights):
  folder = find_weights(NAME).folder
  expected = set(files_of(tiny_weights)) | {'README.md'}
  assert {p.name for p in folder.iterdir()} == expected
  assert all(p.is_file() for p in folder.iterdir())


def test_a_commit_that_is_there_asks_nobody(hub, model):
  first = find_weights(NAME, model)
  assert first.origin == f'{NAME}@{model}' and hub.asked
  hub.asked.clear()
  assert find_weights(f'{NAME}@{model}') == first
  assert not hub.asked


def test_a_branch_moves_and_a_commit_stays(hub, model):
  old = find_weights(NAME)
  changed = json.loads((old.folder / 'config.json').read_text())
  changed['phases']['fde']['licence'] = 'MIT'
  new = hub.commit(NAME, {'config.json': json.dumps(changed).encode()})
  assert find_weights(NAME).origin == f'{NAME}@{new}'
  assert find_weights(NAME, model) == old
  hub.refs[NAME, 'v1'] = model
  assert find_weights(NAME, 'v1') == old


def test_without_a_network_the_cache_will_do(model, unreachable, caplog):
  first = find_weights(NAME)
  unreachable()
  assert find_weights(NAME) == first
  assert 'cannot be reached' in caplog.text
  with pytest.raises(InputError, match='me/other: the Hub cannot be reached'):
    find_weights('me/other')


@pytest.mark.parametrize('variable', ['MDCF_OFFLINE', 'HF_HUB_OFFLINE'])
def test_offline_only_the_cache_is_asked(hub, model, monkeypatch, variable):
  monkeypatch.setenv(variable, '1')
  with pytest.raises(InputError, match=f'{variable} is set, and revision main'):
    find_weights(NAME)
  monkeypatch.setenv(variable, '0')
  first = find_weights(NAME)
  monkeypatch.setenv(variable, '1')
  hub.asked.clear()
  assert find_weights(NAME) == first == find_weights(NAME, model)
  with pytest.raises(InputError, match='revision v2 is not in the cache'):
    find_weights(NAME, 'v2')
  assert not hub.asked


def test_what_broke_off_goes_on(hub, model, monkeypatch):
  """Files that were whole are not fetched again."""
  monkeypatch.setattr('time.sleep', lambda _: None)  # Between its attempts.
  hub.cut = ('fde.safetensors',)
  with pytest.raises(InputError, match='cannot be reached') as error:
    find_weights(NAME)
  assert '\n' not in str(error.value)
  hub.cut = ()
  hub.asked.clear()
  assert weights.load(find_weights(NAME).folder, 'fde')
  got = [line for line in hub.asked if line.startswith('GET /me/')]
  assert [line.rpartition('/')[2] for line in got] == ['fde.safetensors']


def test_what_was_damaged_on_the_way_is_fetched_anew(hub, model):
  hub.spoil = True
  with pytest.raises(InputError, match='damaged on the way'):
    find_weights(NAME)
  with pytest.raises(InputError, match='damaged on the way'):
    find_weights(NAME)
  hub.spoil = False
  # The first two files were removed, the others are damaged still.
  for _ in range(4):
    with contextlib.suppress(InputError):
      folder = find_weights(NAME).folder
      break
  found = files_of(folder)
  _, expected = hub.find(NAME, model)
  assert found['pbnet.safetensors'] == expected['pbnet.safetensors']


def test_what_the_hub_refuses_is_one_line(hub, model):
  hub.gated.add('me/gated')
  hub.commit('me/gated', {'config.json': b'{}'})
  hub.commit('me/other', {'config.json': b'{"architectures": ["Bert"]}'})
  hub.commit('me/empty', {'README.md': b''})
  lacking = dict(hub.find(NAME, model)[1])
  del lacking['fde.safetensors']
  hub.commit('me/half', lacking)
  for name, reason in {
    'me/none': 'there is no folder me/none, and the Hub has no such repo',
    'me/gated': 'gated: accept its terms',
    'me/other': "no weights of mdcf_jax: .* lacks the key 'format'",
    'me/empty': 'no weights of mdcf_jax',
    'me/half': 'lacks fde.safetensors',
    f'{NAME}@v7': 'has no revision v7',
    'me/a..b': 'no name of the Hub',
  }.items():
    with pytest.raises(InputError, match=reason) as error:
      find_weights(name)
    assert '\n' not in str(error.value)
  large = [line for line in hub.asked if 'other/resolve' in line]
  assert all(line.endswith('config.json') for line in large)


def test_a_folder_comes_first(hub, model, tmp_path):
  (tmp_path / 'me' / 'model').mkdir(parents=True)
  assert os.fspath(find_weights(NAME).folder) == NAME
  with pytest.raises(InputError, match='is a folder'):
    find_weights(NAME, 'main')
  assert find_weights('mini').folder == BUNDLED['mini']
  for name in ('maxi', '/no/such/folder', 'a/b/c', './me/model2'):
    with pytest.raises(InputError):
      find_weights(name)
  assert not hub.asked


def test_info_tells_the_commit(model, capsys):
  assert main(['info', NAME]) == 0
  assert capsys.readouterr().out.startswith(f'{NAME}@{model} of the Hub\n')
  assert main(['info', 'mini']) == 0

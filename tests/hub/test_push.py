"""A folder becomes a repository, and what is fetched from there the folder."""

import json
import shutil

import pytest

from mdcf_jax import InputError, weights
from mdcf_jax.cli.main import main
from mdcf_jax.hub.card import write_card
from mdcf_jax.hub.fetch import BUNDLED, find_weights
from mdcf_jax.hub.push import push
from mdcf_jax.pipeline import Pipeline
from tests.hub.fake_hub import files_of


def test_there_and_back(hub, tiny_weights):
  pipe = Pipeline.from_pretrained(tiny_weights)
  where = pipe.push_to_hub('me/new')
  found = find_weights('me/new')
  assert found.origin == where and hub.private['me/new'] is True
  stored = files_of(found.folder)
  assert stored.pop('README.md').startswith(b'---\nlicense: other\n')
  # Weights were bfloat16 before, so nothing is lost.
  for name in ('fde', 'pbnet'):
    path = f'{name}.safetensors'
    assert stored[path] == (tiny_weights / path).read_bytes()
  assert weights.load_config(found.folder) == pipe.config


def test_one_commit_and_no_remains(hub, tiny_weights, tmp_path, capsys):
  texts = {'.gitattributes': b'', 'README.md': b'mine', 'notes.txt': b'mine'}
  hub.commit('me/old', texts | {'pbnet.safetensors': b'old'})
  folder = shutil.copytree(tiny_weights, tmp_path / 'weights')
  (folder / 'hubert.safetensors').write_bytes(b'not ours')
  config = json.loads((folder / 'config.json').read_text())
  del config['phases']['pbnet']
  (folder / 'config.json').write_text(json.dumps(config))
  (folder / 'pbnet.safetensors').unlink()
  before = len(hub.commits)
  assert main(['push', str(folder), 'me/old', '--public']) == 0
  assert len(hub.commits) == before + 1
  commit, files = hub.find('me/old', 'main')
  assert capsys.readouterr().out == f'me/old@{commit}\n'
  assert files['README.md'] == files['notes.txt'] == b'mine'
  assert 'pbnet.safetensors' not in files
  assert 'hubert.safetensors' not in files
  assert files['fde.safetensors'] == (folder / 'fde.safetensors').read_bytes()


def test_a_branch_is_made(hub, tiny_weights):
  push(tiny_weights, 'me/new', branch='v2', private=False)
  assert hub.private['me/new'] is not True
  assert 'fde.safetensors' in hub.find('me/new', 'v2')[1]
  assert 'fde.safetensors' not in hub.find('me/new', 'main')[1]


def test_what_cannot_be_pushed(
  hub, tiny_weights, tmp_path, monkeypatch, unreachable
):
  folder = shutil.copytree(tiny_weights, tmp_path / 'weights')
  path = folder / 'lmae.safetensors'
  path.write_bytes(path.read_bytes()[:-100])
  for given, repo, reason in (
    (folder, 'me/new', 'damaged'),
    (tmp_path, 'me/new', 'no folder of weights'),
    (tiny_weights, 'new', 'no name of the Hub'),
  ):
    with pytest.raises(InputError, match=reason):
      push(given, repo)
  assert not hub.asked
  monkeypatch.setenv('MDCF_OFFLINE', '1')
  with pytest.raises(InputError, match='upload to me/new: MDCF_OFFLINE'):
    push(tiny_weights, 'me/new')
  assert not hub.asked
  monkeypatch.delenv('MDCF_OFFLINE')
  unreachable()
  with pytest.raises(InputError, match='cannot be reached'):
    push(tiny_weights, 'me/new')


def test_the_card_states_licences_as_they_are():
  config = weights.load_config(BUNDLED['mini'])
  card = write_card(config, 'me/new')
  assert '\nlicense: other\n' in card and 'research only' in card
  for how in config['phases'].values():
    how['licence'] = 'Apache-2.0'
  assert '\nlicense: apache-2.0\n' in write_card(config, 'me/new')
  config['phases']['fde']['licence'] = ''
  card = write_card(config, 'me/new')
  assert '\nlicense: other\n' in card and 'not stated' in card

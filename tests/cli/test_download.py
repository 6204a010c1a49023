"""`mdcf download`: licence first, then the file and what to do with it."""

import hashlib
import re

import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.media import sources


def test_a_network_is_fetched_and_the_next_commands_named(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  file = tmp_path / 'raft.pth'
  file.write_bytes(b'weights')
  source = sources.Source(
    file.as_uri(), hashlib.sha256(b'weights').hexdigest(), 1, 'MIT', 'raft.pth'
  )
  monkeypatch.setitem(sources.SOURCES, 'raft', (source,))
  assert main(['download', 'raft']) == 0
  lines = capsys.readouterr().out.splitlines()
  assert file.as_uri() in lines[0] and 'licence: MIT' in lines[0]
  folder = tmp_path / 'cache' / 'mdcf_jax' / 'downloads'
  assert (folder / 'raft.pth').read_bytes() == b'weights'
  assert lines[1].startswith('python scripts/pth_to_safetensors.py')
  assert lines[2] == f'mdcf convert raft {folder / "raft.safetensors"}'


@pytest.mark.parametrize('name', sources.BRING)
def test_what_has_no_public_sum_is_not_fetched(name, capsys):
  assert main(['download', name]) == 2
  assert f'{name}: bring your own file' in capsys.readouterr().err


def test_entries_are_whole():
  for given in sources.SOURCES.values():
    for source in given:
      assert re.fullmatch('[0-9a-f]{64}', source.sha256)
      assert source.url.startswith('https://') and source.licence
      # The public names carry the first digits of the sum.
      digits = re.search(r'-([0-9a-f]{8})\.pth$', source.name)
      assert digits is None or source.sha256.startswith(digits[1])

"""Who goes to the network asks first, and `MDCF_OFFLINE` is heard."""

import ast
import socket
import wave

import numpy as np
import pytest
from PIL import Image

from mdcf_jax import InputError, network
from mdcf_jax.app import server
from mdcf_jax.cli.main import main
from mdcf_jax.media import download
from tests.test_layers import imports

# Ways to the network, and the files that may take each.
LIBRARIES = {
  'urllib.request': {'media/download.py'},
  'http.client': {'media/download.py'},
  'huggingface_hub': {'hub/client.py'},
  'socket': {'app/server.py'},  # Which listens, on this machine alone.
}
NOBODY = ('requests', 'httpx', 'httpx2', 'aiohttp', 'urllib3', 'ftplib')
NOBODY += ('gcsfs', 'boto3', 'xmlrpc', 'smtplib', 'telnetlib')
# Calls from which everything else follows.
DOORS = ('urlopen', 'HfApi', 'urlretrieve', 'download_url', 'hf_hub_url')


def write_wav(path):
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(16000)
    noise = np.random.default_rng(0).integers(-3000, 3000, 3200)
    file.writeframes(noise.astype('<i2').tobytes())


def calls(tree):
  """(name, line) of what is called, by its last word and dotted."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      yield ast.unparse(node.func), node.lineno


def test_only_these_files_know_the_network(repository):
  root, found = repository / 'mdcf_jax', set()
  for path in root.rglob('*.py'):
    name = path.relative_to(root).as_posix()
    for module in imports(path):
      for library, allowed in LIBRARIES.items():
        if module == library or module.startswith(f'{library}.'):
          assert name in allowed, f'{name} imports {module}'
          found.add(library)
      assert module.split('.')[0] not in NOBODY, f'{name} imports {module}'
  assert found == set(LIBRARIES)


def test_every_door_asks_first(repository):
  """In the very function, before it."""
  doors = 0
  for path in (repository / 'mdcf_jax').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if not isinstance(node, ast.FunctionDef):
        continue
      made = list(calls(node))
      opened = [n for name, n in made if name.rpartition('.')[2] in DOORS]
      asked = [
        n for name, n in made if name in ('network.check', 'client.check')
      ]
      for line in opened:
        assert asked and min(asked) < line, f'{path}: {node.name}'
        doors += 1
  assert doors == 3  # A download, and two ways to the Hub.


def test_a_public_link_is_refused_offline(monkeypatch):
  monkeypatch.setenv('MDCF_OFFLINE', '1')
  with pytest.raises(InputError, match='a public link: MDCF_OFFLINE is set'):
    with server.serve(None, share=True):
      pass


@pytest.mark.parametrize(
  'value, offline', [('1', True), ('yes', True), ('0', False), ('', False)]
)
def test_what_is_offline(monkeypatch, value, offline):
  monkeypatch.setenv('MDCF_OFFLINE', value)
  assert network.is_offline() is offline
  if offline:
    with pytest.raises(InputError, match='MDCF_OFFLINE'):
      network.check('this')
  else:
    network.check('this')


def forbid(monkeypatch):
  """No socket of the internet can be connected; returns who tried."""
  tried = []

  def refuse(self, *args, **kwargs):
    tried.append(args)
    raise OSError('no network')

  for name in ('connect', 'connect_ex', 'sendto'):
    monkeypatch.setattr(socket.socket, name, refuse)
  for name in ('getaddrinfo', 'create_connection', 'gethostbyname'):
    monkeypatch.setattr(socket, name, refuse)
  return tried


@pytest.mark.parametrize(
  'words',
  [
    ['download', 'faces'],
    ['download', 'raft'],
    ['info', 'me/model'],
    ['push', 'FOLDER', 'me/model'],
    ['generate', '--weights', 'me/model', *('--image', 'a', '--audio', 'b')],
    ['reconstruct', '--weights', 'me/model@v1', '--video', 'VIDEO'],
    ['reenact', '--weights', 'me/model', *('--source', 'a', '--driving', 'b')],
    ['export', '--weights', 'me/model'],
  ],
  ids=lambda words: words[0],
)
def test_commands_refuse(words, tiny_weights, tmp_path, monkeypatch, capsys):
  pytest.importorskip('huggingface_hub')
  monkeypatch.setenv('MDCF_OFFLINE', '1')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'hub'))
  monkeypatch.chdir(tmp_path)
  write_wav(tmp_path / 'b')
  Image.new('RGB', (64, 64)).save(tmp_path / 'a', 'png')
  tried = forbid(monkeypatch)
  words = [str(tiny_weights) if word == 'FOLDER' else word for word in words]
  if '--weights' in words:
    words += ['--output', str(tmp_path / 'made.mp4')]
  assert main(words) == 2
  error = capsys.readouterr().err
  assert 'MDCF_OFFLINE is set' in error and error.count('\n') == 1
  assert not tried
  assert not (tmp_path / 'made.mp4').exists()


def test_a_file_that_is_there_is_no_access(tmp_path, monkeypatch):
  path = tmp_path / 'file'
  path.write_bytes(b'x')
  monkeypatch.setenv('MDCF_OFFLINE', '1')
  digest = download.file_sha256(path)
  assert download.download('https://no.where/x', path, digest) == path
  with pytest.raises(InputError, match='MDCF_OFFLINE'):
    download.download('https://no.where/x', tmp_path / 'a' / 'other', digest)
  assert not (tmp_path / 'a').exists()


@pytest.mark.slow
def test_generation_asks_nobody(tiny_weights, tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('MDCF_OFFLINE', '1')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  Image.new('RGB', (64, 64), (120, 90, 80)).save(tmp_path / 'a.png')
  write_wav(tmp_path / 'b.wav')
  tried = forbid(monkeypatch)
  words = ['generate', '--weights', str(tiny_weights), '--steps', '1']
  words += ['--image', str(tmp_path / 'a.png')]
  words += ['--audio', str(tmp_path / 'b.wav')]
  words += ['--output', str(tmp_path / 'made.mp4')]
  assert main(words) == 0, capsys.readouterr().err
  assert (tmp_path / 'made.mp4').stat().st_size and not tried

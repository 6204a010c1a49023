"""A Hub of this machine, in the place of the true one."""

import contextlib
import socket

import pytest

from tests.hub.fake_hub import serve


@pytest.fixture
def hub(tmp_path, monkeypatch):
  """An empty Hub, the only one there is, and an empty cache."""
  pytest.importorskip('huggingface_hub')
  with serve() as (fake, address):
    monkeypatch.setenv('HF_ENDPOINT', address)
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('MDCF_OFFLINE', raising=False)
    monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
    monkeypatch.chdir(tmp_path)
    yield fake


@pytest.fixture
def unreachable(monkeypatch):
  """A function after which the Hub is where nobody listens."""

  def move():
    with contextlib.closing(socket.socket()) as unused:
      unused.bind(('127.0.0.1', 0))
      port = unused.getsockname()[1]
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{port}')

  return move

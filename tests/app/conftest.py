"""The page, served in this process with a Pipeline that paints noise."""

import pytest

from mdcf_jax.app.limits import Limits
from tests.app.fake_pipe import FakePipe

LIMITS = Limits(
  file_bytes=2**20, seconds=3.0, waiting=2, videos=2, visits=8, resolution=128
)


@pytest.fixture(scope='module')
def pipe():
  return FakePipe()


@pytest.fixture(scope='module')
def served(pipe):
  """(address, studio)."""
  pytest.importorskip('gradio', reason="no gradio (pip install '.[app]')")
  from mdcf_jax.app import server

  with server.serve(pipe, LIMITS) as found:
    yield found
  assert not found[1].store.root.exists()

"""Test settings that must precede the first import of jax."""

import os
import pathlib
import resource
import socket
import sys

os.environ['JAX_PLATFORMS'] = os.environ.get('MDCF_TEST_PLATFORM', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
_FLAGS = {
  # Eight virtual devices, so that every mesh can be tried on any machine.
  '--xla_force_host_platform_device_count': 8,
  # Tests compile much and compute little.
  '--xla_backend_optimization_level': 0,
}
for _name, _value in _FLAGS.items():
  if _name not in os.environ.get('XLA_FLAGS', ''):
    os.environ['XLA_FLAGS'] = (
      f'{os.environ.get("XLA_FLAGS", "")} {_name}={_value}'
    )


def _stay_here(event, args):
  """No test of this process asks anybody but this machine."""
  if event == 'socket.getaddrinfo':
    host = args[0]
  elif event == 'socket.connect' and isinstance(args[1], tuple):
    host = args[1][0]
  else:
    return
  if isinstance(host, bytes):
    host = host.decode()
  here = None, '', 'localhost', '::1', '0.0.0.0', socket.gethostname()
  if host not in here and not host.startswith('127.'):
    raise RuntimeError(f'a test goes to the network: {host}')


sys.addaudithook(_stay_here)

# `configs` lies beside the package and is not installed with it.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import pytest  # noqa: E402

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_MOST_MEMORY = 3 * 2**30  # Bytes of one process of tests, after which to tidy.


@pytest.fixture(scope='session')
def test_data() -> pathlib.Path:
  """Folder of real clips and reference outputs; skips where it is absent."""
  folder = pathlib.Path(os.environ.get('MDCF_TEST_DATA', _ROOT / '../shared'))
  if not folder.is_dir():
    pytest.skip(f'no test data in {folder}; set MDCF_TEST_DATA')
  return folder


@pytest.fixture(scope='session', autouse=True)
def own_certificate(tmp_path_factory):
  """Keys that sign videos are of this session, not in the user's cache."""
  folder = tmp_path_factory.mktemp('keys')
  with pytest.MonkeyPatch.context() as patch:
    name = 'mdcf_jax.media.certificates.cache_dir'
    patch.setattr(name, lambda: folder)
    yield


@pytest.fixture(scope='module', autouse=True)
def few_programs():
  """Compiled programs are dropped between files before they fill the memory."""
  yield
  statm = pathlib.Path('/proc/self/statm')  # Of Linux alone.
  pages = int(statm.read_text().split()[1]) if statm.exists() else 0
  if pages * resource.getpagesize() > _MOST_MEMORY:
    jax.clear_caches()


@pytest.fixture(scope='session')
def repository() -> pathlib.Path:
  """Root of the checkout: configs, train.py and the package lie here."""
  return _ROOT


@pytest.fixture(scope='session')
def tiny_weights(tmp_path_factory) -> pathlib.Path:
  """Folder of small random weights."""
  from tests.tiny_model import write_tiny_weights

  return write_tiny_weights(tmp_path_factory.mktemp('weights') / 'tiny')

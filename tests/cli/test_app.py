"""`mdcf app`: what it says where it cannot start, and its address."""

import contextlib
import sys

import pytest

from mdcf_jax.cli import app
from mdcf_jax.cli.main import main
from mdcf_jax.pipeline import Pipeline


def fails(capsys, *arguments) -> str:
  """The one line on stderr."""
  assert main(['app', *arguments]) == 2
  output = capsys.readouterr()
  assert not output.out
  (line,) = output.err.splitlines()
  return line


def test_without_gradio(capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gradio', None)
  assert "pip install '.[app]'" in fails(capsys)


def test_with_an_old_gradio(capsys, monkeypatch):
  gradio = pytest.importorskip('gradio', reason='no gradio')
  monkeypatch.setattr(gradio, '__version__', '5.49.1')
  assert 'gradio 5.49.1 is too old' in fails(capsys)


@pytest.mark.parametrize(
  'flags',
  [
    *(['--port', '70000'], ['--port', '-1'], ['--port', 'x']),
    *(['--max-seconds', '0'], ['--max-seconds', 'nan']),
    *(['--max-megabytes', '0'], ['--weights', 'no-such-folder']),
  ],
)
def test_bad_flags(capsys, flags):
  pytest.importorskip('gradio', reason='no gradio')
  assert flags[1] in fails(capsys, *flags) or 'expected' in flags


def test_it_prints_its_address(capsys, monkeypatch):
  pytest.importorskip('gradio', reason='no gradio')
  from mdcf_jax.app import server

  given, order = {}, []

  @contextlib.contextmanager
  def serve(*arguments, **options):
    given.update(options, pipe=arguments[0], limits=arguments[1])
    yield 'http://127.0.0.1:1234/', None
    order.append('closed')

  def wait():
    order.append('waits')

  monkeypatch.setattr(server, 'serve', serve)
  monkeypatch.setattr(app, '_wait', wait)
  monkeypatch.setattr(Pipeline, 'from_pretrained', lambda *x: x)
  flags = ['--port', '0', '--resolution', '512', '--max-seconds', '9']
  assert main(['app', *flags, '--max-megabytes', '3']) == 0
  assert capsys.readouterr().out.startswith('http://127.0.0.1:1234/\n')
  assert order == ['waits', 'closed']
  limits = given['limits']
  assert (limits.seconds, limits.file_bytes) == (9, 3 * 2**20)
  assert given['pipe'] == ('mini', None, None)
  assert (given['resolution'], given['share']) == (512, False)

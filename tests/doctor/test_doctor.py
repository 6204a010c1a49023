"""The doctor tells what is wrong, and goes on."""

import json
import shutil

import av
import numpy as np
import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.doctor import machine, parts, trial
from mdcf_jax.doctor.findings import Findings, private
from mdcf_jax.hub.fetch import BUNDLED
from mdcf_jax.pipeline import Pipeline
from tests.tiny_model import write_tiny_weights


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  """A cache of this test, and a home whose name is nobody's business."""
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home' / '.cache'))
  return tmp_path / 'home'


@pytest.fixture(scope='module')
def pipe(tiny_weights) -> Pipeline:
  return Pipeline.from_pretrained(tiny_weights)


@pytest.fixture
def bundled(tiny_weights, pipe, monkeypatch):
  """Weights that are whole, and loaded."""
  monkeypatch.setitem(BUNDLED, 'mini', tiny_weights)
  monkeypatch.setattr(Pipeline, 'from_pretrained', lambda *_: pipe)


@pytest.fixture
def made(monkeypatch):
  """Spares a generation where another test has one: pictures stand still."""
  frames = trial._portrait(256)[None].repeat(trial.FRAMES, 0)
  waveform = np.zeros(trial.FRAMES * trial.RATE // 25, np.float32)
  monkeypatch.setattr(trial, '_generate', lambda: (frames, waveform, {}))


def examined(capsys, *words) -> tuple[int, dict]:
  """Exit code, and (section, name) -> finding."""
  code = main(['doctor', '--json', *words])
  report = json.loads(capsys.readouterr().out)
  assert report['healthy'] is (code == 0)
  rows = report['findings']
  return code, {(row['section'], row['name']): row for row in rows}


def states(found, section):
  return {k[1]: row['state'] for k, row in found.items() if k[0] == section}


@pytest.mark.slow
def test_a_true_video(tmp_path, monkeypatch, capsys):
  """Of pictures in which a mark has room."""
  folder = write_tiny_weights(tmp_path / 'weights', resolution=256)
  monkeypatch.setitem(BUNDLED, 'mini', folder)
  code, found = examined(capsys)
  assert code == 0 and len(states(found, 'self-test')) == 4
  assert 'to compile' in found['self-test', 'generate']['text']


def test_all_is_well(bundled, made, capsys, home):
  assert main(['doctor']) == 0
  text = capsys.readouterr().out
  lines = text.splitlines()
  assert lines[-1] == 'It can generate.' and len(lines) < 40
  tested = [line.split() for line in lines if ' 10 frames' in line]
  assert len(tested) == 2 and 'found, score' in lines[-2]
  assert str(home) not in text and '~/.cache/mdcf_jax' in text
  assert not any(home.rglob('*.pem')), 'it makes nobody a certificate'


def test_damaged_weights(tiny_weights, tmp_path, monkeypatch, capsys):
  """One line says which file; what follows from it is told as well."""
  folder = shutil.copytree(tiny_weights, tmp_path / 'broken')
  path = folder / 'lmae.safetensors'
  path.write_bytes(path.read_bytes()[:-10])
  monkeypatch.setitem(BUNDLED, 'mini', folder)
  code, found = examined(capsys)
  assert code == 1
  assert 'lmae.safetensors is damaged' in found['weights', 'mini']['text']
  assert set(states(found, 'self-test').values()) == {'failed'}
  assert states(found, 'codecs') == {'writes': 'ok', 'reads': 'ok'}
  assert main(['doctor', '--no-test']) == 1
  last = capsys.readouterr().out.splitlines()[-1]
  assert last == 'It cannot generate: weights mini'


@pytest.mark.parametrize(
  'name, line, state',
  [('aac', 'writes', 'failed'), ('opus', 'reads', 'lacking')],
)
def test_a_codec_is_missing(bundled, monkeypatch, capsys, name, line, state):
  codec = av.codec.Codec

  def find(wanted, mode):
    if wanted == name:
      raise av.codec.codec.UnknownCodecError(wanted)
    return codec(wanted, mode)

  monkeypatch.setattr(av.codec, 'Codec', find)
  code, found = examined(capsys, '--no-test')
  assert code == (1 if state == 'failed' else 0)
  finding = found['codecs', line]
  assert finding['state'] == state and f'no {name}' in finding['text']


def test_a_folder_that_cannot_be_written(
  bundled, made, monkeypatch, capsys, home
):
  """A cache is of use and not needed; a folder for the video is."""
  home.mkdir()
  (home / '.cache').write_text('a file in the way')
  code, found = examined(capsys, '--no-test')
  assert code == 0 and found['memory', 'cache']['state'] == 'lacking'
  monkeypatch.setattr('tempfile.tempdir', '/proc/nowhere')
  code, found = examined(capsys)
  assert code == 1 and found['memory', 'temporary']['state'] == 'failed'
  assert states(found, 'self-test')['generate'] == 'ok'
  assert found['self-test', 'write']['state'] == 'failed'


def test_what_raises_anything_stops_nothing(bundled, monkeypatch, capsys):
  def burst(*_):
    raise RuntimeError('no\nsuch thing')

  monkeypatch.setattr(machine, 'versions', burst)
  monkeypatch.setattr(parts, 'networks', burst)
  code, found = examined(capsys, '--no-test')
  assert code == 1
  text = found['versions', 'doctor']['text']
  assert text == 'RuntimeError: no such thing'
  assert ('environment', 'variables') in found


def test_extras_that_are_missing_have_their_line(monkeypatch):
  monkeypatch.setattr(machine, 'version', lambda name: None)
  found = Findings()
  machine.extras(found)
  lines = {x.name: x.text for x in found if x.state == 'lacking'}
  assert set(lines) == set(machine.EXTRAS)
  assert lines['hub'].endswith("pip install '.[hub]'")


def test_extras_are_those_of_the_package(repository):
  text = (repository / 'setup.py').read_text()
  for name, (packages, _) in machine.EXTRAS.items():
    assert f"'{name}': [" in text
    for package in packages:
      assert f"'{package}>=" in text


def test_nothing_private_is_told(home, monkeypatch):
  variables = {
    'HF_TOKEN': 'hf_abc',
    'HF_HUB_TOKEN': 'hf_abc',
    'HTTPS_PROXY': 'http://me:secret@proxy',
    'HF_ENDPOINT': 'https://me:secret@mirror/hub',
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'--dump={home}/dump',
    'PATH': '/bin',
  }
  found = Findings()
  machine.environment(found, variables)
  (finding,) = found
  assert finding.text.split() == [
    'HF_ENDPOINT=https://mirror/hub',
    'HF_HUB_TOKEN=(set)',
    'HTTPS_PROXY=(set)',
    'JAX_PLATFORMS=cpu',
    'XLA_FLAGS=--dump=~/dump',
  ]
  monkeypatch.setenv('USER', 'jane')
  assert (
    private('/data/jane/x and /data/janet') == '/data/USER/x and /data/janet'
  )


def test_the_limit_of_a_group_of_processes(tmp_path):
  assert machine.cgroup_limit(tmp_path) is None
  (tmp_path / 'proc/self').mkdir(parents=True)
  groups = tmp_path / 'sys/fs/cgroup'
  (groups / 'a/b').mkdir(parents=True)
  (tmp_path / 'proc/self/cgroup').write_text('0::/a/b\n')
  (groups / 'a/b/memory.max').write_text('max\n')
  assert machine.cgroup_limit(tmp_path) is None
  (groups / 'a/b/memory.max').write_text('1048576\n')
  assert machine.cgroup_limit(tmp_path) == 2**20
  (tmp_path / 'proc/self/cgroup').write_text('4:memory:/x\n3:cpu:/y\n')
  (groups / 'memory').mkdir()
  limit = groups / 'memory/memory.limit_in_bytes'
  limit.write_text(f'{2**63 - 4096}\n')
  assert machine.cgroup_limit(tmp_path) is None
  limit.write_text(f'{2**21}\n')
  assert machine.cgroup_limit(tmp_path) == 2**21

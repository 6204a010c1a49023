"""`mdcf detect`, and the flags of commands that generate."""

import json
import types
import wave

import av
import numpy as np
import pytest
from PIL import Image

from mdcf_jax.cli import main as cli
from mdcf_jax.cli import provenance
from mdcf_jax.media import certificates, mark
from mdcf_jax.media.writer import VideoWriter
from tests.media import spoil


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
  """Programs and keys go to a folder of this test, not to the user's."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    yield


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Marked and unmarked, videos and pictures, and what is neither."""
  folder = tmp_path_factory.mktemp('files')
  frames = spoil.clip(12)
  for name, marked in (('marked', True), ('plain', False)):
    for suffix in ('mp4', 'mkv'):
      with VideoWriter(folder / f'{name}.{suffix}', 256, mark=marked) as writer:
        for frame in frames:
          writer.write(frame)
    frame = mark.embed(frames[3]) if marked else frames[3]
    Image.fromarray(frame).save(folder / f'{name}.png')
    Image.fromarray(frame).save(
      folder / f'{name}.jpg', quality=75, comment='hi'
    )
  Image.new('RGB', (200, 200)).save(folder / 'black.png')
  Image.new('RGB', (8, 8)).save(folder / 'dot.png')
  for name in ('marked.png', 'marked.mp4'):
    content = (folder / name).read_bytes()
    (folder / f'half.{name}').write_bytes(content[: len(content) // 2])
  (folder / 'random.mp4').write_bytes(np.random.default_rng(0).bytes(5000))
  (folder / 'empty.mp4').touch()
  with wave.open(str(folder / 'sound.wav'), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(16000)
    file.writeframes(bytes(32000))
  return folder


@pytest.mark.parametrize('name', ['marked.mp4', 'marked.mkv', 'marked.jpg'])
def test_marked(name, files, capfd):
  assert cli.main(['detect', str(files / name)]) == 0
  out, error = capfd.readouterr()
  assert out.splitlines()[0] == f'{files / name}: marked'
  assert '0x13dc: mdcf_jax, version 1' in out and not error
  assert '100 % of its size' in out


@pytest.mark.parametrize('name', ['plain.mp4', 'plain.png'])
def test_not_marked(name, files, capfd):
  assert cli.main(['detect', str(files / name)]) == 1
  out = capfd.readouterr().out
  assert (
    out.startswith(f'{files / name}: not marked\n') and 'payload' not in out
  )


def test_cannot_tell(files, capfd):
  assert cli.main(['detect', str(files / 'black.png')]) == 3
  assert 'reason    the picture is empty' in capfd.readouterr().out


def test_json(files, capfd):
  assert cli.main(['detect', '--json', str(files / 'marked.mp4')]) == 0
  found = json.loads(capfd.readouterr().out)
  assert found['verdict'] == 'marked' and found['payload'] == mark.PAYLOAD
  assert found['bound'] < 1e-20 and found['frames'] == 12
  assert found['comment'].startswith('mdcf_jax ')
  assert found['comment'].endswith('; AI-generated; mark=1')
  assert (found['c2pa'] is not None) == certificates.available()
  assert cli.main(['detect', '--json', str(files / 'plain.mp4')]) == 1
  assert json.loads(capfd.readouterr().out)['comment'].endswith('mark=0')
  assert cli.main(['detect', '--json', str(files / 'plain.jpg')]) == 1
  assert json.loads(capfd.readouterr().out)['comment'] == 'hi'


@pytest.mark.parametrize(
  ('name', 'reason'),
  [
    ('none.mp4', 'no such file'),
    ('', 'directory'),
    ('empty.mp4', 'empty'),
    ('random.mp4', 'random.mp4'),
    ('half.marked.png', 'decoded'),
    ('half.marked.mp4', 'half.marked.mp4'),
    ('dot.png', 'too small'),
    ('sound.wav', 'no video'),
  ],
)
def test_bad_files(name, reason, files, capfd):
  assert cli.main(['detect', str(files / name)]) == 2
  out, error = capfd.readouterr()
  assert not out and reason in error and error.count('\n') == 1
  assert error.startswith('mdcf: error: ')


def test_the_manifest_is_shown(files, tmp_path, capfd):
  pytest.importorskip('c2pa')
  cli.main(['detect', str(files / 'marked.mp4')])
  out = capfd.readouterr().out
  assert 'C2PA      signature verifies; mdcf_jax' in out
  assert 'self-signed' in out and 'trainedAlgorithmicMedia' in out
  content = bytearray((files / 'marked.mp4').read_bytes())
  content[content.index(b'mdat') + 40] ^= 1
  (tmp_path / 'changed.mp4').write_bytes(content)
  cli.main(['detect', str(tmp_path / 'changed.mp4')])
  assert 'C2PA      DOES NOT VERIFY' in capfd.readouterr().out
  cli.main(['detect', str(files / 'plain.jpg')])
  assert 'C2PA      no manifest' in capfd.readouterr().out


@pytest.fixture
def generate(files, tmp_path, monkeypatch):
  """`mdcf generate` with frames that no network made."""
  from mdcf_jax import pipeline, timing

  frames = spoil.clip(12)
  stage = types.SimpleNamespace(beside_weights=0)
  pipe = types.SimpleNamespace(
    prepare=lambda *args, **options: types.SimpleNamespace(size=256),
    generate=lambda clips, progress: [iter(frames) for _ in clips],
    is_ready=lambda clips: True,
    plan=types.SimpleNamespace(
      stages={'all': stage},
      **dict(frames=12, resolution=256, peak=0, weights=0, clips=1),
    ),
    timings={'frames': timing.Timing(1.0, 12)},
  )
  monkeypatch.setattr(
    pipeline.Pipeline, 'from_pretrained', lambda *_, **__: pipe
  )
  output = tmp_path / 'out.mp4'
  given = dict(image='plain.png', audio='sound.wav')
  words = [f'--{key}={files / value}' for key, value in given.items()]

  def run(*flags):
    return cli.main(['generate', *words, f'--output={output}', *flags])

  run.output = output
  return run


def comment_of(path):
  with av.open(str(path)) as container:
    return container.metadata['comment']


def test_generated_videos_are_marked(generate, capfd):
  assert generate() == 0
  out = capfd.readouterr().out
  assert 'provenance: the invisible mark, the metadata tag' in out
  assert ('c2pa-python' in out or 'provenance]' in out) == (
    not certificates.available()
  )
  assert comment_of(generate.output).endswith('AI-generated; mark=1')
  assert cli.main(['detect', str(generate.output)]) == 0


def test_for_research_without_mark(generate, capfd):
  assert generate('--no-mark', '--research') == 0
  assert 'no mark (--research)' in capfd.readouterr().out
  assert comment_of(generate.output).endswith('AI-generated; mark=0')
  assert cli.main(['detect', str(generate.output)]) == 1


@pytest.mark.parametrize(
  ('flags', 'reason'),
  [
    (['--no-mark'], '--research as well'),
    (['--certificate=a.pem'], 'come together'),
    (['--private-key=a.key'], 'come together'),
    (['--certificate=no.pem', '--private-key=no.key'], 'no.pem'),
  ],
)
def test_flags_that_are_refused(generate, flags, reason, capfd):
  if 'no.pem' in reason and not certificates.available():
    reason = 'provenance'
  assert generate(*flags) == 2
  error = capfd.readouterr().err
  assert reason in error and error.count('\n') == 1
  assert not generate.output.exists()


def test_what_is_left_out_is_said(monkeypatch):
  monkeypatch.setattr(certificates, 'available', lambda: False)
  line = provenance.describe(mark=True, sign=True)
  assert line == (
    'provenance: the invisible mark, the metadata tag; '
    "no C2PA manifest: pip install '.[provenance]'"
  )

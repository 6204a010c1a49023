"""`mdcf reenact`: files in and out; the frames are tests/test_reenact.py's."""

import av
import numpy as np
import pytest
from PIL import Image

from mdcf_jax.cli.main import main
from mdcf_jax.media.writer import VideoWriter
from mdcf_jax.pipeline import Pipeline


@pytest.fixture(scope='module')
def pipe(tiny_weights) -> Pipeline:
  return Pipeline.from_pretrained(tiny_weights)


@pytest.fixture
def files(tmp_path, pipe, monkeypatch):
  """A portrait and two clips, one with sound; weights that are there."""
  monkeypatch.setattr(Pipeline, 'from_pretrained', lambda *_: pipe)
  rng = np.random.default_rng(0)
  pictures = rng.integers(0, 255, (5, 64, 64, 3), np.uint8)
  Image.fromarray(pictures[0]).save(tmp_path / 'me.png')
  tone = 0.1 * np.sin(np.arange(2 * 44100) / 20).astype(np.float32)
  tone = np.stack([tone, -tone], 1)
  for name, sound in (('talk.mp4', tone), ('mute.mp4', None)):
    path = tmp_path / name
    with VideoWriter(path, 64, 10, sound, 44100, mark=False) as writer:
      for picture in pictures:
        writer.write(picture)
  return tmp_path


def command(files, **given):
  flags = dict(
    source=files / 'me.png',
    driving=files / 'talk.mp4',
    output=files / 'new' / 'out.mp4',
  )
  flags |= given
  return ['reenact', *(f'--{key}={value}' for key, value in flags.items())]


@pytest.mark.parametrize('driving', ['talk.mp4', 'mute.mp4'])
def test_pictures_and_sound(files, driving, capsys):
  assert main(command(files, driving=files / driving)) == 0
  output = files / 'new' / 'out.mp4'
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == str(output) and lines[1].startswith('provenance')
  assert any(x.startswith('frames') and 'frames/s' in x for x in lines)
  assert list(output.parent.iterdir()) == [output]
  with av.open(str(output)) as container:
    assert container.streams.video[0].average_rate == 10
    assert bool(container.streams.audio) == (driving == 'talk.mp4')
    if container.streams.audio:
      stream = container.streams.audio[0]
      assert (stream.rate, stream.channels) == (44100, 2)
      # Of the video's 2 s of sound, those with a picture.
      length = float(stream.duration * stream.time_base)
      assert abs(length - 0.5) < 0.03
    assert sum(1 for _ in container.decode(video=0)) == 5


@pytest.mark.parametrize(
  ('given', 'reason'),
  [
    (dict(source='no.png'), 'no such file'),
    (dict(driving='no.mp4'), 'no such file'),
    (dict(output='out.txt'), 'ends in none of'),
    (dict(output='talk.mp4'), 'is an input'),
    (dict(crop='face'), 'crop'),
    ({'driving-crop': '0,0,65,65'}, 'outside'),
    (dict(fps=0), 'fps'),
    (dict(resolution=100), 'multiple'),
    (dict(motion='copied'), 'motion'),
    ({'private-key': 'key.pem'}, 'come together'),
  ],
)
def test_bad_input_is_one_line(files, given, reason, capsys):
  given = {
    key: files / value if key in ('source', 'driving', 'output') else value
    for key, value in given.items()
  }
  before = sorted(files.iterdir())
  assert main(command(files, **given)) == 2
  error = capsys.readouterr().err
  assert error.startswith('mdcf: error: ') and error.count('\n') == 1
  assert reason in error
  assert sorted(files.iterdir()) == before


def test_a_failure_on_the_way_leaves_nothing(files, monkeypatch, capsys):
  from mdcf_jax import reenact

  def stop(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(reenact._Network, '__call__', stop)
  assert main(command(files)) == 130
  assert not list((files / 'new').iterdir())

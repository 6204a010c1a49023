"""Real faces in videos of every kind, through the whole of a unit."""

import fractions
import os
import pathlib

import numpy as np
import pytest

from mdcf_jax.data import records
from mdcf_jax.media import video
from mdcf_jax.prepare import clip, folder, pieces
from mdcf_jax.prepare.units import Centre, FaceSquare
from tests.media import clips

SHARED = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared'))
FACE_MODEL = SHARED / 'weights' / 'face_landmarker.task'
REAL = SHARED / 'realset' / 'av'
pytestmark = pytest.mark.skipif(
  not (FACE_MODEL.exists() and REAL.exists()),
  reason=f'no real clips or face model in {SHARED} (MDCF_TEST_DATA)',
)
SETTINGS = pieces.Settings(
  resolution=128, min_face=40, face_model=str(FACE_MODEL)
)


@pytest.fixture(scope='module')
def people():
  """50 frames each of two people, 256x256."""
  found = sorted(REAL.glob('*.mp4'))
  names = {path.name.split('_')[0]: path for path in reversed(found)}
  first, *_, last = sorted(names)
  return [
    np.stack(list(video.iter_frames(names[name], 25, max_frames=50)))
    for name in (first, last)
  ]


def _prepare(path, framing=None, settings=SETTINGS):
  (unit,) = folder.find_units(path.parent, framing or FaceSquare())
  work = path.parent / 'work'
  work.mkdir(exist_ok=True)
  outcome = clip.prepare_unit(unit, work, settings)
  return outcome, [
    records.load(work / f'{name}.npz')
    for name in (r['name'] for r in outcome['records'])
  ]


def _wide(frames, left=280):
  """The frames on a grey picture of 640x360."""
  wide = np.full((len(frames), 360, 640, 3), 90, np.uint8)
  wide[:, 60:316, left : left + 256] = frames
  return wide


def _tone(seconds, rate=48000):
  time = np.arange(round(seconds * rate)) / rate
  return (0.3 * np.sin(440 * np.pi * time)).astype(np.float32)


@pytest.mark.parametrize(
  ('name', 'rate', 'codec'),
  [
    ('a.mp4', 24, 'libx264'),
    ('a.mkv', 30, 'libx264'),
    ('a.mov', 50, 'mpeg4'),
    ('a.webm', '30000/1001', 'libvpx'),
    ('a.avi', 25, 'mpeg4'),
  ],
)
def test_rates_and_containers(people, tmp_path, name, rate, codec):
  """The same two seconds, 50 frames whatever the file has."""
  rate = fractions.Fraction(rate)
  count = int(2 * rate)
  frames = people[0][np.minimum(np.arange(count) * 25 / rate, 49).astype(int)]
  sound = {'.webm': 'libopus', '.avi': 'pcm_s16le'}.get(name[1:], 'aac')
  clips.encode(
    *(tmp_path / name, _wide(frames), range(count), 1 / rate),
    codec=codec,
    sound=_tone(2),
    sound_codec=sound,
  )
  outcome, (record,) = _prepare(tmp_path / name)
  assert abs(len(record['frames']) - 50) <= 1
  assert record['source_fps'] == pytest.approx(float(rate), rel=0.01)
  assert len(record['waveform']) == 640 * len(record['frames'])
  assert record['detected'].mean() > 0.9
  # The square is over the face: of 256 pixels and more of the 640x360.
  height = record['face_box'][:, 3] - record['face_box'][:, 1]
  assert 0.4 < np.median(height) < 0.8


def test_a_cut_in_the_middle_makes_two_clips(people, tmp_path):
  frames = np.concatenate([_wide(people[0], 100), _wide(people[1], 300)])
  clips.encode(tmp_path / 'a.mp4', frames, range(100), '1/25', sound=_tone(4))
  _, found = _prepare(tmp_path / 'a.mp4')
  assert sorted(len(record['frames']) for record in found) == [50, 50]


def test_two_people_are_left_out(people, tmp_path):
  frames = _wide(people[0], 40)
  frames[:, 60:316, 340:596] = people[1]
  clips.encode(tmp_path / 'a.mp4', frames, range(50), '1/25')
  outcome, found = _prepare(tmp_path / 'a.mp4')
  assert not found and outcome['dropped'][0]['picture']
  assert 'people' in outcome['dropped'][0]['reason']


def test_no_face(tmp_path):
  frames = np.full((40, 90, 160, 3), 90, np.uint8)
  clips.encode(tmp_path / 'a.mp4', frames, range(40), '1/25')
  outcome, found = _prepare(tmp_path / 'a.mp4')
  assert not found and 'no face' in outcome['dropped'][0]['reason']


def test_a_telephone_held_upright(people, tmp_path):
  """Lying pictures, with the note that they are to be turned."""
  import av

  upright = np.full((40, 640, 360, 3), 90, np.uint8)
  upright[:, 200:456, 50:306] = people[0][:40]
  turned = np.ascontiguousarray(np.rot90(upright, 1, axes=(1, 2)))
  clips.encode(tmp_path / 'flat.mp4', turned, range(40), '1/25')
  with (
    av.open(str(tmp_path / 'flat.mp4')) as old,
    av.open(str(tmp_path / 'a.mp4'), 'w') as new,
  ):
    stream = old.streams.video[0]
    copy = new.add_stream_from_template(stream)
    if not hasattr(copy, 'set_display_rotation'):
      pytest.skip('PyAV cannot write a rotation; reading it is tested in media')
    copy.set_display_rotation(-90)
    for packet in old.demux(stream):
      if packet.dts is not None:
        packet.stream = copy
        new.mux(packet)
  (tmp_path / 'flat.mp4').unlink()
  _, (record,) = _prepare(tmp_path / 'a.mp4')
  assert np.abs(np.median(record['pose'][:, 2])) < 20  # Roll.


def test_no_sound_and_too_much_sound(people, tmp_path):
  for name, sound in (('none', None), ('more', _tone(5))):
    (tmp_path / name).mkdir()
    path = tmp_path / name / 'a.mp4'
    clips.encode(path, people[0], range(50), '1/25', sound=sound)
    _, (record,) = _prepare(path)
    assert len(record['frames']) == 50
    assert records.has_audio(record) == (sound is not None)
    assert len(record['waveform']) == (0 if sound is None else 640 * 50)


@pytest.mark.parametrize('rate', ['24', '25', '30000/1001', '50'])
def test_flash_and_click(people, tmp_path, rate):
  """Picture and sound of one moment stay together through the whole path."""
  rate = fractions.Fraction(rate)
  count, moment = int(2 * rate), 1.2
  frames = people[0][np.minimum(np.arange(count) * 25 / rate, 49).astype(int)]
  flash = round(moment * rate)
  frames[flash : flash + max(1, round(rate / 25))] = 255
  sound = np.zeros(96000, np.float32)
  start = round(float(flash / rate) * 48000)
  sound[start : start + 480] = 0.8
  clips.encode(
    *(tmp_path / 'a.mp4', frames, range(count), 1 / rate), sound=sound
  )
  _, (record,) = _prepare(tmp_path / 'a.mp4', Centre())
  light = [records.decode_jpeg(f).mean() for f in record['frames']]
  loud = np.abs(record['waveform'].astype(float)).reshape(-1, 640).max(1)
  # A frame stands for the 1/25 s around its time.
  click = start / 48000
  assert abs(int(np.argmax(light)) / 25 - click) <= 0.02 + 1e-6
  assert abs((int(np.argmax(loud)) + 0.5) / 25 - click) <= 0.02 + 1e-6

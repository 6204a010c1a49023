"""One unit becomes records, or says why not."""

import errno
import os
import shutil
import wave

import numpy as np
import pytest

from mdcf_jax.data import records
from mdcf_jax.prepare import clip, pieces, units

SETTINGS = pieces.Settings(
  resolution=32, min_seconds=0.4, min_face=0, min_sharpness=0
)


def _unit(path, **changes):
  name = path.name
  unit = dict(
    id=units.safe_id(name),
    path=str(path),
    source=name,
    identity='anna',
    group='anna',
    framing=units.Centre(),
  )
  return units.Unit(**unit | changes)


def _names(outcome):
  return [record['name'] for record in outcome['records']]


def test_a_video_becomes_a_record(drawn_faces, write_video, tmp_path):
  waveform = write_video(tmp_path / 'a.mp4', 20)
  unit = _unit(tmp_path / 'a.mp4')
  outcome = clip.prepare_unit(unit, tmp_path, SETTINGS)
  assert outcome['dropped'] == []
  assert _names(outcome) == [unit.id] and outcome['records'][0]['frames'] == 20
  record = records.load(tmp_path / f'{unit.id}.npz')
  assert len(record['frames']) == 20 and record['identity'] == 'anna'
  assert records.decode_jpeg(record['frames'][0]).shape == (32, 32, 3)
  assert len(record['waveform']) == 20 * records.SAMPLES_PER_FRAME
  # AAC changes the samples a little; another offset would change all.
  sound = record['waveform'] / 32767
  assert np.corrcoef(sound, waveform)[0, 1] > 0.9
  assert record['source_fps'] == 25
  assert record['face_pixels'] == pytest.approx(0.6 * 64)
  assert -40 < record['loudness'] < 0


def test_a_part_of_a_video(drawn_faces, write_video, tmp_path):
  """Frames and sound of a stretch are those of its time."""
  waveform = write_video(tmp_path / 'a.mp4', 30)
  whole, part = (
    _unit(tmp_path / 'a.mp4'),
    _unit(tmp_path / 'a.mp4', id='part', start=0.4, end=1.0),
  )
  for unit in (whole, part):
    assert clip.prepare_unit(unit, tmp_path, SETTINGS)['records']
  all_of_it = records.load(tmp_path / f'{whole.id}.npz')
  record = records.load(tmp_path / 'part.npz')
  assert record['frames'] == all_of_it['frames'][10:25]
  expected = waveform[6400:16000]
  assert np.corrcoef(record['waveform'], expected)[0, 1] > 0.9


def test_a_window_is_cut_out(drawn_faces, write_video, tmp_path):
  """The upper right quarter, given for a picture of twice the size."""
  write_video(tmp_path / 'a.mp4', 12)
  window = units.Window(x=64, y=0, width=64, height=64, of_height=128)
  for name, framing in (('all', units.Centre()), ('part', window)):
    unit = _unit(tmp_path / 'a.mp4', id=name, framing=framing)
    assert clip.prepare_unit(unit, tmp_path, SETTINGS)['records']
  settings = pieces.Settings(
    resolution=64, min_seconds=0.4, min_face=0, min_sharpness=0
  )
  unit = _unit(tmp_path / 'a.mp4', id='large')
  clip.prepare_unit(unit, tmp_path, settings)
  large, part = (
    records.decode_jpeg(records.load(tmp_path / f'{name}.npz')['frames'][0])
    for name in ('large', 'part')
  )
  error = np.abs(large[:32, 32:].astype(int) - part).mean()
  assert error < 6  # JPEG and the colours' half resolution in the video.


@pytest.mark.parametrize(
  ('window', 'box'),
  [
    ((0, 0, 100, 100), (0, 0, 0.5, 1)),
    ((150, 0, 100, 100), (0.5, 0, 1, 1)),  # Moved into the picture.
    ((50, 0, 100, 80), (0.25, 0, 0.75, 1)),  # The longer side decides.
    ((-50, 0, 300, 300), (0.25, 0, 0.75, 1)),  # Larger than it.
  ],
)
def test_windows_are_squares_in_the_picture(window, box):
  framing = units.Window(*window, of_height=100)
  np.testing.assert_allclose(clip._window_box(framing, 2.0), box)


def test_a_wav_beside_the_video_is_its_sound(
  drawn_faces, write_video, tmp_path
):
  write_video(tmp_path / 'a.mp4', 12, sound=False)
  samples = np.random.default_rng(0).integers(-9000, 9000, 5000, np.int16)
  with wave.open(str(tmp_path / 'a.wav'), 'wb') as f:
    f.setparams((1, 2, 16000, 0, 'NONE', ''))
    f.writeframes(samples.tobytes())
  unit = _unit(tmp_path / 'a.mp4', sound=str(tmp_path / 'a.wav'))
  assert clip.prepare_unit(unit, tmp_path, SETTINGS)['records']
  record = records.load(tmp_path / f'{unit.id}.npz')
  assert np.abs(record['waveform'][:5000] - samples.astype(int)).max() <= 1
  assert not record['waveform'][5000:].any()


def test_a_silent_video_is_kept(drawn_faces, write_video, tmp_path):
  write_video(tmp_path / 'a.mp4', 12, sound=False)
  unit = _unit(tmp_path / 'a.mp4')
  assert clip.prepare_unit(unit, tmp_path, SETTINGS)['records']
  record = records.load(tmp_path / f'{unit.id}.npz')
  assert not records.has_audio(record)
  assert np.isnan(record['loudness']) and np.isnan(record['lag'])


def test_a_long_video_becomes_several_records(
  drawn_faces, write_video, tmp_path, monkeypatch
):
  monkeypatch.setattr(pieces, 'MAX_FRAMES', 15)
  waveform = write_video(tmp_path / 'a.mp4', 35)  # 12, 12 and 11.
  unit = _unit(tmp_path / 'a.mp4')
  outcome = clip.prepare_unit(unit, tmp_path, SETTINGS)
  assert _names(outcome) == [unit.id, f'{unit.id}.1', f'{unit.id}.2']
  assert [record['frames'] for record in outcome['records']] == [12, 12, 11]
  assert outcome['records'][1]['start'] == pytest.approx(0.48)
  second = records.load(tmp_path / f'{unit.id}.1.npz')
  start = 12 * records.SAMPLES_PER_FRAME
  expected = waveform[start : start + len(second['waveform'])]
  assert np.corrcoef(second['waveform'], expected)[0, 1] > 0.9


def test_what_is_done_is_not_done_again(drawn_faces, write_video, tmp_path):
  folders = [tmp_path / name for name in ('a', 'b', 'work')]
  for folder in folders:
    folder.mkdir()
  *videos, work = folders
  write_video(videos[0] / 'x.mp4', 12)
  write_video(videos[1] / 'x.mp4', 14)

  def length(folder, **changes):
    unit = _unit(folder / 'x.mp4', **changes)
    assert clip.prepare_unit(unit, work, SETTINGS)['records']
    (stored,) = work.glob('*.npz')
    record = records.load(stored)
    assert record['identity'] == unit.identity
    return len(record['frames']), stored.stat().st_mtime_ns

  first = length(videos[0])
  assert length(videos[0]) == first
  assert length(videos[0], split='val') == first  # No part of a record.
  assert length(videos[1])[0] == 14
  shutil.copy(videos[0] / 'x.mp4', videos[1])
  assert length(videos[1])[0] == 12
  assert length(videos[1], identity='ben')[0] == 12
  assert length(videos[1], end=0.44)[0] == 11


def test_sound_that_ends_early_is_not_silence(
  drawn_faces, write_video, tmp_path, monkeypatch
):
  """A piece without its sound is one of a silent video."""
  monkeypatch.setattr(pieces, 'MAX_FRAMES', 20)
  write_video(tmp_path / 'a.mp4', 40, sound=False)
  with wave.open(str(tmp_path / 'a.wav'), 'wb') as f:
    f.setparams((1, 2, 16000, 0, 'NONE', ''))
    f.writeframes(np.full(20 * 640, 5000, np.int16).tobytes())
  unit = _unit(tmp_path / 'a.mp4', sound=str(tmp_path / 'a.wav'))
  names = _names(clip.prepare_unit(unit, tmp_path, SETTINGS))
  heard = [
    records.has_audio(records.load(tmp_path / f'{name}.npz')) for name in names
  ]
  assert heard == [True, False]


def test_muted_sound_is_none():
  muted = np.full(640 * 5, 1e-5, np.float32)
  assert not len(pieces._cut_sound(muted, slice(0, 5)))


def test_a_video_that_breaks_off_is_noted(drawn_faces, write_video, tmp_path):
  """What is there is taken, and what is not there is said."""
  write_video(tmp_path / 'a.mp4', 20)
  unit = _unit(tmp_path / 'a.mp4', end=3.0)
  outcome = clip.prepare_unit(unit, tmp_path, SETTINGS)
  assert len(outcome['records']) == 1
  (dropped,) = outcome['dropped']
  assert dropped['reason'] == 'the video breaks off: 0.8 of 3.0 s'


def test_one_bad_stretch_costs_no_other(
  drawn_faces, write_video, tmp_path, monkeypatch
):
  from mdcf_jax.prepare import tracks

  def find_stretches(frames, **_):
    list(frames)
    box = 0.1, 0.1, 0.9, 0.9
    return [tracks.Stretch(a, b, box) for a, b in ((9, 10), (0, 0.6))], []

  write_video(tmp_path / 'a.mp4', 30)
  monkeypatch.setattr(tracks, 'find_stretches', find_stretches)
  unit = _unit(tmp_path / 'a.mp4', search=True, framing=units.FaceSquare(1.0))
  outcome = clip.prepare_unit(unit, tmp_path, SETTINGS)
  assert len(outcome['records']) == 1 and len(outcome['dropped']) == 1
  assert 'ends at' in outcome['dropped'][0]['reason']


def test_bad_videos_give_their_reason(drawn_faces, write_video, tmp_path):
  (tmp_path / 'noise.mp4').write_bytes(os.urandom(5000))
  (tmp_path / 'empty.mp4').touch()
  write_video(tmp_path / 'short.mp4', 4)
  write_video(tmp_path / 'black.mp4', 12, black=True)
  for name, reason, pictures in (
    ('noise.mp4', 'noise.mp4', 0),
    ('empty.mp4', 'empty', 0),
    ('short.mp4', 'only 4 frames', 1),
    ('black.mp4', 'no face', 1),
    ('absent.mp4', 'absent.mp4', 0),
  ):
    unit = _unit(tmp_path / name)
    outcome = clip.prepare_unit(unit, tmp_path, SETTINGS)
    (dropped,) = outcome['dropped']
    assert reason in dropped['reason'] and '\n' not in dropped['reason']
    assert len(list(tmp_path.glob(f'{unit.id}*.jpg'))) == pictures
    assert bool(dropped['picture']) == bool(pictures)
  assert not list(tmp_path.glob('*.npz'))


def test_limits(drawn_faces, write_video, tmp_path):
  write_video(tmp_path / 'a.mp4', 12)
  for changes, reason in (
    (dict(min_face=50), '38 of 50 pixels'),
    (dict(min_sharpness=1e6), 'too blurred'),
    (dict(min_seconds=1.0), 'only 12 frames'),
  ):
    settings = (
      dict(resolution=32, min_seconds=0.4, min_face=0, min_sharpness=0)
      | changes
    )
    unit = _unit(tmp_path / 'a.mp4', id=f'unit{len(reason)}')
    outcome = clip.prepare_unit(unit, tmp_path, pieces.Settings(**settings))
    assert not outcome['records']
    assert reason in outcome['dropped'][0]['reason']


def test_a_full_disk_is_no_fault_of_the_clip(
  drawn_faces, write_video, tmp_path, monkeypatch
):
  def save(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  write_video(tmp_path / 'a.mp4', 12)
  monkeypatch.setattr(records, 'save', save)
  with pytest.raises(OSError, match='No space'):
    clip.prepare_unit(_unit(tmp_path / 'a.mp4'), tmp_path, SETTINGS)
  assert not list(tmp_path.glob('*.json'))


def test_what_nobody_expected_is_tried_again_next_time(
  drawn_faces, write_video, tmp_path, monkeypatch
):
  def save(*_):
    raise RuntimeError('odd\nindeed')

  write_video(tmp_path / 'a.mp4', 12)
  unit = _unit(tmp_path / 'a.mp4')
  with monkeypatch.context() as patch:
    patch.setattr(records, 'save', save)
    (dropped,) = clip.prepare_unit(unit, tmp_path, SETTINGS)['dropped']
  assert 'RuntimeError: odd indeed' in dropped['reason']
  assert clip.prepare_unit(unit, tmp_path, SETTINGS)['records']


def test_features_of_hubert_are_those_of_the_whole_recording(
  drawn_faces, write_video, tmp_path, monkeypatch
):
  """Records of one video share one run over its sound."""
  from mdcf_jax import speech

  heard = []

  def encode(waveform, num_frames):
    heard.append((len(waveform), num_frames))
    rows = np.arange(num_frames, dtype=np.float32)[:, None]
    return np.repeat(rows, 768, axis=1)

  monkeypatch.setattr(
    speech, '_open_once', lambda _: speech.AudioFeatures('hubert-base', encode)
  )
  monkeypatch.setattr(pieces, 'MAX_FRAMES', 15)
  write_video(tmp_path / 'a.mp4', 30)
  unit = _unit(tmp_path / 'a.mp4')
  settings = pieces.Settings(
    resolution=32, min_seconds=0.4, min_face=0, hubert='weights'
  )
  assert len(clip.prepare_unit(unit, tmp_path, settings)['records']) == 2
  assert len(heard) == 1
  second = records.load(tmp_path / f'{unit.id}.1.npz')
  assert second['hubert'].shape == (15, 768) and second['mel'].shape[0] == 15
  expected = np.minimum(np.arange(15, 30), heard[0][1] - 1)
  np.testing.assert_array_equal(second['hubert'][:, 0], expected)


def test_a_picture_that_stands_still_is_no_talking_head(drawn_faces, tmp_path):
  from tests.media import clips

  times = [*range(20), *range(60, 80)]
  pictures = [clips.numbered(k) for k in range(40)]
  clips.encode(tmp_path / 'a.mp4', pictures, times, '1/25')
  outcome = clip.prepare_unit(_unit(tmp_path / 'a.mp4'), tmp_path, SETTINGS)
  assert not outcome['records']
  assert 'one picture is shown for 1.6 s' in outcome['dropped'][0]['reason']

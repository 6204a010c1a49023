"""Views of clips, hats and trembling, on made-up faces."""

import dataclasses
import json

import numpy as np
import pytest

from bench import limit_pictures, limit_scores, limit_tables, limits
from mdcf_jax.clips import Video
from mdcf_jax.metrics import landmarks
from tests.metrics import face_tracks, pictures

View = limits.View
SIZE, COUNT = 64, 16


def face(moved=None):
  """A track of COUNT frames, moved by `[COUNT, 2]` sides of the picture."""
  track = face_tracks.track(0.05 + 0.02 * np.sin(np.arange(COUNT)))
  points = track.landmarks.copy()
  points[:, 234], points[:, 454] = (0.3, 0.5), (0.7, 0.5)
  points[:, 10] = 0.5, 0.35
  moved = np.zeros((COUNT, 2)) if moved is None else moved
  points = (points + moved[:, None]).astype(np.float32)
  box = np.tile(np.float32([0.3, 0.35, 0.7, 0.8]), (COUNT, 1))
  box += np.tile(moved, 2).astype(np.float32)
  return dataclasses.replace(track, landmarks=points, face_box=box)


def middle(wide):
  """The centred square of `[T, H, W, 3]`, as (x, y, side, side)."""
  height, width = wide.shape[1:3]
  return (width - height) // 2, 0, height, height


@pytest.mark.parametrize('shift', [0.0, 0.1, 0.3])
def test_what_the_square_shows_comes_back_and_the_rest_stays(shift):
  frames = pictures.frames(3, SIZE)
  wide, place = limit_pictures.canvas(frames, View(shift=shift))
  x, y, side, _ = middle(wide)
  assert side == SIZE
  cut = wide[:, y : y + side, x : x + side]
  moved = round(shift * SIZE)
  np.testing.assert_array_equal(cut[:, :, moved:], frames[:, :, : SIZE - moved])
  found = limit_pictures.back(cut, (x, y, side, side), place, frames[0])
  np.testing.assert_array_equal(
    found[:, :, : SIZE - moved], frames[:, :, : SIZE - moved]
  )
  outside = found[:, :, SIZE - moved :]
  np.testing.assert_array_equal(
    outside, np.repeat(frames[:1, :, SIZE - moved :], 3, 0)
  )


def test_a_small_face_is_as_small_as_said():
  frames = pictures.frames(1, SIZE)
  wide, (left, top) = limit_pictures.canvas(frames, View(share=0.3))
  assert wide.shape[1] == 2 * SIZE and top == SIZE // 2
  inside = wide[:, top : top + SIZE, left : left + SIZE]
  np.testing.assert_array_equal(inside, frames)
  with pytest.raises(ValueError, match='leaves the picture'):
    limit_pictures.canvas(frames, View(shift=0.9))


def test_the_hat_lies_over_the_brow_and_moves_with_the_face():
  points = face().landmarks[0] * SIZE
  hat = limit_pictures.Hat(points, SIZE)
  rows, columns = np.nonzero(hat.mask)
  assert rows.max() < points[10, 1] + 5 and len(rows) > 200
  assert columns.mean() == pytest.approx(points[10, 0], abs=1)
  ground = np.zeros((SIZE, SIZE, 3), np.uint8)
  shift = np.array([[1.0, 0, 3], [0, 1, 2]])
  moved, still = hat(ground, shift), hat(ground, np.eye(2, 3))
  # Bicubic at whole pixels is the pixel itself.
  np.testing.assert_array_equal(moved[2:, 3:], still[:-2, :-3])


def test_a_hat_that_stays_behind_is_seen():
  # Flow finds it in windows of 25 pixels: the picture is of 160.
  way = np.linspace(0, 0.05, COUNT)
  track = face(np.stack([way, 0.5 * way], axis=-1))
  ground = np.random.default_rng(0).integers(110, 145, (20, 20, 3))
  ground = np.kron(ground, np.ones((8, 8, 1))).astype(np.uint8)
  frames = np.repeat(ground[None], COUNT, 0)
  along, mask = limit_pictures.with_hat(frames, track.landmarks)
  slope, moved = limit_scores.follows(along, track.landmarks, mask)
  # The window mixes some of the ground in, along the hat's edges.
  assert 0.85 < slope < 1.1 and moved > 2
  behind = np.repeat(along[:1], COUNT, 0)
  slope, _ = limit_scores.follows(behind, track.landmarks, mask)
  assert slope == pytest.approx(0, abs=0.02)
  slope, moved = limit_scores.follows(behind, face().landmarks, mask)
  assert slope is None and moved == pytest.approx(0, abs=1e-3)


def test_fast_motion_of_the_parts_without_that_of_the_head():
  count, far = 50, 0.01
  time = np.arange(count) / limit_scores.FPS
  points = np.repeat(face().landmarks[:1].astype(float), count, 0)

  def moved(part, hertz):
    x = points.copy()
    x[:, list(part), 1] += far * np.sin(2 * np.pi * hertz * time)[:, None]
    return limit_scores.trembling(x)

  # A point's sine has amplitude / sqrt(2) as the root of its mean square.
  wanted = 100 * far / face_tracks.EYE_DISTANCE / np.sqrt(2)
  found = moved(limit_scores.BROWS, 6)
  assert found['brows'] == pytest.approx(wanted, rel=0.02)
  assert found['lips'] == pytest.approx(0, abs=1e-9)
  assert moved(limit_scores.BROWS, 1)['brows'] < 0.01 * wanted
  whole = moved(range(478), 6)
  assert max(whole.values()) < 1e-9
  assert not set(limit_scores.LIDS + limit_scores.BROWS) & set(landmarks.STEADY)


def test_scores_know_true_frames_from_spoiled_ones():
  frames, track = pictures.frames(COUNT, SIZE), face()
  same = limit_scores.of_face(frames, track, frames, track)
  assert same['psnr_face'] == same['psnr_above'] == 100
  assert same['high_frequency_ratio_above'] == pytest.approx(1)
  assert same['mouth_correlation'] == pytest.approx(1)
  soft = pictures.blur(frames, 2)
  spoiled = limit_scores.of_face(soft, track, frames, track)
  assert spoiled['psnr_face'] < 40
  assert spoiled['high_frequency_ratio_face'] < 0.5
  assert spoiled['high_frequency_ratio_above'] < 0.5


def test_cells_tell_how_many_clips_they_are_of():
  assert limit_tables.cell([1.0, 1.0], 2, 1) == '1.0 [1.0, 1.0]'
  assert limit_tables.cell([1.0], 2, 1) == '1.0 [1.0, 1.0] (1)'
  assert limit_tables.cell([], 2, 1) == ''


@pytest.fixture
def given(tmp_path, tiny_weights, monkeypatch):
  """Arguments for one clip of a made-up set, with a face where it is asked."""
  from mdcf_jax.media import video

  (tmp_path / 'set').mkdir()
  rows = 'file,identity,split,has_audio\na.mp4,a,val,1\n'
  (tmp_path / 'set' / 'manifest.csv').write_text(rows)
  sound = np.random.default_rng(0).normal(0, 0.1, COUNT * 640)
  with video.VideoWriter(
    tmp_path / 'set' / 'a.mp4', SIZE, 25, sound.astype(np.float32), 16000
  ) as writer:
    for frame in pictures.frames(COUNT, SIZE):
      writer.write(frame)
  track = face(np.linspace(0, 0.1, COUNT)[:, None] * np.ones(2))
  monkeypatch.setattr(limits.faces, 'track_faces', lambda *_, **__: track)
  monkeypatch.setattr(limits.inputs, 'find_faces', lambda *_: [face()])
  monkeypatch.setattr(limits.landmarker, 'find_model', lambda: 'a model')

  def generate(pipe, image, audio, **options):
    """Still: that is compiled elsewhere, and what is given is checked here."""
    clip = pipe.prepare(image, audio, **options)
    return Video(np.repeat(clip.image[None], clip.frames, 0), *audio)

  monkeypatch.setattr(limits.Pipeline, '__call__', generate)
  words = [f'--realset={tmp_path / "set"}', f'--output={tmp_path / "out"}']
  words += [f'--weights={tiny_weights}', '--seconds=0.64', '--steps=1']
  return [*words, '--views', 'as it is', 'share 0.45, auto']


def test_views_are_measured_once_and_kept(given, tmp_path, capsys, monkeypatch):
  assert limits.main(given) == 0
  text = capsys.readouterr().out
  data = json.loads((tmp_path / 'out' / 'limits.json').read_text())
  plain, auto = (data['clips']['a'][x] for x in given[-2:])
  assert set(plain) == {
    *('still', 'resized', 'reconstruction', 'generated', 'true', 'noise')
  }
  assert plain['resized']['psnr_face'] == 100  # Nothing was cut or resized.
  assert 10 < plain['reconstruction']['psnr_face'] < 100
  assert plain['generated']['high_frequency_ratio_face'] > 0
  assert plain['still']['psnr_face'] != auto['still']['psnr_face']
  assert '| share 0.45, auto |' in text and 'left' not in text
  monkeypatch.setattr(limits, 'Bench', None)  # It would be called.
  assert limits.main(given) == 0
  assert capsys.readouterr().out == text
  with pytest.raises(SystemExit):
    limits.main([*given, '--seed=1'])
  assert 'has seed 0, not 1' in capsys.readouterr().err

"""Faces: conventions on made-up detections, and on a real portrait."""

import builtins
import logging
import os
import pathlib

import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.media import faces, image

_PACKAGES = 'libgl1 .* libgles2'
PORTRAIT = pathlib.Path(__file__).parents[2] / 'assets/portrait.png'


@pytest.fixture(scope='module')
def model() -> pathlib.Path:
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  data = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared'))
  given = os.environ.get('MDCF_FACE_MODEL')
  path = pathlib.Path(given or data / 'weights' / faces.MODEL_NAME)
  if not path.is_file():
    pytest.skip(f'no face model at {path}')
  return path


def face_matrix(yaw=0.0, pitch=0.0, roll=0.0, shift=(0.0, 0.0, -30.0)):
  """The canonical face turned and shifted, as MediaPipe would give it."""
  y, p, r = np.deg2rad([yaw, -pitch, roll])
  turn_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
  turn_x = [[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]]
  turn_z = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
  matrix = np.eye(4)
  matrix[:3, :3] = np.array(turn_y) @ np.array(turn_x) @ np.array(turn_z)
  matrix[:3, 3] = shift
  return matrix


def test_angles_of_a_turned_face():
  pose = faces._pose(face_matrix(20, -10, 5), aspect=1.0)
  np.testing.assert_allclose(pose[:3], [20, -10, 5], atol=1e-4)


def test_place_and_size_of_a_face():
  near = faces._pose(face_matrix(shift=(0, 0, -30)), 1.0)
  far = faces._pose(face_matrix(shift=(0, 0, -60)), 1.0)
  # Twice as far is about half as high: the face itself has a depth.
  assert np.log(2) < near[5] - far[5] < np.log(2) + 0.1
  right = faces._pose(face_matrix(shift=(3, -2, -30)), 1.0)
  assert right[3] > 0.1 and right[4] > near[4]
  # In an image twice as wide the same face is half as far from the middle.
  wide = faces._pose(face_matrix(shift=(3, -2, -30)), 2.0)
  np.testing.assert_allclose(wide[3:], right[3:] * [0.5, 1, 1], atol=1e-6)


def test_openness_is_the_gap_over_the_height():
  marks = np.zeros((2, 478, 2))
  marks[:, 10], marks[:, 152] = (0.5, 0.2), (0.5, 0.8)
  marks[1, 14, 1] = 0.06
  np.testing.assert_allclose(faces.openness(marks), [0, 0.1], atol=1e-6)
  assert faces.guide_points(marks).shape == (2, 8, 2)


def test_gaps_are_interpolated():
  values = np.array([[0.0, 1.0], [4.0, 5.0]])
  filled = faces._fill_gaps(values, np.array([0, 1, 0, 0, 0, 1, 0], bool))
  assert filled[:, 0].tolist() == [0, 0, 1, 2, 3, 4, 4]


def made_up_track(num_frames=20):
  """Boxes and poses of a head that turns and moves."""
  time = np.linspace(0, 1, num_frames)[:, None]
  boxes = np.array([0.3, 0.2, 0.6, 0.6]) + 0.2 * time
  pose = np.array([-30, 5, 0, 0, 0, -1]) + time * [60, 0, 0, 0, 0, 0]
  return boxes, pose, np.arange(num_frames)


@pytest.mark.parametrize('length', [1, 3])
def test_what_cannot_be_true_counts_as_not_seen(length):
  boxes, pose, times = made_up_track()
  assert not faces._outliers(boxes, pose, times).any()
  expected = (times >= 7) & (times < 7 + length)
  elsewhere = boxes.copy()
  elsewhere[expected] = (0.7, 0.1, 0.9, 0.3)
  assert (faces._outliers(elsewhere, pose, times) == expected).all()
  wild = pose.copy()
  wild[expected, 2] += 90
  assert (faces._outliers(boxes, wild, times) == expected).all()


def test_what_stays_is_true():
  """Another place for good, at an end, or after a gap is no mistake."""
  boxes, pose, times = made_up_track()
  boxes[10:] += (0.5, 0, 0.5, 0)
  assert not faces._outliers(boxes, pose, times).any()
  boxes, pose, times = made_up_track()
  pose[0, 2] = pose[-1, 2] = 90
  assert not faces._outliers(boxes, pose, times).any()
  boxes, pose, times = made_up_track()
  boxes[5] += (0.5, 0, 0.5, 0)
  times[5:] += 10
  times[6:] += 10
  assert not faces._outliers(boxes, pose, times).any()


def test_portrait(model):
  picture = image.read_image(PORTRAIT)
  face = faces.detect_faces(picture, model)[0]
  x0, y0, x1, y1 = face.face_box[0]
  assert 0.5 < y1 - y0 < 0.7 and abs(x0 + x1 - 1) < 0.1
  yaw, pitch, roll, x, y, s = face.pose[0]
  assert max(abs(yaw), abs(pitch), abs(roll)) < 15
  assert abs(x) < 0.1 and abs(y) < 0.15 and abs(np.exp(s) - (y1 - y0)) < 0.15
  assert (face.blink > 0.2).all()
  mouth = face.mouth_box[0]
  assert x0 < mouth[0] < mouth[2] < x1 and y0 < mouth[1] < mouth[3] < y1
  # The eyes: the person's left one is at the right of the image.
  assert face.landmarks[0, 263, 0] > face.landmarks[0, 33, 0]


def test_mirrored_and_turned_portrait(model):
  """Signs: counter-clockwise roll is positive; a mirror changes yaw's sign."""
  from PIL import Image

  picture = image.read_image(PORTRAIT)
  pose = faces.detect_faces(picture, model)[0].pose[0]
  mirrored = faces.detect_faces(picture[:, ::-1], model)[0].pose[0]
  np.testing.assert_allclose(mirrored[[0, 2]], -pose[[0, 2]], atol=2)
  turned = np.asarray(Image.fromarray(picture).rotate(15))
  turned = faces.detect_faces(turned, model)[0].pose[0]
  assert turned[2] - pose[2] == pytest.approx(15, abs=3)


def test_track_with_dropped_detections(model):
  picture = image.read_image(PORTRAIT)
  moved = np.roll(picture, 16, axis=1)
  frames = np.stack([picture, np.zeros_like(picture), moved])
  track = faces.track_faces(frames, model)
  assert track.detected.tolist() == [True, False, True]
  shapes = [v.shape for v in vars(track).values()]
  assert shapes == [(3, 6), (3, 2), (3, 4), (3, 4), (3, 478, 2), (3,)]
  assert all(np.isfinite(v).all() for v in vars(track).values())
  step = np.diff(track.pose[:, 3])
  # 16 of 256 pixels are 0.125 of the range [-1, 1].
  assert step.sum() == pytest.approx(0.125, abs=0.02)
  assert step[0] == pytest.approx(step[1], abs=1e-6)


def test_track_with_a_glimpse_of_another_face(model):
  """For two frames only another face is seen: they are filled."""
  picture = image.read_image(PORTRAIT)
  empty = np.zeros_like(picture)
  here = np.concatenate([picture, empty], axis=1)
  there = np.concatenate([empty, picture], axis=1)
  frames = [here, here, there, there, here, here]
  track = faces.track_faces(frames, model, max_faces=1)
  assert track.detected.tolist() == [True, True, False, False, True, True]
  assert (track.face_box[:, 2] < 0.5).all()
  # The numbers of a frame that counts are those it has on its own.
  alone = faces.detect_faces(here, model)[0]
  np.testing.assert_array_equal(track.pose[4], alone.pose[0])


def test_no_face_and_several_faces(model, caplog):
  with pytest.raises(InputError, match='no face found in a.mp4 .2 frames'):
    faces.track_faces(np.zeros((2, 64, 64, 3), np.uint8), model, name='a.mp4')
  with pytest.raises(InputError, match='no face found in a.png'):
    faces.locate_face(np.zeros((64, 64, 3), np.uint8), model, name='a.png')
  picture = image.read_image(PORTRAIT)
  small = np.pad(picture[::2, ::2], ((64, 64), (64, 64), (0, 0)), mode='edge')
  both = np.concatenate([small, picture], axis=1)
  with caplog.at_level(logging.WARNING):
    box = faces.locate_face(both, model)
  assert '2 faces' in caplog.text and (box[0] + box[2]) / 2 > 0.5
  # The tracker stays with the face it has, even when another is larger.
  alone = np.concatenate([small, np.zeros_like(picture)], axis=1)
  track = faces.track_faces([alone, both, both], model)
  assert (track.face_box[:, 2] < 0.5).all()


def test_missing_model_is_said(tmp_path, monkeypatch):
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  monkeypatch.delenv('MDCF_FACE_MODEL', raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  picture = np.zeros((64, 64, 3), np.uint8)
  with pytest.raises(InputError, match='mdcf download faces'):
    faces.locate_face(picture)
  wrong = tmp_path / 'wrong.task'
  wrong.write_bytes(b'no model')
  with pytest.raises(InputError, match='wrong.task: not a face model'):
    faces.locate_face(picture, wrong)


@pytest.mark.parametrize(
  ('error', 'advice'),
  [
    (ModuleNotFoundError("No module named 'mediapipe'"), r'\.\[faces\]'),
    (
      ImportError('libGL.so.1: cannot open shared object'),
      _PACKAGES,
    ),
    (OSError('libEGL.so.1: cannot open shared object'), _PACKAGES),
  ],
)
def test_mediapipe_that_cannot_be_imported(monkeypatch, error, advice):
  original = builtins.__import__

  def fail(name, *args, **kwargs):
    if name.startswith('mediapipe'):
      raise error
    return original(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', fail)
  with pytest.raises(InputError, match=advice):
    faces.locate_face(np.zeros((64, 64, 3), np.uint8))

"""Pose and blink of a video, fitted to a portrait and a number of frames."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from mdcf_jax import driving
from mdcf_jax.errors import InputError, NoFace
from mdcf_jax.media import face_search, faces, image
from mdcf_jax.media.writer import VideoWriter

PORTRAIT = pathlib.Path(__file__).parents[1] / 'assets/portrait.png'


def track(count: int, detected=None) -> faces.FaceTrack:
  """A head that turns and opens its eyes, right of the middle."""
  time = np.arange(count, dtype=np.float32)
  pose = np.zeros((count, 6), np.float32)
  pose[:, 0], pose[:, 3], pose[:, 5] = time, 0.25, np.log(0.3)
  blink = np.repeat(0.1 + 0.01 * time[:, None], 2, 1)
  box = np.tile(np.float32([0.55, 0.3, 0.7, 0.6]), (count, 1))
  detected = np.ones(count, bool) if detected is None else detected
  return faces.FaceTrack(
    pose, blink, box, box, np.zeros((count, 478, 2)), detected
  )


@pytest.fixture
def clip(tmp_path, monkeypatch):
  """Writes a grey video; what is tracked in it is `track`, or given."""

  def write(count, size=(64, 128), detected=None):
    path = tmp_path / 'nod.mp4'
    with VideoWriter(path, size, mark=False, sign=False) as writer:
      for _ in range(count):
        writer.write(np.full((*size, 3), 128, np.uint8))

    def track_faces(frames, *, name):
      assert name == str(path)
      return track(sum(1 for _ in frames), detected)

    monkeypatch.setattr(faces, 'track_faces', track_faces)
    monkeypatch.setattr(face_search, 'find_boxes', lambda _: [])
    return path

  return write


def test_short_videos_run_to_and_fro():
  assert driving.to_and_fro(3, 9).tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]
  assert driving.to_and_fro(5, 3).tolist() == [0, 1, 2]
  assert driving.to_and_fro(1, 3).tolist() == [0, 0, 0]
  assert driving.to_and_fro(2, 4).tolist() == [0, 1, 0, 1]
  # No jump: neighbours are neighbours.
  assert (np.abs(np.diff(driving.to_and_fro(7, 100))) == 1).all()


def test_place_and_size_are_those_in_the_square():
  pose = np.float32([[10, 5, 1, 0.25, 0.0, np.log(0.3)]])
  # The middle of the face is at (125, 50) of 200 x 100.
  square = 100, 25, 50, 50
  made = driving.in_square(pose, square, 200, 100)
  np.testing.assert_allclose(made, [[10, 5, 1, 0, 0, np.log(0.6)]], atol=1e-6)
  whole = driving.in_square(pose, (0, 0, 100, 100), 100, 100)
  np.testing.assert_allclose(whole, pose, atol=1e-6)


def test_relative_poses_are_changes_in_sizes_of_the_face():
  source = np.float32([5, 0, 0, 0.1, 0.1, np.log(0.6)])
  pose = np.float32(
    [
      [175, 3, 0, 0.2, 0.0, np.log(0.3)],
      [-175, 3, 0, 0.3, 0.0, np.log(0.33)],
    ]
  )
  made = driving.pose_of(pose, source, 'relative')
  np.testing.assert_allclose(made[0], source, atol=1e-6)
  # Over 180 degrees; a third of the face of 0.3 is a third of that of 0.6.
  expected = [15, 0, 0, 0.3, 0.1, np.log(0.66)]
  np.testing.assert_allclose(made[1], expected, atol=1e-5)
  np.testing.assert_array_equal(driving.pose_of(pose, source, 'absolute'), pose)


def test_relative_blinks_shut_any_eyes():
  blink = np.full((20, 2), 0.2, np.float32)
  blink[0] = blink[7] = 0.02  # It begins with a blink.
  source = np.float32([0.3, 0.4])
  made = driving.blink_of(blink, source, 'relative')
  np.testing.assert_allclose(made[3], source, rtol=1e-6)
  np.testing.assert_allclose(made[7], 0.1 * source, rtol=1e-6)
  assert driving.blink_of(blink, source, 'absolute') is blink


def test_a_video_is_cut_or_repeated(clip):
  path = clip(10)
  pose, blink = driving.read_motion(path, 25)
  assert pose.shape == (25, 6) and blink.shape == (25, 2)
  order = driving.to_and_fro(10, 25)
  np.testing.assert_allclose(pose[:, 0], order)
  np.testing.assert_allclose(blink[:, 0], 0.1 + 0.01 * order, rtol=1e-5)
  # In the square around the face: that is in the middle, at its usual size.
  assert abs(pose[0, 3]) < 0.05 and abs(np.exp(pose[0, 5]) - 0.56) < 0.05
  pose, _ = driving.read_motion(path, 4)
  assert pose[:, 0].tolist() == [0, 1, 2, 3]


def test_square_videos_stay_whole_where_the_face_is_large(clip, monkeypatch):
  path = clip(3, (64, 64))
  pose, _ = driving.read_motion(path, 3)
  assert abs(np.exp(pose[0, 5]) - 0.56) < 0.05
  found = track(3)
  found.face_box[:] = 0.2, 0.2, 0.8, 0.8
  monkeypatch.setattr(faces, 'track_faces', lambda *_, **__: found)
  pose, _ = driving.read_motion(path, 3)
  np.testing.assert_allclose(pose[:, 3:], found.pose[:, 3:], atol=1e-6)


def test_far_faces_are_looked_at_from_nearby(clip, monkeypatch):
  """In a square around them, and are told as in the whole picture."""
  path = clip(3, (400, 800))
  box = np.float32([0.7, 0.2, 0.75, 0.3])  # 40 pixels high.
  monkeypatch.setattr(face_search, 'find_boxes', lambda _: [box])
  looked = []

  def track_faces(frames, *, name):
    looked.extend(frame.shape for frame in frames)
    return track(3)

  monkeypatch.setattr(faces, 'track_faces', track_faces)
  pose, _ = driving.read_motion(path, 3)
  assert set(looked) == {(480, 480, 3)}
  found = track(3)  # As if in that square.
  square = image.square_around(found.face_box[0], 100, 100)
  expected = driving.in_square(found.pose, square, 100, 100)
  np.testing.assert_allclose(pose, expected, atol=0.02)
  x, y, side = driving._near(np.zeros((400, 800, 3), np.uint8))
  assert x < 560 and x + side > 600 and 0 <= y < 40 and 150 < side < 200


def test_too_few_faces_are_an_error(clip):
  detected = np.arange(10) < 5
  driving.read_motion(clip(10, detected=detected), 10)
  detected[0] = False
  path = clip(10, detected=detected)
  with pytest.raises(NoFace, match='nod.mp4: a face is seen in 4 of 10'):
    driving.read_motion(path, 10)


def test_one_video_for_both_is_read_once(clip, monkeypatch):
  path = clip(5)
  calls = []
  original = driving.read_motion
  monkeypatch.setattr(
    driving, 'read_motion', lambda *a: calls.append(a) or original(*a)
  )

  class Source:
    pose, blink = np.zeros(6, np.float32), np.float32([0.3, 0.3])

  videos = dict(pose=str(path), blink=path)
  made = driving.read(videos, Source, 'relative', 5)
  assert sorted(made) == ['blink', 'pose'] and len(calls) == 1
  assert made['pose'][:, 0].tolist() == [0, 1, 2, 3, 4]
  videos = dict(pose=None, blink=path)
  assert list(driving.read(videos, Source, 'absolute', 5)) == ['blink']


def test_each_comes_from_one_place():
  generated = dict(pose='generated', blink='generated')
  none = dict(pose=None, blink=None)
  driving.check(generated, dict(pose='a.mp4', blink=None), 'absolute')
  driving.check(dict(pose=np.zeros((1, 6)), blink='none'), none, 'relative')
  with pytest.raises(InputError, match='relative, absolute'):
    driving.check(generated, none, 'both')
  given = generated | dict(blink=np.zeros((1, 2)))
  with pytest.raises(InputError, match='blink and blink_from are given'):
    driving.check(given, dict(pose=None, blink='a.mp4'), 'relative')


def test_a_real_face_that_wanders(test_data, tmp_path, monkeypatch):
  """A portrait moved through a wide video, and back in its square."""
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  model = test_data / 'weights' / faces.MODEL_NAME
  if not model.is_file():
    pytest.skip(f'no face model at {model}')
  monkeypatch.setenv('MDCF_FACE_MODEL', str(model))
  portrait = np.asarray(Image.open(PORTRAIT).convert('RGB'))
  path = tmp_path / 'wide.mp4'
  with VideoWriter(path, (256, 512), mark=False, sign=False) as writer:
    for x in (100, 104, None, 112):
      frame = np.full((256, 512, 3), 90, np.uint8)
      if x is not None:
        frame[:, x : x + 256] = portrait
      writer.write(frame)
  pose, blink = driving.read_motion(path, 4)
  alone = faces.detect_faces(portrait)[0]
  # A square is cut around the face of which the portrait is about one.
  np.testing.assert_allclose(pose[0, 5], alone.pose[0, 5], atol=0.1)
  step = np.diff(pose[:, 3])
  # 4 of about 256 pixels a frame, the third interpolated.
  np.testing.assert_allclose(step, 8 / 256, atol=0.02)
  assert (blink > 0.15).all()

"""The drawn head: exact flow, and numbers that agree with the pictures."""

import dataclasses
import time

import numpy as np
import pytest

from mdcf_jax.data import builder, records, synthetic, talking_head
from mdcf_jax.errors import InputError


def _warp(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
  """Bilinear sampling of `[R, R, C]`, corner convention, border repeated."""
  side = len(image) - 1
  x, y = np.moveaxis(np.clip((grid + 1) / 2 * side, 0, side), -1, 0)
  left = np.minimum(x.astype(int), side - 1)
  top = np.minimum(y.astype(int), side - 1)
  right, down = (x - left)[..., None], (y - top)[..., None]
  upper = image[top, left] * (1 - right) + image[top, left + 1] * right
  lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
  return upper * (1 - down) + lower * down


@pytest.mark.parametrize('seed', range(4))
def test_flow_takes_the_source_to_the_driving_frame(seed):
  head = synthetic.make_identity(seed)
  state, _ = synthetic.make_motion(seed, 100, head.pitch_hz)
  source, driving = state[10], state[70]
  grid, visible = talking_head.flow(head, source, driving, 192)
  before, after = (
    talking_head.render(head, s, 192)[0].astype(float)
    for s in (source, driving)
  )
  error = np.abs(_warp(before, grid[0]) - after).mean(-1)[visible[0]]
  unmoved = np.abs(before - after).mean(-1)[visible[0]]
  assert visible.mean() > 0.7
  # Of 255. Bilinear sampling blurs brows and iris; all else is exact.
  assert error.mean() < 0.4
  assert np.percentile(error, 99) < 5
  assert error.mean() < unmoved.mean() / 10


def test_flow_between_equal_states_is_the_identity():
  head = synthetic.make_identity(0)
  state, _ = synthetic.make_motion(0, 5)
  grid, visible = talking_head.flow(head, state[3], state[3], 64)
  line = np.linspace(-1, 1, 64)
  expected = np.stack(np.meshgrid(line, line), axis=-1)
  # Float32 there and back, and the silhouette's steep sides.
  np.testing.assert_allclose(
    grid[0][visible[0]], expected[visible[0]], atol=1e-3
  )


def test_flow_hides_what_the_source_does_not_show():
  head = synthetic.make_identity(2)
  state, _ = synthetic.make_motion(2, 5)
  shut = dataclasses.replace(state[0], mouth=np.zeros(1, np.float32))
  wide = dataclasses.replace(state[0], mouth=np.ones(1, np.float32))
  marks = talking_head.landmarks(head, wide)[0]
  column, row = (marks[:2].mean(0) * 128).astype(int)
  _, visible = talking_head.flow(head, shut, wide, 128)
  assert not visible[0, row, column]  # The inside of the mouth is new.
  _, visible = talking_head.flow(head, wide, wide, 128)
  assert visible[0, row, column]


def test_landmarks_follow_the_flow():
  """A driving landmark comes from where the source has that landmark."""
  head = synthetic.make_identity(1)
  state, _ = synthetic.make_motion(1, 60)
  size = 256
  grid, _ = talking_head.flow(head, state[5], state[40], size)
  before, after = (talking_head.landmarks(head, state[t])[0] for t in (5, 40))
  nose = np.round(after[7] * size - 0.5).astype(int)
  found = grid[0, nose[1], nose[0]] * (size - 1) / size / 2 + 0.5
  np.testing.assert_allclose(found, before[7], atol=1.5 / size)


def test_pose_signs():
  """Right, up and counter-clockwise are positive, as in FaceTrack."""
  head = synthetic.make_identity(0)
  rest = np.zeros((4, 6), np.float32)
  rest[1, 0], rest[2, 1], rest[3, 2] = 15, 15, 15
  state = talking_head.State(
    rest, np.full((4, 2), 0.3, np.float32), np.zeros(4, np.float32)
  )
  still, yaw, pitch, roll = talking_head.landmarks(head, state)
  nose, chin = 7, 4
  assert yaw[nose, 0] > still[nose, 0] + 0.05
  assert pitch[nose, 1] < still[nose, 1] - 0.05
  assert roll[chin, 0] > still[chin, 0] + 0.05  # Top to the left.
  assert still[2, 0] < still[3, 0]  # The person's right is on the left.


def test_blink_is_the_aspect_ratio_of_the_eye():
  head = synthetic.make_identity(0)
  state = talking_head.State(
    np.zeros((1, 6), np.float32),
    np.float32([[0.3, 0.05]]),
    np.zeros(1, np.float32),
  )
  marks = talking_head.landmarks(head, state)[0]
  right, left = marks[5, 1], marks[6, 1]
  assert left < right  # The person's left eye is open: its lid is higher.
  opening = 2 * talking_head.EYE_WIDTH * head.width * (0.3 - 0.05)
  np.testing.assert_allclose(right - left, opening / 2, rtol=1e-3)


def test_boxes_contain_what_they_name():
  head = synthetic.make_identity(3)
  state, _ = synthetic.make_motion(3, 50)
  marks = talking_head.landmarks(head, state)
  face = synthetic.face_boxes(head, state)[:, None]
  mouth = synthetic.mouth_boxes(head, state)[:, None]
  assert np.all((marks >= face[..., :2]) & (marks <= face[..., 2:]))
  lips = marks[:, :4]
  assert np.all((lips >= mouth[..., :2]) & (lips <= mouth[..., 2:]))


def test_mouth_follows_the_sound():
  state, waveform = synthetic.make_motion(5, 200)
  energy = np.square(waveform.reshape(200, -1)).mean(1)
  assert np.corrcoef(state.mouth, np.log(energy + 1e-4))[0, 1] > 0.7
  assert np.abs(waveform).max() <= 1
  assert 0.3 < state.mouth.max() <= 1


def test_smooth_edges_agree_between_resolutions():
  head = synthetic.make_identity(4)
  state, _ = synthetic.make_motion(4, 3)
  large = talking_head.render(head, state, 256).astype(float)
  small = talking_head.render(head, state, 64).astype(float)
  reduced = large.reshape(3, 64, 4, 64, 4, 3).mean((2, 4))
  # Painting without smooth edges would differ by several levels of 255.
  assert np.abs(reduced - small).mean() < 1.5


def test_clip_is_a_valid_record_and_repeats():
  first = synthetic.make_clip(7, 12, 64)
  second = synthetic.make_clip(7, 12, 64)
  records.validate(first)
  assert first['frames'] == second['frames']
  assert len(first['waveform']) == 12 * records.SAMPLES_PER_FRAME
  other = synthetic.make_clip(8, 12, 64, identity=7)
  assert other['identity'] == first['identity'] and other['id'] != first['id']


def test_drawing_is_fast():
  """Far below what one idle core does, so that a busy one passes."""
  head = synthetic.make_identity(0)
  state, _ = synthetic.make_motion(0, 64)
  talking_head.render(head, state[[0]], 64)
  start = time.process_time()
  talking_head.render(head, state, 64)
  assert 64 / (time.process_time() - start) > 50


def test_a_dataset_of_drawn_clips(tmp_path):
  """Both splits can be read, and nobody is in both."""
  folder = synthetic.write_dataset(
    tmp_path / 'set', num_train=3, num_val=1, num_frames=5, resolution=32
  )
  people = {}
  for split in ('train', 'val'):
    source = builder.open_source(tmp_path / 'set', split)
    found = [records.from_source(source[i]) for i in range(len(source))]
    for record in found:
      records.validate(record)
      assert len(record['frames']) == 5
      assert records.decode_jpeg(record['frames'][0]).shape == (32, 32, 3)
    people[split] = {record['identity'] for record in found}
  assert folder.is_relative_to(tmp_path / 'set')
  assert len(people['train']) == 3 and len(people['val']) == 1
  assert not people['train'] & people['val']


def test_a_dataset_without_clips_is_none(tmp_path):
  with pytest.raises(InputError, match='no clips'):
    synthetic.write_dataset(tmp_path / 'set', num_train=0, num_val=0)

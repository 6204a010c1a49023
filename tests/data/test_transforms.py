"""Crops, mirrors and windows: pictures and numbers move together."""

import numpy as np
import pytest
from PIL import Image

from mdcf_jax.data import frames, records, synthetic, talking_head, transforms
from mdcf_jax.errors import InputError


@pytest.fixture(scope='module')
def record():
  return synthetic.make_clip(0, 20, 64)


def test_pair_has_two_different_frames(record):
  for seed in range(10):
    rng = np.random.default_rng(seed)
    sample = transforms.random_pair(record, rng, 64)
    assert sample['source'].shape == (64, 64, 3)
    assert np.abs(sample['source'] - sample['driving']).max() > 0


def test_pair_takes_frames_where_a_face_was_found(record):
  detected = np.zeros(20, bool)
  detected[[4, 9]] = True
  record = record | {'detected': detected}
  rng = np.random.default_rng(0)
  sample = transforms.random_pair(record, rng, 64)
  found = {sample[f'{k}_landmarks'].tobytes() for k in ('source', 'driving')}
  assert found == {record['landmarks'][t].tobytes() for t in (4, 9)}


def test_flip_of_points_is_its_own_inverse_and_swaps_sides():
  points = np.random.default_rng(0).random((3, 8, 2)).astype(np.float32)
  flipped = transforms.flip_points(points)
  np.testing.assert_allclose(transforms.flip_points(flipped), points, atol=1e-6)
  np.testing.assert_allclose(flipped[:, 2, 0], 1 - points[:, 3, 0], atol=1e-6)
  np.testing.assert_allclose(flipped[:, 5, 1], points[:, 6, 1], atol=1e-6)


def test_mirrored_head_has_the_mirrored_numbers():
  """Flipping pose, blink and points equals drawing the mirrored state."""
  head = synthetic.make_identity(0)
  state, _ = synthetic.make_motion(0, 10)
  blink = state.blink * np.float32([1.0, 0.4])  # A wink tells the eyes apart.
  state = talking_head.State(state.pose, blink, state.mouth)
  mirrored = talking_head.State(
    transforms.flip_pose(state.pose), blink[:, ::-1], state.mouth
  )
  np.testing.assert_allclose(
    transforms.flip_points(talking_head.landmarks(head, state)),
    talking_head.landmarks(head, mirrored),
    atol=1e-5,
  )
  np.testing.assert_allclose(
    transforms.flip_boxes(synthetic.mouth_boxes(head, state)),
    synthetic.mouth_boxes(head, mirrored),
    atol=1e-5,
  )


def test_crop_contains_the_mouth_and_keeps_points_on_their_pixels(record):
  for seed in range(50):
    rng = np.random.default_rng(seed)
    mouths = record['mouth_box'][rng.integers(0, 20, 2)]
    x0, y0, x1, y1 = transforms.random_crop(rng, mouths, 0.5)
    assert 0 <= x0 and 0 <= y0 and x1 <= 1 + 1e-9 and y1 <= 1 + 1e-9
    np.testing.assert_allclose(x1 - x0, y1 - y0)
    assert 0.5 <= x1 - x0 <= 1
    assert x0 <= mouths[:, 0].min() and x1 >= mouths[:, 2].max()
    assert y0 <= mouths[:, 1].min() and y1 >= mouths[:, 3].max()
  # A white dot stays under its point.
  image = np.zeros((64, 64, 3), np.uint8)
  image[40:42, 20:22] = 255
  crop = (0.25, 0.5, 0.75, 1.0)
  cropped = np.asarray(frames.resize(Image.fromarray(image), 64, crop))
  point = transforms.move_points(np.array([21 / 64, 41 / 64]), crop)
  row, column = np.unravel_index(cropped[..., 0].argmax(), (64, 64))
  assert abs(point[0] * 64 - column - 0.5) <= 2
  assert abs(point[1] * 64 - row - 0.5) <= 2


def test_mouth_that_does_not_fit_takes_the_whole_image():
  mouths = np.array([[0.0, 0.1, 1.0, 0.9], [0.2, 0.4, 0.5, 0.6]])
  rng = np.random.default_rng(0)
  assert transforms.random_crop(rng, mouths, 0.5) == frames.WHOLE


def test_short_clip_is_padded_and_masked(record):
  rng = np.random.default_rng(0)
  sample = transforms.random_window(record, rng, 32, 32)
  assert sample['frame_mask'].tolist() == [1] * 20 + [0] * 12
  assert sample['video'].shape == (32, 32, 32, 3)
  assert not sample['audio_emb'][20:].any()
  for key in ('pose', 'blink', 'mouth_box', 'video'):
    last = np.broadcast_to(sample[key][19], sample[key][20:].shape)
    np.testing.assert_array_equal(sample[key][20:], last)


def test_windows_of_several_lengths(record):
  """Every length from the shortest on, the rest masked; no end is favoured."""
  lengths, last = set(), set()
  for seed in range(60):
    rng = np.random.default_rng(seed)
    rows, mask = transforms.draw_rows(rng, 20, 12, min_frames=9)
    length = int(mask.sum())
    lengths.add(length)
    last.add(int(rows[length - 1]))
    assert rows.shape == mask.shape == (12,) and mask.dtype == np.float32
    assert mask.tolist() == [1] * length + [0] * (12 - length)
    assert np.all(np.diff(rows[:length]) == 1)
    assert np.all(rows[length:] == rows[length - 1])
  assert lengths == {9, 10, 11, 12}
  assert last == set(range(8, 20))
  # A clip may be shorter than the shortest window.
  rng = np.random.default_rng(0)
  rows, mask = transforms.draw_rows(rng, 5, 12, min_frames=9)
  assert rows.tolist() == [0, 1, 2, 3] + [4] * 8 and mask.sum() == 5


def test_one_length_draws_no_other_numbers(record):
  """Streams of runs from before there were several stay as they are."""
  one, other = (np.random.default_rng(7) for _ in range(2))
  rows, _ = transforms.draw_rows(one, 20, 8)
  assert rows[0] == other.integers(20 - 8 + 1)
  assert one.random() == other.random()


def test_a_shorter_window_ends_with_its_last_frame(record):
  rng = np.random.default_rng(1)
  sample = transforms.random_window(record, rng, 32, 12, min_frames=4)
  length = int(sample['frame_mask'].sum())
  assert 4 <= length < 12
  assert not sample['audio_emb'][length:].any()
  for key in ('pose', 'blink', 'mouth_box', 'video'):
    last = np.broadcast_to(sample[key][length - 1], sample[key][length:].shape)
    np.testing.assert_array_equal(sample[key][length:], last)


def test_window_is_consecutive_and_the_source_is_its_first_frame(record):
  rng = np.random.default_rng(3)
  sample = transforms.random_window(record, rng, 64, 8)
  start = np.flatnonzero((record['pose'] == sample['pose'][0]).all(1))[0]
  np.testing.assert_array_equal(
    sample['pose'], record['pose'][start : start + 8]
  )
  np.testing.assert_array_equal(
    sample['audio_emb'],
    record['mel'][start : start + 8].astype(np.float32),
  )
  np.testing.assert_array_equal(sample['source'], sample['video'][0])
  np.testing.assert_array_equal(sample['source_pose'], sample['pose'][0])


def test_sound_belongs_to_the_frames(record):
  sound = np.arange(20 * 640, dtype=np.int16)
  record = dict(record, waveform=sound)
  rng = np.random.default_rng(3)
  sample = transforms.random_window(record, rng, 32, 8, pictures=False)
  start = np.flatnonzero((record['pose'] == sample['pose'][0]).all(1))[0]
  assert start > 0
  expected = sound[640 * start : 640 * (start + 8)] / 2**15
  np.testing.assert_array_equal(sample['waveform'], np.float32(expected))


@pytest.mark.parametrize('samples', [20 * 640, 19 * 640 + 100, 21 * 640])
def test_sound_is_silent_beyond_its_end(record, samples):
  record = dict(record, waveform=np.full(samples, 2**14, np.int16))
  rng = np.random.default_rng(0)
  sample = transforms.random_window(record, rng, 32, 32, pictures=False)
  heard = min(samples, 20 * 640)  # The clip has 20 frames.
  assert (sample['waveform'][:heard] == 0.5).all()
  assert not sample['waveform'][heard:].any()
  assert sample['waveform'].shape == (32 * 640,)


def test_opening_is_the_gap_between_the_lips(record):
  rng = np.random.default_rng(3)
  sample = transforms.random_window(record, rng, 32, 20, source='random')
  lips = record['landmarks'][:, :2]
  x, y = (lips[:, 1] - lips[:, 0]).T
  height = sample['face_box'][3] - sample['face_box'][1]
  # A head that comes nearer does not open its mouth.
  nearer = np.exp(sample['pose'][:, 5] - sample['source_pose'][5])
  expected = np.sqrt(x**2 + y**2) / (height * nearer)
  np.testing.assert_allclose(sample['opening'], expected, rtol=1e-5)
  source = np.flatnonzero(
    np.all(record['pose'] == sample['source_pose'], axis=-1)
  )[0]
  np.testing.assert_allclose(
    sample['source_opening'], expected[source], rtol=1e-5
  )
  assert np.ptp(expected) > 0.01


def test_another_voice_says_the_same(record):
  """Only the sound changes, frames outside of the clip stay silent."""
  plain, changed = (
    transforms.random_window(
      record,
      np.random.default_rng(0),
      32,
      32,
      augmentation=transforms.Augmentation(audio_jitter=jitter),
    )
    for jitter in (0.0, 1.0)
  )
  for key in set(plain) - {'audio_emb'}:
    np.testing.assert_array_equal(changed[key], plain[key], err_msg=key)
  assert np.abs(changed['audio_emb'] - plain['audio_emb'])[:20].mean() > 0.1
  assert not changed['audio_emb'][20:].any()


def test_smooth_poses_keep_their_mean_and_lose_their_jitter(record):
  rng = np.random.default_rng(0)
  still = np.float32(rng.standard_normal((200, 6)) + np.arange(6))
  found = transforms.smooth(still, 3.0)
  assert found.dtype == np.float32 and found.shape == still.shape
  np.testing.assert_allclose(found.mean(axis=0), still.mean(axis=0), atol=0.1)
  assert found.std(axis=0).max() < 0.5 * still.std(axis=0).min()
  ramp = np.repeat(np.arange(100.0)[:, None], 6, axis=1)
  inner = transforms.smooth(ramp, 2.0)[10:-10]
  np.testing.assert_allclose(inner, ramp[10:-10], rtol=1e-5)
  np.testing.assert_array_equal(transforms.smooth(still, 0.0), still)
  sample = transforms.random_window(record, rng, 32, 20, pose_smoothing=3.0)
  expected = transforms.smooth(record['pose'], 3.0)
  np.testing.assert_array_equal(sample['pose'], expected)
  np.testing.assert_array_equal(sample['source_pose'], expected[0])


def test_source_may_be_any_frame(record):
  poses = set()
  for seed in range(20):
    rng = np.random.default_rng(seed)
    sample = transforms.random_window(record, rng, 32, 4, source='random')
    poses.add(sample['source_pose'].tobytes())
  assert len(poses) > 8


def test_window_flips_everything_together(record):
  flips = 0
  for seed in range(8):
    plain, flipped = (
      transforms.random_window(
        record,
        np.random.default_rng(seed),
        32,
        4,
        augmentation=transforms.Augmentation(flip=flip),
      )
      for flip in (False, True)
    )
    if np.array_equal(plain['video'], flipped['video']):
      continue
    flips += 1
    mirrored = plain['video'][:, :, ::-1]
    np.testing.assert_array_equal(flipped['video'], mirrored)
    pose = transforms.flip_pose(plain['pose'])
    np.testing.assert_array_equal(flipped['pose'], pose)
    np.testing.assert_array_equal(flipped['blink'], plain['blink'][:, ::-1])
    np.testing.assert_array_equal(flipped['audio_emb'], plain['audio_emb'])
  assert 1 <= flips <= 7


def test_cached_latents_take_the_place_of_frames(record, tmp_path):
  mean = np.random.default_rng(0).random((2, 20, 2, 2, 4)).astype(np.float16)
  np.savez(
    tmp_path / f'{record["id"]}.npz',
    source_index=np.array([3, 11]),
    mean=mean,
    logvar=-mean,
    features=mean[:, 0],
  )
  latents = transforms.load_latents(tmp_path, record)
  rng = np.random.default_rng(0)
  flip = transforms.Augmentation(flip=True, color_jitter=0.5)
  sample = transforms.random_window(
    record, rng, 64, 6, video=False, latents=latents, augmentation=flip
  )
  assert 'video' not in sample
  drawn = int(np.array_equal(sample['source_pose'], record['pose'][11]))
  start = np.flatnonzero((record['pose'] == sample['pose'][0]).all(1))[0]
  expected = mean[drawn, start : start + 6].astype(np.float32)
  np.testing.assert_array_equal(sample['z_mean'], expected)
  np.testing.assert_array_equal(sample['z_logvar'], -expected)
  source = frames.load_frames(record, [(3, 11)[drawn]], 64)[0]
  np.testing.assert_array_equal(sample['source'], source)
  np.testing.assert_array_equal(sample['source_features'], mean[drawn, 0])


def test_latents_of_another_clip_are_refused(record, tmp_path):
  with pytest.raises(InputError, match='no usable latents'):
    transforms.load_latents(tmp_path, record)
  np.savez(
    tmp_path / f'{record["id"]}.npz',
    source_index=np.arange(1),
    mean=np.zeros((1, 5, 2, 2, 4)),
    logvar=np.zeros((1, 5, 2, 2, 4)),
    features=np.zeros((1, 2, 2, 3)),
  )
  with pytest.raises(InputError, match='20 frames'):
    transforms.load_latents(tmp_path, record)


def test_clip_without_sound_is_for_pairs_only(record):
  silent = record | {'mel': np.zeros((0, 320), np.float16)}
  assert not records.has_audio(silent)
  transforms.random_pair(silent, np.random.default_rng(0), 32)
  with pytest.raises(InputError, match='no sound'):
    transforms.random_window(silent, np.random.default_rng(0), 32, 4)

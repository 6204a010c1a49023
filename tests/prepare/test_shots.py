"""Shot cuts: found where clips were put together, and nowhere else."""

import itertools

import numpy as np
import pytest

from mdcf_jax.data import synthetic, talking_head
from mdcf_jax.media import video
from mdcf_jax.prepare import shots

_LENGTH = 40


def draw(seed: int, num_frames: int = _LENGTH) -> np.ndarray:
  """Frames of a drawn head that speaks, nods and blinks."""
  state, _ = synthetic.make_motion(seed, num_frames)
  return talking_head.render(synthetic.make_identity(seed), state, 96)


@pytest.fixture(scope='module')
def clips() -> list[np.ndarray]:
  return [draw(seed) for seed in range(4)]


def find(*parts: np.ndarray) -> list[int]:
  return list(shots.find_cuts(itertools.chain(*parts)))


def test_cuts_between_clips(clips):
  assert find(*clips) == [_LENGTH, 2 * _LENGTH, 3 * _LENGTH]


def test_short_shots_and_the_ends(clips):
  """A cut is found right after the first frame and right before the last."""
  first, second = clips[:2]
  assert find(first[:1], second) == [1]
  assert find(first, second[:1]) == [_LENGTH]
  assert find(first[:1], second[:1]) == [1]
  # Seven frames of a shot are more than a flash.
  assert find(first, second[:7], first) == [_LENGTH, _LENGTH + 7]


def test_one_shot_has_no_cut(clips):
  for clip in clips:
    assert find(clip) == []
  assert find(clips[0][:1]) == []
  assert find() == []
  assert find(np.zeros((30, 36, 64, 3), np.uint8)) == []


@pytest.mark.parametrize('length', [1, shots.FLASH])
def test_flashes_are_no_cuts(clips, length):
  flashed = clips[0].copy()
  flashed[20 : 20 + length] = 255
  assert find(flashed) == []
  flashed[20 : 20 + length] = clips[1][:length]  # Foreign frames in between.
  assert find(flashed) == []


def test_hands_and_cameras_are_no_cuts(clips):
  """A bar that swings through the picture, and a picture that pans."""
  waved = clips[2].copy()
  for k, frame in enumerate(waved):
    left = int(30 + 30 * np.sin(k))  # Crosses the picture in three frames.
    frame[40:, left : left + 25] = (200, 160, 130)
  assert find(waved) == []
  panned = [np.roll(frame, 6 * k, axis=1) for k, frame in enumerate(clips[3])]
  assert find(panned) == []


def test_noise_does_not_hide_a_cut(clips):
  rng = np.random.default_rng(0)
  joined = np.concatenate(clips[:2]).astype(np.float32)
  noisy = joined + rng.normal(0, 8, joined.shape)
  assert find(np.uint8(np.clip(noisy, 0, 255))) == [_LENGTH]


def test_repeated_frames_are_no_reason_for_a_cut(clips):
  """Ten pictures a second, each shown two or three times."""
  slow = clips[0][(np.arange(_LENGTH) * 10 // 25 * 25 // 10)]
  assert find(slow) == []


def test_memory_does_not_grow(clips):
  detector = shots.CutDetector()
  for frame in itertools.islice(itertools.cycle(clips[0]), 200):
    detector.push(frame)
  assert len(detector._pictures) < 20 and len(detector._steps) < 20


def test_real_clips_put_together(test_data):
  """Every cut between real people is found, and no other."""
  folder = test_data / 'realset/motion'
  people = {path.stem.split('_')[0]: path for path in folder.glob('*.mp4')}
  if not people:
    pytest.skip(f'no clips in {folder}')
  paths = [people[name] for name in sorted(people)][:24]
  parts = [
    list(video.iter_frames(path, resolution=96, max_frames=40))[10:]
    for path in paths
  ]
  ends = np.cumsum([len(part) for part in parts])
  assert find(*parts) == ends[:-1].tolist()

"""Detail: 1 for equal clips, less with every blur, known for noise."""

import numpy as np
import pytest

from mdcf_jax.errors import NoScore
from mdcf_jax.metrics import sharpness
from mdcf_jax.metrics.ssim import gaussian_blur

SCORES = (
  'laplacian_variance_ratio',
  'high_frequency_ratio_face',
  'high_frequency_ratio_head',
  'high_frequency_ratio_frame',
)


def clip(num=3, side=96, seed=0):
  """Noise between 100 and 156, and boxes of faces in it."""
  rng = np.random.default_rng(seed)
  frames = rng.integers(100, 157, (num, side, side, 3)).astype(np.uint8)
  return frames, np.tile([0.3, 0.4, 0.7, 0.9], (num, 1))


def blurred(frames, times):
  """Blurred with sigma 1.5, `times` times; the edges are repeated."""
  planes = np.moveaxis(frames, -1, 1).astype(float)
  for _ in range(times):
    wide = np.pad(planes, ((0, 0), (0, 0), (5, 5), (5, 5)), mode='edge')
    planes = gaussian_blur(wide)
  return np.uint8(np.rint(np.moveaxis(planes, 1, -1)))


def test_equal_clips_have_ratio_one():
  frames, boxes = clip()
  found = sharpness.compare(frames, frames.copy(), boxes, boxes)
  assert [found.values[name] for name in SCORES] == [1] * 4
  assert not found.missing and (found.frames, found.faces) == (3, 3)
  assert set(found.values) == {*SCORES, 'laplacian_variance'}


def test_scores_fall_with_blur():
  frames, boxes = clip()
  rows = [
    sharpness.compare(blurred(frames, n), frames, boxes, boxes).values
    for n in range(4)
  ]
  for name in (*SCORES, 'laplacian_variance'):
    series = [row[name] for row in rows]
    assert (np.diff(series) < 0).all(), name
    assert series[1] < 0.2 * series[0] and series[-1] > 0, name


@pytest.mark.parametrize('cutoff', [0.0, 0.125, 0.3])
def test_energy_of_white_noise(cutoff):
  rng = np.random.default_rng(0)
  grey = rng.normal(127, 20, (256, 200, 1)).repeat(3, axis=2)
  expected = 400 * (1 - np.pi * cutoff**2)
  # 51200 values under a window that keeps about a fifth of them: 1 % is one
  # standard deviation.
  found = sharpness.high_frequency_energy(grey, cutoff)
  assert found == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize(('cycles', 'share'), [(0.06, 0), (0.2, 1)])
def test_a_wave_is_above_the_cutoff_or_below(cycles, share):
  x = np.arange(128)
  wave = 127 + 30 * np.sin(2 * np.pi * cycles * x)
  image = np.broadcast_to(wave[None, :, None], (128, 128, 3))
  energy = sharpness.high_frequency_energy(image)
  # The window spreads a wave over some hundredths of a cycle a pixel.
  assert energy / 450 == pytest.approx(share, abs=0.01)
  assert sharpness.high_frequency_energy(image + 60) == pytest.approx(
    energy, abs=1e-6
  )


def test_laplacian_agrees_with_cv2():
  cv2 = pytest.importorskip('cv2')
  frames, _ = clip()
  grey = frames[0] @ sharpness.GREY
  expected = cv2.Laplacian(grey, cv2.CV_64F)[1:-1, 1:-1].var()
  assert sharpness.laplacian_variance(frames[0]) == pytest.approx(expected)
  x, y = np.meshgrid(np.arange(20), np.arange(20))
  ramp = np.stack([x + 2 * y] * 3, axis=-1).astype(np.uint8)
  assert sharpness.laplacian_variance(ramp) == pytest.approx(0, abs=1e-12)


def test_detail_lost_in_the_hair_is_lost_in_the_head():
  """And the face has kept its own."""
  frames, boxes = clip()
  bald = frames.copy()
  top = round(0.4 * 96)
  bald[:, :top] = blurred(frames, 2)[:, :top]
  found = sharpness.compare(bald, frames, boxes, boxes).values
  assert found['high_frequency_ratio_face'] > 0.99
  assert found['high_frequency_ratio_head'] < 0.9
  np.testing.assert_allclose(
    sharpness.head_box(boxes[0]), [0.2, 0.15, 0.8, 0.9]
  )
  np.testing.assert_array_equal(
    sharpness.head_box([0, 0.1, 1, 1]), [0, 0, 1, 1]
  )


def test_regions_are_the_pixels_a_box_touches():
  image = np.arange(40 * 80 * 3).reshape(40, 80, 3)
  cut = sharpness.region(image, np.array([0.26, 0.5, 2, 0.99]))
  np.testing.assert_array_equal(cut, image[20:, 20:])
  assert sharpness.region(image, np.array([0.1, 0, 0.2, 1])) is None
  assert sharpness.region(image, np.full(4, np.nan)) is None


def test_frames_without_a_face_enter_no_score():
  frames, boxes = clip(4)
  lost, pred = boxes.copy(), frames.copy()
  lost[[0, 2]] = np.nan
  pred[[0, 2]] = 0
  found = sharpness.compare(pred, frames, lost, boxes)
  assert (found.frames, found.faces) == (4, 2)
  assert [found.values[name] for name in SCORES] == [1] * 4
  # The longer clip is cut.
  found = sharpness.compare(pred, frames[:2], lost, boxes[:2])
  assert (found.frames, found.faces) == (2, 1)


def test_clips_without_a_score():
  frames, boxes = clip()
  none = np.full_like(boxes, np.nan)
  found = sharpness.compare(frames, frames, none, boxes)
  assert not found.values and len(found.missing) == 5
  tiny = np.tile([0.4, 0.4, 0.5, 0.5], (3, 1))
  found = sharpness.compare(frames, frames, tiny, boxes)
  assert 'at least 16 pixels' in found.missing['high_frequency_ratio_face']
  assert found.values['high_frequency_ratio_frame'] == 1
  flat = np.full_like(frames, 90)
  found = sharpness.compare(frames, flat, boxes, boxes)
  assert set(found.missing.values()) == {'the true frames have no detail'}
  with pytest.raises(NoScore, match='do not compare'):
    sharpness.compare(frames, frames[:, ::2], boxes, boxes)

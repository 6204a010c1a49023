"""PSNR and SSIM against their definitions and scikit-image."""

import numpy as np
import pytest

from mdcf_jax.metrics.psnr import psnr
from mdcf_jax.metrics.ssim import ssim


def images(shape=(3, 32, 40, 3), seed=0):
  rng = np.random.default_rng(seed)
  target = rng.uniform(-1, 1, shape).astype(np.float32)
  pred = np.clip(target + rng.normal(0, 0.2, shape), -1, 1)
  return pred.astype(np.float32), target


def test_psnr_of_a_constant_error():
  target = np.zeros((2, 16, 16, 3))
  np.testing.assert_allclose(psnr(target + 0.2, target), 20.0)  # 2 / 0.2
  assert np.all(np.isinf(psnr(target, target)))


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
  pred, target = images()
  np.testing.assert_allclose(ssim(target, target), 1.0, atol=1e-9)
  assert np.all(ssim(pred, target) < 0.99)
  assert ssim(pred, target).shape == (3,)


def test_scores_agree_with_scikit_image():
  metrics = pytest.importorskip('skimage.metrics')
  pred, target = images()
  for score, a, b in zip(psnr(pred, target), pred, target):
    expected = metrics.peak_signal_noise_ratio(b, a, data_range=2)
    np.testing.assert_allclose(score, expected, rtol=1e-5)
  for score, a, b in zip(ssim(pred, target), pred, target):
    expected = metrics.structural_similarity(
      b.astype(np.float64),
      a.astype(np.float64),
      data_range=2,
      channel_axis=-1,
      gaussian_weights=True,
      sigma=1.5,
      use_sample_covariance=False,
    )
    np.testing.assert_allclose(score, expected, rtol=1e-6)


@pytest.mark.parametrize('score', [psnr, ssim])
def test_shapes_must_agree(score):
  with pytest.raises(ValueError, match='16, 16'):
    score(np.zeros((16, 16, 3)), np.zeros((16, 16, 1)))


def test_ssim_names_the_size_that_is_too_small():
  with pytest.raises(ValueError, match='8x8'):
    ssim(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)))

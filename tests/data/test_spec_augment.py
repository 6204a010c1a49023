"""Other voices, rooms and microphones."""

import numpy as np
import pytest

from mdcf_jax.data import mel, spec_augment


def features(windows: int = 200, seed: int = 0) -> np.ndarray:
  """A ridge that climbs through the bands, `[windows / 4, 320]`."""
  time = np.arange(windows)[:, None]
  ridge = 20 + 30 * time / windows
  bands = np.exp(-np.square((np.arange(mel.NUM_BANDS) - ridge) / 4))
  return np.float32(3 * bands).reshape(-1, mel.FEATURES)


def test_strength_nought_changes_nothing():
  found = spec_augment.augment(features(), np.random.default_rng(0), 0)
  np.testing.assert_array_equal(found, features())


def test_a_seed_says_what_changes():
  one, same, other = (
    spec_augment.augment(features(), np.random.default_rng(seed))
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, same)
  assert one.dtype == np.float32 and one.shape == features().shape
  assert np.abs(one - other).mean() > 0.1


@pytest.mark.parametrize('strength', [0.5, 1.0, 2.0])
def test_more_strength_is_more_change(strength):
  def change(strength: float) -> float:
    rng = np.random.default_rng(0)
    changed = [
      spec_augment.augment(features(), rng, strength) for _ in range(20)
    ]
    return np.abs(np.stack(changed) - features()).mean()

  assert change(0.5 * strength) < 0.9 * change(strength)


@pytest.mark.parametrize('factor', [0.85, 1.0, 1.15])
def test_a_longer_vocal_tract_moves_the_bands(factor):
  bands = features().reshape(-1, mel.NUM_BANDS)
  ridge = spec_augment._warp(bands, factor).argmax(axis=1)
  np.testing.assert_allclose(ridge, bands.argmax(axis=1) / factor, atol=1.5)
  if factor == 1:
    np.testing.assert_array_equal(spec_augment._warp(bands, factor), bands)


def test_masks_hide_bands_and_moments():
  """With everything else small, what is exactly the mean is hidden."""
  silence = np.ones((50, mel.FEATURES), np.float32)
  hidden = []
  for seed in range(50):
    found = spec_augment.augment(silence, np.random.default_rng(seed))
    bands = found.reshape(-1, mel.NUM_BANDS) == 0
    hidden.append((bands.all(axis=0).sum(), bands.all(axis=1).sum()))
  of_bands, of_windows = np.array(hidden).T
  assert 10 < of_bands.mean() < 25 and of_bands.max() <= 40
  assert 4 < of_windows.mean() < 12 and of_windows.max() <= 16


def test_short_windows_stay_whole():
  for frames in (1, 2, 3):
    emb = features()[:frames]
    for seed in range(20):
      rng = np.random.default_rng(seed)
      assert spec_augment.augment(emb, rng, 3.0).shape == emb.shape

"""Mouth opening and its correlation over lags."""

import numpy as np
import pytest

from mdcf_jax.metrics import mouth


def test_log_energy_per_frame():
  waveform = np.concatenate([np.zeros(640), np.full(640, 0.5)])
  energy = mouth.log_energy(waveform, 3)  # The third frame is padding.
  np.testing.assert_allclose(energy, np.log([1e-6, 0.25 + 1e-6, 1e-6]))


def test_smoothing_keeps_constants_up_to_the_ends():
  np.testing.assert_allclose(mouth.smooth(np.full(7, 2.0)), 2.0)
  np.testing.assert_allclose(mouth.smooth(np.array([0.0, 3, 0]))[1], 1.0)


@pytest.mark.parametrize('lag', [-5, -2, 0, 3, 5])
def test_best_lag_finds_a_shift(lag):
  rng = np.random.default_rng(0)
  signal = rng.normal(size=200)
  truth, series = signal[20:120], signal[20 - lag : 120 - lag]
  score, found = mouth.best_lag_correlation(series, truth)
  assert found == lag
  # Not 1 exactly: the ends are smoothed over fewer frames.
  assert score > 0.99


def test_unrelated_and_still_mouths_score_low():
  rng = np.random.default_rng(1)
  a, b = rng.normal(size=(2, 400))
  assert mouth.best_lag_correlation(a, b)[0] < 0.25
  assert mouth.best_lag_correlation(np.ones(400), b)[0] == 0.0


def test_too_few_frames():
  with pytest.raises(ValueError, match='10 frames'):
    mouth.best_lag_correlation(np.zeros(10), np.zeros(30))


def test_frames_that_are_missing_are_left_out_in_pairs():
  """NaN neither spreads nor counts, and too many leave too few pairs."""
  series = np.array([1.0, np.nan, 3, 5, np.nan])
  np.testing.assert_array_equal(mouth.smooth(series), [1, np.nan, 4, 4, np.nan])
  signal = np.random.default_rng(0).normal(size=200)
  truth, series = signal[20:120], signal[17:117].copy()
  whole = mouth.best_lag_correlation(series, truth)[0]
  series[40:60] = np.nan
  score, lag = mouth.best_lag_correlation(series, truth)
  assert lag == 3 and score == pytest.approx(whole, abs=0.02)
  series[12:] = np.nan
  with pytest.raises(ValueError, match='12 frames'):
    mouth.best_lag_correlation(series, truth)

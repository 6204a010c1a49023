"""Log-mel features: where a tone lands, and what changes nothing."""

import numpy as np
import pytest

from mdcf_jax.data import mel


def tone(hertz: float, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
  time = np.arange(round(seconds * mel.SAMPLE_RATE)) / mel.SAMPLE_RATE
  return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def band_of(hertz: float) -> float:
  """Band whose triangle peaks at `hertz`, by the formula of the mel scale."""

  def to_mel(value):
    return 2595 * np.log10(1 + value / 700)

  return to_mel(hertz) / to_mel(8000) * (mel.NUM_BANDS + 1) - 1


@pytest.mark.parametrize('hertz', [200, 1000, 3000, 7000])
def test_tone_peaks_in_its_band(hertz):
  features = mel.log_mel(tone(hertz)).reshape(-1, 4, mel.NUM_BANDS)
  peaks = features[2:-2].argmax(-1)
  # Bands below 500 Hz are narrower than the window can resolve: one off.
  assert np.abs(peaks - band_of(hertz)).max() <= 1.0


def test_windows_are_centred_as_stated():
  """A click is loudest in the window whose centre it is nearest to."""
  for frame in (0, 3):
    for window in range(4):
      waveform = np.zeros(5 * 640, np.float32)
      waveform[640 * frame + 80 + 160 * window] = 1
      energy = mel.log_mel(waveform).reshape(5, 4, -1).sum(-1)
      assert np.unravel_index(energy.argmax(), (5, 4)) == (frame, window)


def test_pieces_equal_the_whole():
  waveform = np.random.default_rng(0).normal(size=50000) * 0.1
  whole = mel.log_mel(waveform)
  for size in (1, 7, 78):
    pieces = mel.log_mel(waveform, frames_per_piece=size)
    # Matrix products of other sizes add in another order.
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_shape_and_padding():
  waveform = tone(500, seconds=1.01)
  assert mel.log_mel(waveform).shape == (26, 320)
  longer = mel.log_mel(waveform, 40)
  assert longer.dtype == np.float32
  # Silence after the end is the same silence, however long.
  np.testing.assert_allclose(longer[:26], mel.log_mel(waveform), atol=1e-6)
  assert np.ptp(longer[28:]) == 0
  assert mel.log_mel(waveform, 10).shape == (10, 320)
  assert mel.log_mel(np.zeros(0, np.float32)).shape == (0, 320)


def test_loudness_does_not_matter():
  speech = tone(300) * np.repeat([1, 0, 1, 0], 4000)
  loud, quiet = mel.log_mel(speech), mel.log_mel(0.01 * speech)
  np.testing.assert_allclose(loud, quiet, atol=1e-4)  # float32 input.


def test_silence_and_nan_are_finite():
  silence = mel.log_mel(np.zeros(6400, np.float32))
  assert np.isfinite(silence).all()
  broken = tone(300)
  broken[1000:1100] = np.nan
  broken[5000] = np.inf
  assert np.isfinite(mel.log_mel(broken)).all()


def test_refuses_two_channels():
  with pytest.raises(ValueError, match=r'\[samples\]'):
    mel.log_mel(np.zeros((100, 2)))

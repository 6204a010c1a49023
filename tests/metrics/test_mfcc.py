"""Coefficients equal those of python_speech_features."""

import pathlib

import numpy as np
import pytest

from mdcf_jax.metrics.mfcc import mel_filters, mfcc, to_int16

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'


def test_stored_coefficients():
  sound = (3000 * np.random.RandomState(3).randn(3001)).astype(np.int16)
  with np.load(GOLDEN / 'sound_and_pictures.npz') as stored:
    assert stored['mfcc'].shape == (18, 13)
    # Both in double precision; sums are in another order.
    np.testing.assert_allclose(mfcc(sound), stored['mfcc'], atol=1e-10)


@pytest.mark.parity
@pytest.mark.parametrize('length', [1, 399, 400, 401, 560, 561, 16000, 12345])
def test_any_length(length):
  public = pytest.importorskip('python_speech_features')
  rng = np.random.RandomState(length)
  sound = (3000 * rng.randn(length)).astype(np.int16)
  theirs = public.mfcc(sound, 16000)
  np.testing.assert_allclose(mfcc(sound), theirs, atol=1e-10)
  silence = np.zeros(length, np.int16)
  np.testing.assert_allclose(mfcc(silence), public.mfcc(silence), atol=1e-10)


@pytest.mark.parity
def test_filters():
  public = pytest.importorskip('python_speech_features')
  theirs = public.get_filterbanks(26, 512, 16000)
  np.testing.assert_array_equal(mel_filters(), theirs)


def test_the_first_coefficient_is_the_energy():
  """Twice the amplitude is four times the energy."""
  sound = np.random.RandomState(0).randint(-9999, 9999, 4000)
  difference = mfcc(2 * sound) - mfcc(sound)
  np.testing.assert_allclose(difference[:, 0], np.log(4))
  np.testing.assert_allclose(difference[:, 1:], 0, atol=1e-9)


def test_integers_of_sound():
  """Halves go to the even neighbour, what is too loud is clipped."""
  sound = np.array([0, 1, -1, 1.5, -2, 0.5 / 32768, 1.5 / 32768, 1 / 32768])
  expected = [0, 32767, -32768, 32767, -32768, 0, 2, 1]
  assert to_int16(sound).dtype == np.int16
  np.testing.assert_array_equal(to_int16(sound), expected)


@pytest.mark.parametrize('shape', [(0,), (2, 400)])
def test_what_is_no_sound_is_an_error(shape):
  with pytest.raises(ValueError, match='not \\[samples\\]'):
    mfcc(np.zeros(shape))

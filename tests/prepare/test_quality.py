"""Quality figures: of signals whose figures are known."""

import math

import numpy as np
import pytest

from mdcf_jax.data import synthetic, talking_head
from mdcf_jax.media import faces
from mdcf_jax.prepare import quality

_RATE = 16000


def tone(seconds: float, amplitude: float) -> np.ndarray:
  time = np.arange(int(seconds * _RATE)) / _RATE
  return np.float32(amplitude * np.sin(2 * np.pi * 440 * time))


def test_loudness_of_a_tone():
  """A sine of amplitude a has the level 20 log10(a) - 3.01 dB."""
  for amplitude in (1.0, 0.1):
    expected = 20 * math.log10(amplitude) - 3.01
    assert quality.loudness(tone(2, amplitude)) == pytest.approx(
      expected, abs=0.02
    )
  short = quality.loudness(tone(0.1, 0.1))
  assert short == pytest.approx(-23.01, abs=0.05)
  integers = np.int16(tone(2, 0.1) * 32767)
  assert quality.loudness(integers) == pytest.approx(-23.01, abs=0.02)


def test_pauses_do_not_make_speech_quieter():
  speech = np.concatenate([tone(2, 0.1), np.zeros(6 * _RATE, np.float32)])
  # Some blocks are half a pause.
  assert quality.loudness(speech) == pytest.approx(-23.01, abs=0.7)


def test_no_sound():
  assert quality.loudness(np.zeros(_RATE, np.float32)) == -70
  assert math.isnan(quality.loudness(None))
  assert math.isnan(quality.loudness(np.zeros(0, np.float32)))


def head(resolution: int) -> np.ndarray:
  state, _ = synthetic.make_motion(3, 4)
  return talking_head.render(synthetic.make_identity(3), state, resolution)


def test_blur_lowers_sharpness():
  from PIL import Image, ImageFilter

  box = np.array([0.2, 0.1, 0.8, 0.9])
  frame = head(256)[0]
  image = Image.fromarray(frame)
  values = [
    quality.sharpness(
      np.asarray(image.filter(ImageFilter.GaussianBlur(radius))), box
    )
    for radius in (0, 1.5, 4)
  ]
  assert values[0] > 2 * values[1] > 4 * values[2] > 0
  # Contrast and brightness hardly matter; rounding to 8 bits does a little.
  paler = np.uint8(frame * 0.5 + 60)
  assert quality.sharpness(paler, box) == pytest.approx(values[0], rel=0.15)
  small = np.asarray(image.resize((64, 64)).resize((256, 256)))
  assert quality.sharpness(small, box) < 0.5 * values[0]


def test_sharpness_of_odd_input():
  frames = head(64)
  box = np.array([0.2, 0.1, 0.8, 0.9])
  each = [quality.sharpness(frame, box) for frame in frames]
  assert quality.sharpness(frames, box) == pytest.approx(np.median(each))
  boxes = np.tile(box, (len(frames), 1))
  assert quality.sharpness(frames, boxes) == pytest.approx(np.median(each))
  assert math.isnan(quality.sharpness(frames, np.zeros(4)))
  assert quality.sharpness(np.full_like(frames, 90), box) == 0


@pytest.fixture(scope='module')
def speech() -> tuple[np.ndarray, np.ndarray]:
  """Opening of a drawn mouth `[150]` and what it says."""
  identity = synthetic.make_identity(5)
  state, waveform = synthetic.make_motion(5, 150, identity.pitch_hz)
  return faces_openness(identity, state), waveform


def faces_openness(identity, state) -> np.ndarray:
  points = talking_head.landmarks(identity, state)
  marks = np.zeros((len(points), 478, 2), np.float32)
  marks[:, faces.GUIDE_LANDMARKS] = points
  marks[:, 10], marks[:, 152] = (0.5, 0.2), (0.5, 0.8)
  return faces.openness(marks)


@pytest.mark.parametrize('shift', [-12, -3, 0, 5, 15])
def test_lag_of_shifted_sound(speech, shift):
  mouth, waveform = speech
  late = np.roll(waveform, 640 * shift)
  found, score = quality.lag(mouth, late)
  assert found == shift and 0.5 < score <= 1


def test_mouth_and_sound_that_have_nothing_to_do_with_each_other(speech):
  """The score tells that a lag is chance."""
  identity = synthetic.make_identity(6)
  _, other = synthetic.make_motion(6, 150, identity.pitch_hz)
  score = quality.lag(speech[0], other)[1]
  assert score < 0.6 * quality.lag(*speech)[1]


def test_too_little_to_compare(speech):
  mouth, waveform = speech
  for case in (
    (mouth, None),
    (mouth, np.zeros_like(waveform)),
    (np.full_like(mouth, 0.02), waveform),
    (mouth[:30], waveform),
    (mouth, waveform[:640]),
    (mouth, tone(6, 0.1)),
  ):
    assert np.isnan(quality.lag(*case)).all()

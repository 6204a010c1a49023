"""Files that visitors send, good and bad."""

import pathlib
import wave

import numpy as np
from PIL import Image

RATE = 16000


def picture(width: int = 96, height: int = 96) -> np.ndarray:
  rng = np.random.default_rng(0)
  small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8))
  return np.asarray(small.resize((width, height)))


def write_picture(path: pathlib.Path, width=96, height=96, **options):
  Image.fromarray(picture(width, height)).save(path, **options)
  return path


def speech(seconds: float = 0.4) -> np.ndarray:
  rng = np.random.default_rng(1)
  return (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def write_sound(path: pathlib.Path, seconds=0.4, channels=1, rate=RATE):
  values = (speech(seconds)[: round(seconds * rate)] * 32767).astype('<i2')
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(channels)
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes(np.repeat(values[:, None], channels, 1).tobytes())
  return path

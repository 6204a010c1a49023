"""Log-mel features as another person, room or microphone would have made them.

Little speech is soon learnt by heart; with these changes what is learnt is what
the voices have in common. After vocal tract
length perturbation (Jaitly and Hinton 2013) and SpecAugment (Park et al. 2019),
whose masks hide bands and moments. The mouth's shape is not changed by any.
"""

import numpy as np

from mdcf_jax.data import mel

_WARP = 0.18  # Of log frequency: a child's vocal tract, or a tall man's.
_LEVEL = 0.3  # Of loudness, in standard deviations of the features.
_EQUALISER = 0.4  # Of each of so many knots of a curve over the bands.
_NUM_KNOTS = 7
_NOISE = 0.4
_NUM_BAND_MASKS = 2
_MASKED_BANDS = 20  # At most, of 80, in each mask.
_MASKED_WINDOWS = 16  # At most: 0.16 s.


def augment(
  audio_emb: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
  """Changes the voice and the recording of a window of a clip.

  Args:
    audio_emb: `[T, 320]`, of `mel.log_mel`.
    rng: randomness.
    strength: factor on every change; 0 is none.

  Returns:
    float32 `[T, 320]`.
  """
  if not strength:
    return np.float32(audio_emb)
  bands = np.float32(audio_emb).reshape(-1, mel.NUM_BANDS)
  bands = _warp(bands, np.exp(strength * rng.uniform(-_WARP, _WARP)))
  knots = strength * _EQUALISER * rng.standard_normal(_NUM_KNOTS)
  places = np.linspace(0, _NUM_KNOTS - 1, mel.NUM_BANDS)
  curve = np.interp(places, np.arange(_NUM_KNOTS), knots)
  level = strength * _LEVEL * rng.standard_normal()
  noise = strength * rng.uniform(0, _NOISE)
  bands = bands + curve + level + noise * rng.standard_normal(bands.shape)
  for _ in range(_NUM_BAND_MASKS):
    bands[:, _interval(rng, mel.NUM_BANDS, strength * _MASKED_BANDS)] = 0
  bands[_interval(rng, len(bands), strength * _MASKED_WINDOWS)] = 0
  return np.float32(bands).reshape(audio_emb.shape)


def _warp(bands: np.ndarray, factor: float) -> np.ndarray:
  """Band b of the result is band `factor * b` of `[n, 80]`."""
  places = np.minimum(factor * np.arange(mel.NUM_BANDS), mel.NUM_BANDS - 1)
  low = np.int32(places)
  high = np.minimum(low + 1, mel.NUM_BANDS - 1)
  share = np.float32(places - low)
  return (1 - share) * bands[:, low] + share * bands[:, high]


def _interval(rng: np.random.Generator, total: int, largest: float) -> slice:
  """Draws a piece of `range(total)`, of up to `largest` elements."""
  size = min(int(rng.uniform(0, largest + 1)), total)
  start = int(rng.integers(total - size + 1))
  return slice(start, start + size)

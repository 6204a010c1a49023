"""Finds the mark of `mark.py` in pictures that were encoded, scaled or cut.

A picture's spectrum is taken at the waves of the mark, for many scales; the
phases left after those of the key are subtracted say where the tile begins, and
agree if there is a mark.

How sure that is needs no assumption about pictures. The score of one hypothesis
(a scale, a place, mirrored or not, a payload) is a weighted sum of cosines of
K phases over the root of half the sum of squared weights. For a picture that
knows nothing of the key these phases are independent and uniform, as the
key's are, whatever the weights. E[exp(s cos)] = I0(s) <= exp(s^2 / 4), so by
Chernoff a score of z or more has a probability of at most exp(-z^2 / 2); all
hypotheses that were tried together have at most their number times as much.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable

import numpy as np

from mdcf_jax.media import mark

# Bounds on the chance that a file without mark looks like this.
SURE = 1e-6
DOUBTFUL = 1e-2

SCALES = 0.45, 2.2  # Of the tile, after large pictures were made smaller.
_LARGEST, _WINDOW, _SMALLEST = 1024, 768, 64  # Pixels of a side.
_RADIUS, _FLOOR, _CLIP = 4, 1.0, 2.5  # Of `whiten`.
_PLACES = 128  # In a tile, along a side: steps of half a pixel.
_LUMA = np.float32([0.299, 0.587, 0.114])
_COMMON = 1.0, 0.75, 0.5, 2 / 3, 0.9, 0.8, 2.0, 1.5
_KEPT = 8  # Places of the coarse search that are looked at closely.


@dataclasses.dataclass(frozen=True)
class Detection:
  """What was found in a picture or a clip.

  Attributes:
    verdict: 'marked', 'not marked' or 'cannot tell'.
    bound: no more than this is the chance that pictures without mark give such
      a score; 'marked' is below 1e-6, 'not marked' above 1e-2.
    score: of the best hypothesis; 18.2 at most.
    payload: 16 bits; None unless marked.
    scale: size over that of the marked picture; None unless marked.
    mirrored: left and right changed places.
    frames: how many were used.
    reason: why one cannot tell; else empty.
  """

  verdict: str
  bound: float
  score: float
  payload: int | None
  scale: float | None
  mirrored: bool
  frames: int
  reason: str = ''

  @property
  def version(self) -> int | None:
    """Of the mark; None unless marked."""
    return None if self.payload is None else self.payload >> 12

  @property
  def tool(self) -> int | None:
    """Which program made the pictures; None unless marked."""
    return None if self.payload is None else self.payload & 0xFFF


def detect(frames: Iterable[np.ndarray], *, key: str = mark.KEY) -> Detection:
  """Looks for the mark in frames of one clip, or in one picture.

  Args:
    frames: `[H, W, 3]` uint8 RGB, all of one size; used one at a time. More
      than 64 are of little more use.
    key: that of `mark.embed`.

  Raises:
    ValueError: there are no frames, or their sizes differ.
  """
  total, count = None, 0
  for frame in frames:
    part = whiten(_luma(frame))
    if total is not None and part.shape != total.shape:
      raise ValueError(f'frames of {total.shape} and of {part.shape}')
    total = part if total is None else total + part
    count, size = count + 1, frame.shape[:2]
  if total is None:
    raise ValueError('there are no frames')
  image = total / count
  if min(image.shape) < _SMALLEST:
    return _cannot(count, f'a side has less than {_SMALLEST} pixels')
  if np.mean(np.abs(image) > 0.05) < 0.05:
    return _cannot(count, 'the picture is empty: nothing could hold a mark')
  found = _search(image, key)
  verdict, reason = 'not marked', ''
  if found.bound < SURE:
    verdict = 'marked'
  elif found.bound < DOUBTFUL:
    verdict = 'cannot tell'
    reason = 'something like a mark, which chance may give too'
  marked = verdict == 'marked'
  return Detection(
    verdict,
    found.bound,
    found.score,
    found.payload if marked else None,
    found.scale * _shrinking(*size) if marked else None,
    found.mirrored if marked else False,
    count,
    reason,
  )


def whiten(luma: np.ndarray) -> np.ndarray:
  """Differences from the surroundings, weighed by how sure they are.

  Edges of a picture are many times as strong as a mark. In the units of the
  deviation of 9 x 9 pixels they are not; smooth parts, where a mark stands out,
  weigh more, by the root of that deviation, and outliers are cut.

  Args:
    luma: `[H, W]` float32 in [0, 255].
  """
  rest = luma - _blur(luma)
  variance = _blur(np.square(rest)) + _FLOOR**2
  rest /= np.sqrt(variance)
  return np.clip(rest, -_CLIP, _CLIP, out=rest) * variance**-0.25


def _cannot(count: int, reason: str) -> Detection:
  return Detection('cannot tell', 1.0, 0.0, None, None, False, count, reason)


def _luma(frame: np.ndarray) -> np.ndarray:
  """The middle of a frame, made smaller by a whole number if it is large."""
  height, width = frame.shape[:2]
  step = _shrinking(height, width)
  luma = frame.astype(np.float32) @ _LUMA
  if step > 1:
    rows, columns = height // step, width // step
    luma = luma[: rows * step, : columns * step]
    luma = luma.reshape(rows, step, columns, step).mean((1, 3))
  top, left = (max(0, n - _WINDOW) // 2 for n in luma.shape)
  return luma[top : top + _WINDOW, left : left + _WINDOW]


def _shrinking(height: int, width: int) -> int:
  return -(-max(height, width) // _LARGEST)


def _blur(x: np.ndarray) -> np.ndarray:
  """The mean over 9 x 9 pixels, edges repeated."""
  size = 2 * _RADIUS + 1
  for _ in range(2):
    # Along the first axis, then turned: twice is both.
    x = np.pad(x, ((_RADIUS + 1, _RADIUS), (0, 0)), mode='edge')
    sums = np.cumsum(x, axis=0, dtype=np.float64)
    x = ((sums[size:] - sums[:-size]) / size).astype(np.float32).T
  return x


@dataclasses.dataclass(frozen=True)
class _Found:
  """The best hypothesis, and the bound on its chance among all."""

  bound: float
  score: float
  payload: int
  scale: float
  mirrored: bool


def _search(image: np.ndarray, key: str) -> _Found:
  """Tries the size as it is, and others unless that is enough.

  Half of the chance of a false alarm is given to either.
  """
  near = _best([(image, False)], (1.0,), (0.0,), key)
  if near.bound < 1e-3 * SURE:
    return near
  views = [(image, False), (image[:, ::-1], True)]
  scales = _scales(max(image.shape))
  far = _best(views, scales, (-0.5, -0.25, 0.0, 0.25, 0.5), key)
  return min(near, far, key=lambda found: found.bound)


def _scales(side: int) -> list[float]:
  """Scales so near each other that no other one is far from all."""
  scales, scale = list(_COMMON), SCALES[0]
  while scale < SCALES[1]:
    scales.append(scale)
    scale += _step(scale, side)
  return scales


def _step(scale: float, side: int) -> float:
  """Difference of scales that moves the fastest wave by 0.2 of its length.

  That is at the edges of a picture whose middle stands still.
  """
  return scale * 0.4 * mark.TILE * scale / (mark.BAND[1] * side)


def _best(views, scales, nudges, key: str) -> _Found:
  """The best hypothesis: each scale first, then what is near the best ones.

  Args:
    views: (picture, mirrored).
    scales: of both directions.
    nudges: of either direction, in steps of scales.
  """
  waves = mark.pattern(key)
  own = waves.signs(np.array([mark.PAYLOAD]))[0]
  coarse = []
  for image, mirrored in views:
    for scale in scales:
      values = _values(image, (scale, scale), waves)
      coarse.append((_peaks(values, waves, own), scale, (image, mirrored)))
  coarse.sort(key=lambda entry: -max(peak[0] for peak in entry[0]))
  best, tried = [(-math.inf,)] * 2, len(coarse)
  for _, scale, (image, mirrored) in coarse[:_KEPT]:
    step = _step(scale, max(image.shape))
    for pair in itertools.product(nudges, nudges):
      pair = tuple(scale + nudge * step for nudge in pair)
      values = _values(image, pair, waves)
      tried += 1
      for kind, peak in enumerate(_peaks(values, waves, own)):
        if peak[0] > best[kind][0]:
          best[kind] = (*peak, values, sum(pair) / 2, mirrored)
  found = [_judge(entry, waves, tried, key) for entry in best]
  return min(found, key=lambda found: found.bound)


def _values(image, scales, waves) -> np.ndarray:
  """What is left of the picture's waves after those of the key, `[K]`.

  Complex; scores are sums of the real parts.
  """
  most = mark.BAND[1]
  rows, columns = (_turns(n, s) for n, s in zip(image.shape, scales))
  columns = columns[most:].T
  # In two products of reals, as one with complex makes the picture complex.
  half = image @ columns.real + 1j * (image @ columns.imag)
  values = (rows @ half)[waves.rows + most, waves.columns]
  size = np.abs(values)
  # Roots of sizes: sure waves count more, and no edge of the picture decides.
  weights = np.sqrt(size)
  values = values / np.maximum(weights, 1e-12) * np.exp(-1j * waves.phases)
  return values / max(math.sqrt(float(size.sum()) / 2), 1e-12)


@functools.lru_cache(maxsize=4)  # Rows and columns are often as many.
def _turns(length: int, scale: float) -> np.ndarray:
  """exp(-2 pi i k x / period), `[K, length]`, k from -11 to 11."""
  k = np.arange(-mark.BAND[1], mark.BAND[1] + 1)
  angle = np.outer(k, np.arange(length)) / (mark.TILE * scale)
  return np.exp(-2j * np.pi * angle).astype(np.complex64)


def _peaks(values, waves, own):
  """The best place of our payload, and of waves that no payload turns.

  Returns:
    Twice (score, row, column), places in steps of half a pixel.
  """
  peaks = []
  fixed = np.arange(len(values)) < waves.fixed
  total = np.sum(np.abs(values) ** 2)
  share = np.sum(np.abs(values[fixed]) ** 2)
  for kept, part in ((own, total), (fixed, share)):
    # The transform takes opposites for granted but in the first column.
    spectrum = np.zeros((_PLACES, _PLACES // 2 + 1), np.complex64)
    doubled = np.where(waves.columns == 0, 2, 1)
    spectrum[waves.rows, waves.columns] = values * kept * doubled
    scores = np.fft.irfft2(spectrum, norm='forward') / 2
    place = int(scores.argmax())
    score = float(scores.flat[place]) * math.sqrt(total / max(part, 1e-12))
    peaks.append((score, *divmod(place, _PLACES)))
  return peaks


def _judge(entry, waves, tried: int, key: str) -> _Found:
  """Reads the payload at a place and bounds the chance of its score."""
  _, row, column, values, scale, mirrored = entry
  angle = (waves.rows * row + waves.columns * column) / _PLACES
  agreement = (values * np.exp(2j * np.pi * angle)).real
  fixed = agreement[: waves.fixed].sum()
  scores = fixed + _codes(key) @ agreement[waves.fixed :].astype(np.float32)
  payload = int(scores.argmax())
  # Twice for the two halves of the search, twice for the two kinds of payload:
  # ours alone, or the best of all.
  cost = math.log(4 * tried * _PLACES**2)
  chances = []
  for name, count in ((payload, len(scores)), (mark.PAYLOAD, 1)):
    score = max(float(scores[name]), 0.0)
    bound = math.exp(min(0.0, cost + math.log(count) - score**2 / 2))
    chances.append(_Found(bound, score, name, scale, mirrored))
  if chances[0].bound < SURE:
    return chances[0]  # Sure of what it says, not only that it is there.
  return min(chances, key=lambda found: found.bound)


@functools.lru_cache(maxsize=2)
def _codes(key: str) -> np.ndarray:
  """The waves that payloads turn, `[65536, K / 2]` float32 of 1 and -1."""
  waves = mark.pattern(key)
  return waves.signs(np.arange(1 << mark.BITS))[:, waves.fixed :]

"""Animated crops back into the pictures that they were cut from.

Towards the border of the crop the frame fades into the picture. A network
repeats a picture up to a tint, so that a fading alone leaves a halo where the
two differ in brightness: before, the frame takes over the picture's colours
along the border, spread over its inside as heat spreads over a plate (the
membrane of Poisson image editing, Perez et al. 2003, on a coarse grid).
"""

import logging

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media.image import MIN_SIDE

logger = logging.getLogger(__name__)

# Players decode H.264 up to level 5.1, which ends at 4096 x 2304.
MAX_SIDE, MAX_PIXELS = 4096, 4096 * 2304

FEATHER = 0.12  # Width of the fading, in sides of the crop.
_CELLS = 24  # Of a side of the grid that colours are compared on.
# Levels of 255. More than a tint is something that moved over the border, and
# shall not colour the face.
_MAX_TINT = 20.0

Square = tuple[int, int, int, int]


class Paste:
  """Puts frames of a crop into its picture, one by one.

  Attributes:
    size: (height, width) of what comes out: those of the picture, both even,
      as H.264 needs them: of an odd side the last row or column is left out. A
      picture of more than 4096 x 2304 pixels, or 4096 on a side, is made
      smaller, with a warning.
    mask: `[h, w]` float32 in [0, 1], the share of the frame in the part of the
      picture that `inside` (two slices) tells; elsewhere it is 0, and what
      comes out is the picture. Where the crop ends with the picture, or reaches
      over its border, it does not fade.
  """

  def __init__(self, picture: np.ndarray, square: Square):
    """Prepares what all frames share.

    Args:
      picture: `[H, W, 3]` uint8.
      square: (x, y, side, side) in its pixels, which may reach outside, as
        `image.crop_square` returns it.

    Raises:
      InputError: the picture would become thinner than 16 pixels.
    """
    scale = _scale(*picture.shape[:2])
    self._picture = _resize(picture, scale)
    height, width = (side // 2 * 2 for side in self._picture.shape[:2])
    self._picture = self._picture[:height, :width]
    self.size = height, width
    # Whole pixels in which the frame is known, and where they lie in it.
    x, y, side = (scale * value for value in square[:3])
    self._columns = _Span(x, side, width)
    self._rows = _Span(y, side, height)
    self.inside = self._rows.pixels, self._columns.pixels
    self.mask = self._rows.fade[:, None] * self._columns.fade
    self._under = self._picture[self.inside].astype(np.float32)
    self._cells = self._shrink(self._picture[self.inside])
    self._spread = _membrane(
      *self._cells.shape[:2], self._rows.ends, self._columns.ends
    )

  def __call__(self, frame: np.ndarray) -> np.ndarray:
    """Returns `[*size, 3]` uint8 of a frame `[R, R, 3]` uint8 of the crop."""
    made = self._fit(frame)
    over = made.astype(np.float32)
    if self._spread is not None:
      over += self._tint(made)
    over -= self._under
    over *= self.mask[..., None]
    over += self._under
    result = self._picture.copy()
    np.clip(over, 0, 255, out=over)
    result[self.inside] = np.rint(over, out=over).astype(np.uint8)
    return result

  def _fit(self, frame: np.ndarray) -> np.ndarray:
    """The frame in the picture's pixels, `[h, w, 3]` uint8."""
    from PIL import Image

    size = frame.shape[0]
    left, right = (size * value for value in self._columns.part)
    top, bottom = (size * value for value in self._rows.part)
    resized = Image.fromarray(np.ascontiguousarray(frame)).resize(
      (len(self._columns.fade), len(self._rows.fade)),
      Image.Resampling.BICUBIC,
      box=(left, top, right, bottom),
    )
    return np.asarray(resized)

  def _tint(self, made: np.ndarray) -> np.ndarray:
    """What to add to a frame, `[h, w, 3]` float32."""
    from PIL import Image

    apart = np.clip(self._cells - self._shrink(made), -_MAX_TINT, _MAX_TINT)
    cells = (self._spread @ apart.reshape(-1, 3)).reshape(apart.shape)
    size = self.mask.shape[::-1]
    channels = [
      Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)
      for channel in np.moveaxis(cells.astype(np.float32), -1, 0)
    ]
    return np.stack([np.asarray(x) for x in channels], axis=-1)

  def _shrink(self, part: np.ndarray) -> np.ndarray:
    """Mean colours of cells, `[rows, columns, 3]` float32."""
    from PIL import Image

    height, width = self.mask.shape
    longer = max(height, width)
    size = (-(-_CELLS * width // longer), -(-_CELLS * height // longer))
    image = Image.fromarray(np.ascontiguousarray(part))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)


class _Span:
  """One direction of a crop in a picture.

  Attributes:
    pixels: slice of the picture's pixels that lie in the crop as a whole.
    part: where that begins and ends in the crop, in [0, 1].
    fade: `[n]` float32, share of the frame.
    ends: whether the crop ends inside the picture, at the first and last.
  """

  def __init__(self, start: float, side: float, size: int):
    # Of a scaled square; a thousandth of a pixel is rounding.
    first = max(0, int(np.ceil(start - 1e-3)))
    last = min(size, int(np.floor(start + side + 1e-3)))
    self.pixels = slice(first, last)
    low, high = (first - start) / side, (last - start) / side
    self.part = max(0.0, low), min(1.0, high)
    self.ends = first > 0, last < size
    middles = (np.arange(first, last) + 0.5 - start) / side
    fade = np.ones(last - first)
    for distance, ends in zip((middles, 1 - middles), self.ends):
      if ends:
        t = np.clip(distance / FEATHER, 0, 1)
        fade = fade * t * t * (3 - 2 * t)
    self.fade = fade.astype(np.float32)


def _scale(height: int, width: int) -> float:
  """By how much a picture is made smaller, with a warning."""
  scale = min(
    1.0,
    MAX_SIDE / max(height, width),
    float(np.sqrt(MAX_PIXELS / (height * width))),
  )
  if scale == 1:
    return scale
  small = round(scale * width), round(scale * height)
  size = f'{width} x {height}'
  if min(small) < MIN_SIDE:
    raise InputError(f'no video can be as long and thin as a picture of {size}')
  logger.warning(
    'a picture of %s is too large for a video: it is made smaller, %d x %d',
    *(size, *small),
  )
  return scale


def _resize(picture: np.ndarray, scale: float) -> np.ndarray:
  if scale == 1:
    return picture
  from PIL import Image

  height, width = picture.shape[:2]
  size = round(scale * width), round(scale * height)
  image = Image.fromarray(np.ascontiguousarray(picture))
  return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _membrane(
  rows: int,
  columns: int,
  row_ends: tuple[bool, bool],
  column_ends: tuple[bool, bool],
) -> np.ndarray | None:
  """The matrix that spreads values of border cells over all cells.

  A cell inside is the mean of its neighbours, one at the crop's border keeps
  its value; the border of the picture lets nothing through.

  Returns:
    `[cells, cells]` float32, or None where no side of the crop is inside the
    picture.
  """
  if not any((*row_ends, *column_ends)):
    return None
  kept = np.zeros((rows, columns), bool)
  kept[0] |= row_ends[0]
  kept[-1] |= row_ends[1]
  kept[:, 0] |= column_ends[0]
  kept[:, -1] |= column_ends[1]
  kept = kept.reshape(-1)
  number = np.arange(rows * columns).reshape(rows, columns)
  system = np.zeros((rows * columns,) * 2)
  for a, b in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
    for i, j in ((a, b), (b, a)):
      system[i.reshape(-1), j.reshape(-1)] = -1.0
  np.fill_diagonal(system, -system.sum(1))
  given = np.diag(kept.astype(float))
  system[kept] = given[kept]
  return np.linalg.solve(system, given).astype(np.float32)

"""Portraits in: any picture that Pillow reads, as an upright RGB square."""

import logging
import os
import pathlib
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media.files import check_file

logger = logging.getLogger(__name__)

MIN_SIDE = 16
MAX_PIXELS = 120_000_000  # A 100-megapixel camera passes, a bomb does not.

# Height and width of the face box over the side of the square at most, and
# where the middle of the box lies in it (from the top), as in clips that models
# train on. Larger faces lose hair, and mouths of smaller ones move less.
FACE_HEIGHT, FACE_WIDTH = 0.56, 0.72
FACE_CENTRE = 0.53

# A square picture is a portrait as it is unless the square around its face is
# smaller than this part of it, or farther off its middle, in its sides.
LEAST_SHARE = 0.85
MOST_SHIFT = 0.15

_MODES_WITH_ALPHA = ('RGBA', 'LA', 'PA', 'RGBa', 'La')

Box = tuple[float, float, float, float]


def read_image(
  path: str | os.PathLike,
  formats: Sequence[str] | None = None,
  max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
  """Reads a picture as `[H, W, 3]` uint8 RGB.

  The camera's orientation is applied; transparency is laid over white; of an
  animation the first frame is taken; 16-bit, palette, grey and CMYK pictures
  are converted.

  Args:
    path: of the file.
    formats: Pillow's names of those that may be opened; None for all.
    max_pixels: in all; the size is looked at before anything is decoded.

  Raises:
    InputError: the file is missing, is not a picture, breaks off, is smaller
      than 16 pixels on a side, or has too many pixels.
  """
  from PIL import Image

  path = check_file(path)
  try:
    with warnings.catch_warnings():
      # We have our own limit, below.
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      with Image.open(path, formats=formats) as image:
        _check_size(path, *image.size, max_pixels)
        image.load()
        return _to_rgb(image)
  except InputError:
    raise
  except Image.DecompressionBombError as error:
    raise InputError(
      f'{path}: the picture has more than {max_pixels:,} pixels'
    ) from error
  except Image.UnidentifiedImageError as error:
    raise InputError(f'{path}: not a picture that can be read') from error
  # Decoders of damaged files raise nearly anything.
  except Exception as error:
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise InputError(
      f'{path}: the picture cannot be decoded ({reason})'
    ) from error


def to_array(image) -> np.ndarray:
  """Converts a Pillow image or an array to `[H, W, 3]` uint8 RGB.

  Args:
    image: a Pillow image of any mode, or uint8 `[H, W]`, `[H, W, 1]`,
      `[H, W, 3]` or `[H, W, 4]` (transparency is laid over white).

  Raises:
    InputError: it is something else, or smaller than 16 pixels on a side.
  """
  from PIL import Image

  if not isinstance(image, Image.Image):
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[-1] == 1:
      array = array[..., 0]
    if array.dtype != np.uint8 or not (
      array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    ):
      raise InputError(
        f'image: {array.dtype} {array.shape} is not uint8 [height, width, 3]'
      )
    image = Image.fromarray(array) if array.size else Image.new('RGB', (0, 0))
  _check_size('image', *image.size)
  try:
    return _to_rgb(image)
  except OSError as error:  # It is read here, and may break off.
    raise InputError(f'image: cannot be decoded ({error})') from error


def crop_square(
  image: np.ndarray,
  crop: str | tuple[int, int, int, int],
  resolution: int,
  locate: Callable[[np.ndarray], Box] | None = None,
  *,
  name: str = 'the image',
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
  """Cuts a square out of `image` and resizes it.

  Args:
    image: `[H, W, 3]` uint8.
    crop: 'auto': around the face, as in the training clips; 'none': the
      centre, with a warning unless it is the whole; or (x, y, w, h) in pixels,
      whose centred square is taken.
    resolution: R, the side of the result in pixels.
    locate: for 'auto', maps `image` to the box (x0, y0, x1, y1) of the face in
      [0, 1]; by default `faces.locate_face`.
    name: what the image is, for messages.

  Returns:
    `[R, R, 3]` uint8 and the square (x, y, w, h) in pixels of `image`, which
    may reach outside for 'auto' (edge pixels are repeated there).

  Raises:
    InputError: no face was found for 'auto', or the crop is malformed, outside
      of the image, or too small.
  """
  height, width = image.shape[:2]
  if isinstance(crop, str) and crop == 'auto':
    if locate is None:
      from mdcf_jax.media import faces

      box = faces.locate_face(image, name=name)
    else:
      box = locate(image)
    square = square_around(box, width, height)
  elif isinstance(crop, str) and crop == 'none':
    side = min(height, width)
    square = ((width - side) // 2, (height - side) // 2, side, side)
    if height != width:
      size = f'{width} x {height}'
      logger.warning('%s is %s: its centred square is taken', name, size)
  else:
    square = _check_crop(crop, width, height, name)
  return cut_square(image, square, resolution), square


def square_around(
  box: Box, width: int, height: int
) -> tuple[int, int, int, int]:
  """The square (x, y, side, side) in which a face has its usual place.

  Args:
    box: of the face, (x0, y0, x1, y1) in [0, 1].
    width, height: of the image, in pixels; the square may reach outside.
  """
  x0, y0, x1, y1 = np.array(box, float) * [width, height, width, height]
  side = max((y1 - y0) / FACE_HEIGHT, (x1 - x0) / FACE_WIDTH, MIN_SIDE)
  side = int(round(side))
  x, y = (x0 + x1) / 2 - side / 2, (y0 + y1) / 2 - FACE_CENTRE * side
  return int(round(x)), int(round(y)), side, side


def is_portrait(box: Box, width: int, height: int) -> bool:
  """Whether a picture is used whole: square, its face about where it should be.

  Args:
    box: of the face, (x0, y0, x1, y1) in [0, 1].
    width, height: of the image, in pixels.
  """
  x, y, side, _ = square_around(box, width, height)
  shift = max(abs(x + (side - width) / 2), abs(y + (side - height) / 2))
  return (
    width == height
    and side >= LEAST_SHARE * width
    and shift <= MOST_SHIFT * width
  )


def cut_square(image: np.ndarray, square, resolution: int) -> np.ndarray:
  """Cuts (x, y, side, side) out of `image [H, W, 3]` uint8 and resizes it.

  Where the square reaches outside, the edge of the image is repeated.
  """
  from PIL import Image

  x, y, side, _ = square
  height, width = image.shape[:2]
  rows = np.clip(np.arange(y, y + side), 0, height - 1)
  columns = np.clip(np.arange(x, x + side), 0, width - 1)
  cut = np.ascontiguousarray(image[rows[:, None], columns])
  if side == resolution:
    return cut
  size = (resolution, resolution)
  return np.asarray(Image.fromarray(cut).resize(size, Image.Resampling.LANCZOS))


def parse_crop(text: str) -> str | tuple[int, int, int, int]:
  """Reads `auto`, `none` or `X,Y,W,H` as the command line gives it.

  Raises:
    InputError: it is none of the three.
  """
  if text in ('auto', 'none'):
    return text
  try:
    x, y, w, h = (int(part) for part in text.split(','))
  except ValueError as error:
    raise InputError(
      f'crop {text!r}: give auto, none, or X,Y,W,H in whole pixels'
    ) from error
  return x, y, w, h


def _check_size(
  path: pathlib.Path | str,
  width: int,
  height: int,
  max_pixels: int = MAX_PIXELS,
) -> None:
  if width * height > max_pixels:
    raise InputError(
      f'{path}: {width} x {height} is more than {max_pixels:,} pixels'
    )
  if min(width, height) < MIN_SIDE:
    raise InputError(
      f'{path}: {width} x {height} is too small, a side needs at least '
      f'{MIN_SIDE} pixels'
    )


def _to_rgb(image) -> np.ndarray:
  """Converts a loaded Pillow image of any mode."""
  from PIL import Image, ImageOps

  image = ImageOps.exif_transpose(image)
  if image.mode.startswith('I;16') or image.mode in ('I', 'F'):
    return _from_deep(np.asarray(image), image.mode.startswith('I;16'))
  if 'transparency' in image.info or image.mode in _MODES_WITH_ALPHA:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, (255, 255, 255, 255))
    image = Image.alpha_composite(white, image)
  return np.asarray(image.convert('RGB'))


def _from_deep(values: np.ndarray, is_16_bit: bool) -> np.ndarray:
  """Grey of more than 8 bits, or floating point, to `[H, W, 3]` uint8."""
  values = np.nan_to_num(values.astype(np.float64))
  low, high = min(0.0, values.min()), values.max()
  # Floats and 32-bit integers do not tell what white is: the content does.
  limits = (65535.0,) if is_16_bit else (1.0, 255.0, 65535.0)
  white = next((limit for limit in limits if high <= limit), high)
  grey = np.round(255 * (values - low) / (white - low))
  return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _check_crop(crop, width: int, height: int, name: str):
  """Validates (x, y, w, h) and makes it a square."""
  try:
    x, y, w, h = (int(value) for value in crop)
  except (TypeError, ValueError, OverflowError) as error:
    raise InputError(
      f'crop {crop!r}: give auto, none, or four whole numbers X,Y,W,H'
    ) from error
  if min(w, h) < MIN_SIDE:
    raise InputError(
      f'crop {x},{y},{w},{h}: {w} x {h} is too small, a side needs at least '
      f'{MIN_SIDE} pixels'
    )
  if x < 0 or y < 0 or x + w > width or y + h > height:
    raise InputError(
      f'crop {x},{y},{w},{h} reaches outside of {name}, which is '
      f'{width} x {height}'
    )
  side = min(w, h)
  if w != h:
    logger.warning(
      'crop %d,%d,%d,%d is not a square: its centred square is taken',
      x,
      y,
      w,
      h,
    )
  return x + (w - side) // 2, y + (h - side) // 2, side, side

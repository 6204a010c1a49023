"""Pictures for bench/limits.py: a clip in a wider picture, a drawn hat."""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mdcf_jax.metrics import alignment, landmarks

ASPECT = 16 / 9  # Of the wider picture, as of a webcam.
AS_IT_IS = 0.6  # Height of the face over the side of a clip, about.
BLUR = 0.05  # Of what surrounds a clip, in sides of it.
SMOOTH = 5  # Frames: landmarks shiver, a hat does not.

# Of the face mesh: both ends of the cheeks, forehead and chin.
CHEEKS, FOREHEAD, CHIN = (234, 454), 10, 152
# Of a hat, in widths and heights of the face from the forehead's top on.
_CROWN, _HIGH, _BRIM, _LOW = 0.62, 0.42, 0.85, -0.04
_RED, _PALE, _DARK = (120, 30, 45), (225, 205, 190), (40, 30, 60)


@dataclasses.dataclass(frozen=True)
class View:
  """How a clip is seen.

  Attributes:
    shift: to the right of the middle, in sides of the clip.
    share: height of the face over that of the picture.
    crop: 'none' or 'auto', of `Pipeline.prepare`.
    hat: whether a hat is drawn.
  """

  shift: float = 0.0
  share: float = AS_IT_IS
  crop: str = 'none'
  hat: bool = False


def canvas(
  frames: np.ndarray, view: View
) -> tuple[np.ndarray, tuple[int, int]]:
  """Puts a clip, pixel by pixel, into a wider picture.

  What surrounds it is its own mirror image, blurred, so that there is no second
  face. The centred square, which the crop 'none' takes, shows the clip shifted
  and as small as `view` says.

  Args:
    frames: `[T, R, R, 3]` uint8.
    view: its shift and share.

  Returns:
    `[T, H, W, 3]` uint8, W / H about ASPECT, and the (x, y) of the clip in it.

  Raises:
    ValueError: the clip does not lie inside.
  """
  side = frames.shape[1]
  height = max(side, round(side * AS_IT_IS / view.share))
  width = round(height * ASPECT)
  left = (width - side) // 2 + round(view.shift * side)
  top = (height - side) // 2
  right, bottom = width - side - left, height - side - top
  if min(left, right) < 0:
    raise ValueError(f'a shift of {view.shift:g} leaves the picture')
  # Mirrored once more where it is wider than the clip.
  index = [
    np.pad(np.arange(side), pad, mode='symmetric')
    for pad in ((top, bottom), (left, right))
  ]
  pictures = []
  for frame in frames:
    wide = Image.fromarray(frame[index[0][:, None], index[1]])
    wide = wide.filter(ImageFilter.GaussianBlur(BLUR * side))
    wide.paste(Image.fromarray(frame), (left, top))
    pictures.append(np.asarray(wide))
  return np.stack(pictures), (left, top)


def back(
  made: np.ndarray,
  square: tuple[int, int, int, int],
  place: tuple[int, int],
  under: np.ndarray,
) -> np.ndarray:
  """Brings frames of a square of a wider picture back to where the clip is.

  Args:
    made: `[T, R, R, 3]` uint8, of the square.
    square: (x, y, side, side) in pixels of the wider picture.
    place: of `canvas`.
    under: `[R, R, 3]` uint8, the clip's first frame: what the square does not
      cover stays as it is there.

  Returns:
    `[T, R, R, 3]` uint8.
  """
  x, y, side, _ = square
  x, y, size = x - place[0], y - place[1], len(under)
  rows = slice(max(y, 0), min(y + side, size))
  columns = slice(max(x, 0), min(x + side, size))
  result = np.repeat(under[None], len(made), 0)
  for frame, target in zip(made, result):
    if side != len(frame):
      image = Image.fromarray(np.ascontiguousarray(frame))
      frame = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    target[rows, columns] = frame[
      rows.start - y : rows.stop - y, columns.start - x : columns.stop - x
    ]
  return result


def motion(points: np.ndarray) -> np.ndarray:
  """How the head moved since the first frame, as a similarity of the picture.

  Args:
    points: `[T, 478, 2]`, smoothed here over SMOOTH frames.

  Returns:
    `[T, 2, 3]`, of the unit of `points`.
  """
  steady = np.asarray(points, float)[:, list(landmarks.STEADY)]
  padded = np.pad(steady, ((SMOOTH // 2,) * 2, (0, 0), (0, 0)), mode='edge')
  steady = np.mean([padded[i : i + len(steady)] for i in range(SMOOTH)], axis=0)
  first = np.broadcast_to(steady[0], steady.shape)
  return alignment.similarity(first, steady)


class Hat:
  """A drawn hat with spots and a brim, which moves with the face.

  Attributes:
    mask: `[R, R]` bool, where it is in the first frame.
  """

  def __init__(self, points: np.ndarray, size: int):
    """Draws it.

    Args:
      points: `[478, 2]` of the first frame, in pixels.
      size: R.
    """
    # Drawn beyond the borders, as it may move into the picture.
    self._margin = size // 2
    points = np.asarray(points, float)
    self._right = points[CHEEKS[1]] - points[CHEEKS[0]]
    self._up = points[FOREHEAD] - points[CHIN]
    self._origin = points[FOREHEAD] + self._margin
    self._size = size
    self._colours, self._cover = self._draw()
    shown = self(np.zeros((size, size, 3), np.uint8), np.eye(2, 3))
    self.mask = shown.any(axis=-1)

  def __call__(self, frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns `frame [R, R, 3]` uint8 with the hat at `matrix [2, 3]`.

    The matrix is that of `motion`, in pixels.
    """
    inverse = np.linalg.inv(matrix[:, :2])
    shift = self._margin - inverse @ matrix[:, 2]
    given = np.concatenate([inverse, shift[:, None]], axis=1).ravel()
    colours, cover = (
      np.asarray(
        layer.transform(
          (self._size, self._size),
          Image.Transform.AFFINE,
          tuple(given),
          Image.Resampling.BICUBIC,
        ),
        np.float32,
      )
      for layer in (self._colours, self._cover)
    )
    alpha = cover[..., None] / 255
    return np.rint(frame * (1 - alpha) + colours * alpha).astype(np.uint8)

  def _draw(self) -> tuple[Image.Image, Image.Image]:
    """Colours, and where they cover."""
    size, fine = self._size + 2 * self._margin, 4  # Smooth edges.
    colours = Image.new('RGB', (size * fine, size * fine), _RED)
    cover = Image.new('L', colours.size)
    paint, hide = ImageDraw.Draw(colours), ImageDraw.Draw(cover)

    def outline(a, b):
      spot = self._origin + np.outer(a, self._right) + np.outer(b, self._up)
      return [tuple(x * fine) for x in spot]

    turn = np.linspace(0, np.pi, 60)
    height = _LOW + _HIGH * np.sin(turn) ** 0.7
    hide.polygon(outline(_CROWN * np.cos(turn), height), fill=255)
    # Spots, as stripes look alike wherever they go.
    rng = np.random.default_rng(0)
    for a, b, radius, pale in rng.uniform(size=(60, 4)):
      spot = self._origin + (2 * a - 1) * _CROWN * self._right
      spot = (spot + (_LOW + _HIGH * b) * self._up) * fine
      radius = (0.03 + 0.06 * radius) * np.hypot(*self._right) * fine
      box = [*(spot - radius), *(spot + radius)]
      paint.ellipse(box, fill=_PALE if pale < 0.6 else _DARK)
    ends = np.array([-1, 1, 1, -1]) * _CROWN
    paint.polygon(outline(ends, [0.0, 0.0, 0.07, 0.07]), fill=_DARK)
    turn = np.linspace(0, 2 * np.pi, 60)
    brim = outline(_BRIM * np.cos(turn), _LOW + 0.05 * np.sin(turn))
    paint.polygon(brim, fill=_DARK)
    hide.polygon(brim, fill=255)
    colours, cover = (
      x.resize((size, size), Image.Resampling.BOX) for x in (colours, cover)
    )
    # Cloth: detail of the size of pixels, the same in every frame.
    cloth = rng.normal(0, 10, (size, size, 1))
    drawn = np.clip(np.asarray(colours) + cloth, 1, 255).astype(np.uint8)
    return Image.fromarray(drawn), cover


def with_hat(
  frames: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Draws a hat on a clip.

  Args:
    frames: `[T, R, R, 3]` uint8.
    points: `[T, 478, 2]` in [0, 1].

  Returns:
    The frames, and the mask `[R, R]` of the hat in the first one.
  """
  size = frames.shape[1]
  pixels = np.asarray(points, float) * size
  hat = Hat(pixels[0], size)
  moved = [hat(x, matrix) for x, matrix in zip(frames, motion(pixels))]
  return np.stack(moved), hat.mask

"""Which square of a picture is brought to life, and how that is shown."""

import dataclasses

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media import faces, image

WHOLE, MIDDLE, OWN = 'Whole picture', 'Middle of the picture', 'My own square'
_FACE = 'Face '
_SHOWN = 640  # Pixels of a side of what is shown.
_DIGIT = _SHOWN / 16  # Of a face's number: the page shows it 3 times smaller.
_LIGHT, _DARK = (255, 200, 0), (20, 20, 20)

_NO_FACE = 'No face was found: click at it, or take a square of your own.'
_NOT_LOOKED = (
  'Faces are not looked for here (that needs the extra "faces" and '
  '"mdcf download faces"): click at the face, or give a square picture.'
)

Square = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Framing:
  """A picture and what one may cut out of it.

  Attributes:
    picture: `[H, W, 3]` uint8.
    boxes: of its faces from the left, (x0, y0, x1, y1) in [0, 1].
    note: why there are no boxes, else ''.
  """

  picture: np.ndarray
  boxes: tuple = ()
  note: str = ''

  @property
  def choices(self) -> list[str]:
    faces = [f'{_FACE}{i + 1}' for i in range(len(self.boxes))]
    return [*faces, self.middle, OWN]

  @property
  def usual(self) -> str:
    """What the command line takes: the main face, or a good picture whole."""
    height, width = self.picture.shape[:2]
    if not self.boxes:
      return self.middle
    main = int(np.argmax([faces.prominence(box) for box in self.boxes]))
    if image.is_portrait(self.boxes[main], width, height):
      return self.middle
    return f'{_FACE}{main + 1}'

  @property
  def shown(self) -> tuple[int, int]:
    """(height, width) of `preview`."""
    height, width = self.picture.shape[:2]
    scale = _SHOWN / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))

  @property
  def middle(self) -> str:
    """The choice of the largest square, which may be all of it."""
    height, width = self.picture.shape[:2]
    return WHOLE if height == width else MIDDLE

  def square(self, choice: str, own: Square | None = None) -> Square:
    """(x, y, side, side) in pixels, for `own` the one given."""
    height, width = self.picture.shape[:2]
    number = self._number(choice)
    if number is not None:
      return image.square_around(self.boxes[number - 1], width, height)
    if choice == OWN and own is not None:
      return self.fit(*own[:3])
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side, side

  def options(self, choice: str, own: Square | None = None) -> dict:
    """`crop` and `face` of `Pipeline.prepare`."""
    number = self._number(choice)
    if number is not None:
      return dict(crop='auto', face=number)
    # In pixels: whoever has chosen the middle needs no warning of it.
    return dict(crop=self.square(choice, own))

  def fit(self, x: float, y: float, side: float) -> Square:
    """A square moved, and if need be shrunk, into the picture."""
    height, width = self.picture.shape[:2]
    most = min(height, width)
    side = int(min(max(side, min(2 * image.MIN_SIDE, most)), most))
    x = int(min(max(x, 0), width - side))
    y = int(min(max(y, 0), height - side))
    return x, y, side, side

  def at(self, x: float, y: float, side: int) -> tuple[str, Square]:
    """What somebody means who points at a place of the picture.

    Args:
      x, y: in [0, 1] of the picture.
      side: of the square so far, in pixels.

    Returns:
      The face there, or OWN; and a square around the place.
    """
    height, width = self.picture.shape[:2]
    place = self.fit(x * width - side / 2, y * height - side / 2, side)
    for i, (x0, y0, x1, y1) in enumerate(self.boxes):
      if x0 <= x <= x1 and y0 <= y <= y1:
        return f'{_FACE}{i + 1}', place
    return OWN, place

  def preview(self, square: Square) -> np.ndarray:
    """The picture with numbered faces; what is not used is darker."""
    from PIL import Image, ImageDraw, ImageFont

    size = self.shown[::-1]
    scale = _SHOWN / max(self.picture.shape[:2])
    shown = np.array(
      Image.fromarray(self.picture).resize(size, Image.Resampling.LANCZOS)
    )
    x, y, side = (round(scale * value) for value in square[:3])
    used = np.zeros(shown.shape[:2], bool)
    used[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)] = True
    shown[~used] = shown[~used] // 5 * 2
    drawn = Image.fromarray(shown)
    draw = ImageDraw.Draw(drawn)
    inside = (
      *(max(1, x), max(1, y)),
      *(min(size[0] - 2, x + side), min(size[1] - 2, y + side)),
    )
    draw.rectangle(inside, outline=_LIGHT, width=3)
    font = ImageFont.load_default(_DIGIT)
    for i, box in enumerate(self.boxes, 1):
      x0, y0, x1, y1 = np.asarray(box, float) * (*size, *size)
      draw.rectangle((x0, y0, x1, y1), outline=(255, 255, 255), width=1)
      *_, right, bottom = draw.textbbox((8, 6), str(i), font=font, anchor='lt')
      # Above the box, as the number may be larger than the face.
      x, y = min(x0, size[0] - right - 8), max(0, y0 - bottom - 6)
      draw.rectangle((x, y, x + right + 8, y + bottom + 6), fill=_LIGHT)
      draw.text((x + 8, y + 6), str(i), _DARK, font=font, anchor='lt')
    return np.asarray(drawn)

  def cut(self, square: Square, resolution: int) -> np.ndarray:
    """What the models see, `[R, R, 3]` uint8."""
    return image.cut_square(self.picture, square, resolution)

  def _number(self, choice: str) -> int | None:
    """The number of the face that is chosen, from 1."""
    if choice not in self.choices:
      raise InputError('there is no such choice of the face any more')
    return int(choice.removeprefix(_FACE)) if choice.startswith(_FACE) else None


def look(picture: np.ndarray) -> Framing:
  """Looks for faces; where there is none, or nobody can, the note says so."""
  from mdcf_jax.media import face_search

  try:
    boxes = tuple(face_search.find_boxes(picture))
  except InputError:
    return Framing(picture, note=_NOT_LOOKED)
  return Framing(picture, boxes, '' if boxes else _NO_FACE)

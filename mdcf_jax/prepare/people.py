"""Everybody's faces in a wide picture.

The detector scales what it is given to a small square and sees only faces
higher than about an eighth of the longer side. Smaller ones are looked for in
overlapping tiles, once in a while, and then followed in a crop around them.
Faces below about a twelfth of the picture's height are not found at all.
"""

import numpy as np

from mdcf_jax.media import faces, landmarker

Box = tuple[float, float, float, float]

# The height of the smallest face that is found, as a part of the longer side.
_SMALLEST = 0.13
# Another person is one whose face is at least this much as high.
OTHER = 0.5
# Side of the tiles and how far they overlap, in picture heights.
_TILE, _OVERLAP = 0.6, 0.2
# Looks between two looks in tiles; a look in tiles costs as much as about ten.
_TILES_EVERY = 5
# Side of the crop in which a face is followed, in heights of that face.
_CROP = 3.0


class PeopleFinder:
  """Finds the faces of everybody, picture after picture of one video."""

  def __init__(self, landmarker: landmarker.Landmarker):
    self._landmarker = landmarker
    self.reset()

  def reset(self):
    """Forgets who was there, as another shot begins."""
    self._known: list[Box] = []
    self._since_tiles = _TILES_EVERY

  def __call__(self, picture: np.ndarray) -> list[Box]:
    """Returns the boxes of the faces in `picture [H, W, 3]` uint8.

    Returns:
      (x0, y0, x1, y1) around the landmarks, the largest first, in [0, 1] of
      the picture, and beyond where a face is cut off.
    """
    height, width = picture.shape[:2]
    aspect = width / height
    boxes = self._look(picture, (0.0, 0.0, 1.0, 1.0))
    for known in self._known:
      if not any(_same(known, box) for box in boxes):
        boxes += self._look(picture, _around(known, aspect))
    tallest = max((box[3] - box[1] for box in boxes), default=0.0)
    self._since_tiles += 1
    if (
      tallest < _SMALLEST * max(1.0, aspect) / OTHER
      and self._since_tiles > _TILES_EVERY
    ):
      self._since_tiles = 0
      for tile in _tiles(aspect):
        boxes += self._look(picture, tile)
    self._known = _distinct(boxes)
    return self._known

  def _look(self, picture: np.ndarray, part: Box) -> list[Box]:
    """Finds faces in a part of the picture."""
    height, width = picture.shape[:2]
    size = np.array([width, height, width, height])
    x0, y0, x1, y1 = np.round(np.clip(part, 0, 1) * size).astype(int)
    if min(x1 - x0, y1 - y0) < 16:
      return []
    boxes = []
    for points, _ in self._landmarker(picture[y0:y1, x0:x1]):
      points = points[:, :2] * (x1 - x0, y1 - y0) + (x0, y0)
      box = np.concatenate([points.min(0), points.max(0)]) / size
      boxes.append(tuple(float(v) for v in box))
    return boxes


def _around(box: Box, aspect: float) -> Box:
  """The square around a face in which it is followed."""
  side = _CROP * (box[3] - box[1])
  x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
  wide = side / aspect
  return (x - wide / 2, y - side / 2, x + wide / 2, y + side / 2)


def _tiles(aspect: float) -> list[Box]:
  """Overlapping squares that cover a picture `aspect` times as wide as high."""

  def starts(length):
    count = int(np.ceil((length - _OVERLAP) / (_TILE - _OVERLAP)))
    return np.linspace(0, max(length - _TILE, 0), max(count, 1))

  return [
    (x / aspect, y, (x + _TILE) / aspect, y + _TILE)
    for y in starts(1.0)
    for x in starts(aspect)
  ]


def _distinct(boxes: list[Box]) -> list[Box]:
  """Leaves one box of each face, the largest first."""
  kept = []
  for box in sorted(boxes, key=_area, reverse=True):
    if not any(_same(box, other) for other in kept):
      kept.append(box)
  return kept


def _same(a: Box, b: Box) -> bool:
  """Whether two boxes are of one face: half of the smaller is shared."""
  shared = faces.overlap(a, b)
  shared *= (_area(a) + _area(b)) / (1 + shared)
  return shared > 0.5 * min(_area(a), _area(b))


def _area(box: Box) -> float:
  return (box[2] - box[0]) * (box[3] - box[1])

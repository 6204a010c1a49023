"""Decoded frames to upright RGB arrays: whole, cropped, or small."""

from collections.abc import Sequence

import numpy as np

# Chroma in full, and rounding that does not darken: the defaults of the
# library trade both for speed.
_FLAGS = {
  'exact': 'lanczos+accurate_rnd+full_chroma_int',
  'fast': 'area',
}


class Converter:
  """Turns PyAV frames into `[H, W, 3]` uint8, upright, with square pixels.

  Attributes:
    resolution: side in pixels of the square to give; None keeps the size.
    box: (x0, y0, x1, y1) in [0, 1] of the upright picture, what to cut out
      before, to the nearest two pixels, as colour is stored for two; None is
      the centred square if there is a resolution and else the whole picture.
    height: of the whole picture, made smaller for analysis: faster than
      `resolution` and less exact. A lower picture keeps its height.

  Raises:
    ValueError: the box is empty, or `height` comes with one of the others.
  """

  def __init__(
    self,
    resolution: int | None = None,
    box: Sequence[float] | None = None,
    height: int | None = None,
  ):
    if height is not None and (resolution is not None or box is not None):
      raise ValueError('height is of whole pictures: no resolution, no box')
    if box is not None:
      box = tuple(min(max(float(edge), 0.0), 1.0) for edge in box)
      x0, y0, x1, y1 = box
      if not (x0 < x1 and y0 < y1):
        raise ValueError(f'a box without area: {box}')
    self.resolution = resolution
    self.box = box
    self.height = height
    self._graph, self._graph_of = None, None

  def __call__(self, frame, shape: float = 1.0) -> np.ndarray:
    """Converts `frame`, whose pixels are `shape` times as wide as high."""
    turns = quarter_turns(frame)
    if self.box is None and self.height is None:
      return self._whole(frame, shape, turns)
    key = (
      *(frame.width, frame.height, frame.format.name, shape, turns),
      *(frame.colorspace, frame.color_range),
    )
    if key != self._graph_of:
      # A stream may change its size on the way.
      self._graph, self._graph_of = self._build(frame, shape, turns), key
    self._graph.push(frame)
    image = self._graph.pull().to_ndarray()
    return np.ascontiguousarray(np.rot90(image, turns))

  def _whole(self, frame, shape: float, turns: int) -> np.ndarray:
    from PIL import Image

    image = frame.to_ndarray(format='rgb24')
    height, width = image.shape[:2]
    if shape != 1.0:
      size = (max(1, round(width * shape)), height)
      image = np.asarray(Image.fromarray(image).resize(size))
    image = np.ascontiguousarray(np.rot90(image, turns))
    height, width = image.shape[:2]
    if self.resolution is None or height == width == self.resolution:
      return image
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = Image.fromarray(image).resize(
      (self.resolution, self.resolution),
      Image.Resampling.LANCZOS,
      box=(left, top, left + side, top + side),
    )
    return np.asarray(square)

  def _build(self, frame, shape: float, turns: int):
    """Returns the filters that crop, scale and convert frames like `frame`."""
    import av

    left, top, width, height = self._crop(frame, turns)
    size = self._size(width, height, shape, turns)
    flags = _FLAGS['exact' if self.height is None else 'fast']
    graph = av.filter.Graph()
    # Slices on threads gain nothing where each worker has a core.
    graph.threads = 1
    last = graph.add_buffer(
      width=frame.width,
      height=frame.height,
      format=frame.format,
      time_base=frame.time_base or 1,
    )
    for name, options in [
      ('crop', f'{width}:{height}:{left}:{top}'),
      ('scale', f'{size[0]}:{size[1]}:flags={flags}'),
      ('format', 'rgb24'),
      ('buffersink', None),
    ]:
      following = graph.add(name, options)
      last.link_to(following)
      last = following
    graph.configure()
    return graph

  def _crop(self, frame, turns: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in the picture as it is stored."""
    if self.box is None:
      return 0, 0, frame.width, frame.height
    x0, y0, x1, y1 = self.box
    for _ in range(turns):  # Back by a quarter turn, clockwise.
      x0, y0, x1, y1 = 1 - y1, x0, 1 - y0, x1
    left, width = _even(x0, x1, frame.width)
    top, height = _even(y0, y1, frame.height)
    return left, top, width, height

  def _size(self, width: int, height: int, shape: float, turns: int):
    """Width and height to scale to, before the picture is turned."""
    if self.resolution is not None:
      return self.resolution, self.resolution
    wide = width * shape
    scale = 1.0
    if self.height is not None:
      scale = min(1.0, self.height / (wide if turns % 2 else height))
    return max(1, round(wide * scale)), max(1, round(height * scale))


def quarter_turns(frame) -> int:
  """How many counter-clockwise quarter turns make a frame upright."""
  return round((frame.rotation or 0) / 90) % 4


def upright_size(frame, shape: float = 1.0) -> tuple[int, int]:
  """Width and height of a frame when it is upright, its pixels square."""
  width, height = max(1, round(frame.width * shape)), frame.height
  return (height, width) if quarter_turns(frame) % 2 else (width, height)


def _even(low: float, high: float, size: int) -> tuple[int, int]:
  """Even start and length in pixels nearest to a stretch of [0, 1]."""
  length = min(size, max(2, 2 * round((high - low) * size / 2)))
  start = 2 * round(low * size / 2)
  return max(0, min(start, size - length)), length

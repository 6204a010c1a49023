"""A unit: a stretch of one video, which preparation turns into records.

Each collection lists its videos as units; everything after that is the same
for all. Times are in seconds after the video's first frame.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Centre:
  """The largest square in the middle of the picture."""


@dataclasses.dataclass(frozen=True)
class Window:
  """A fixed window of the picture.

  Attributes:
    x, y, width, height: pixels of the upright picture.
    of_height: the height that the picture has in those pixels.
  """

  x: float
  y: float
  width: float
  height: float
  of_height: int


@dataclasses.dataclass(frozen=True)
class FaceSquare:
  """The square over the face boxes of all frames, `ratio` times as large."""

  ratio: float = 1.6


@dataclasses.dataclass(frozen=True)
class Unit:
  """One piece of work, which gives records or the reason why not.

  Attributes:
    id: a file name that no other unit of the collection has.
    path: the video.
    source: what the records remember of it, such as its path in the folder.
    identity: whose face it is.
    group: what a drawn split keeps together.
    split: 'train' or 'val'; '' when it is yet to be drawn.
    start, end: the stretch, in seconds; `end` None is the end of the video.
    framing: how the square is chosen.
    search: whether to look for cuts and for stretches of one person first.
    sound: a file with the video's sound, from the first frame on, if it is
      not to be taken from the video itself.
  """

  id: str
  path: str
  source: str
  identity: str
  group: str
  split: str = ''
  start: float = 0.0
  end: float | None = None
  framing: Centre | Window | FaceSquare = FaceSquare()
  search: bool = False
  sound: str | None = None

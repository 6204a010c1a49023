"""Shot cuts in a stream of frames.

A cut is a step in the picture's edges and colours that stands out of the steps
around it: a turning head, a hand or a moving camera makes many steps alike, a
cut makes one. After a flash the old picture comes back, after a cut it does
not. Jump cuts, where the same person goes on from another moment, are found
as far as the picture steps visibly; dissolves and fades are not found.
"""

import collections
from collections.abc import Iterable, Iterator

import numpy as np

# Steps on either side that a step is compared with; also how many frames later
# a cut is known.
LOOKAHEAD = 6
# A flash of up to this many frames is none.
FLASH = 4

_SIDE = 32
_MIN_COLOUR, _MIN_EDGES = 0.01, 0.15
# How far a step must stand out of its neighbours: less where more changes.
_EDGES, _STANDING_OUT = (_MIN_EDGES, 0.55), (4.0, 1.5)
# Another place altogether, which may well be in motion.
_OTHER_COLOUR, _OTHER_EDGES, _OTHER_STANDING_OUT = 0.1, 0.65, 1.2


def find_cuts(frames: Iterable[np.ndarray]) -> Iterator[int]:
  """Yields the indices of the frames that begin a new shot, rising.

  Args:
    frames: `[H, W, 3]` uint8, all of one size, about 25 a second.
  """
  detector = CutDetector()
  for frame in frames:
    cut = detector.push(frame)
    if cut is not None:
      yield cut
  yield from detector.flush()


class CutDetector:
  """Takes frames one by one and remembers a dozen small pictures of them.

  Attributes:
    decided: for all frames below this index it is known whether they begin a
      shot.
  """

  def __init__(self):
    self.decided = 0
    self._count = 0
    reach = 2 * LOOKAHEAD + 1
    # Small pictures and their edges; the steps that led to each of them.
    self._pictures = collections.deque(maxlen=reach)
    self._steps = collections.deque(maxlen=reach)

  def push(self, frame: np.ndarray) -> int | None:
    """Takes the next frame; returns the index of a cut that became known.

    Args:
      frame: `[H, W, 3]` uint8.
    """
    picture = _small_picture(frame)
    previous = self._pictures[-1] if self._pictures else picture
    self._steps.append(_difference(previous, picture))
    self._pictures.append(picture)
    self._count += 1
    return self._decide() if self._count > LOOKAHEAD else None

  def flush(self) -> list[int]:
    """Returns the cuts among the last frames, once all frames are in."""
    cuts = [self._decide() for _ in range(self.decided, self._count)]
    return [cut for cut in cuts if cut is not None]

  def _decide(self) -> int | None:
    """Judges the step to the first frame that is undecided."""
    index, self.decided = self.decided, self.decided + 1
    place = len(self._steps) - (self._count - index)
    if index == 0:
      return None  # The first frame of all.
    colour, edges = self._steps[place]
    if colour < _MIN_COLOUR or edges < _MIN_EDGES:
      return None
    ratio = edges / (self._usual_step(place, index) + 1e-3)
    other = colour >= _OTHER_COLOUR and edges >= _OTHER_EDGES
    needed = np.interp(edges, _EDGES, _STANDING_OUT)
    if other:
      needed = min(needed, _OTHER_STANDING_OUT)
    if ratio < needed or self._comes_back(place):
      return None
    return index

  def _usual_step(self, place: int, index: int) -> float:
    """The second largest step around: the largest may be another cut."""
    first = max(0, place - LOOKAHEAD, place - index + 1)
    steps = [edges for _, edges in self._steps]
    around = steps[first:place] + steps[place + 1 : place + 1 + LOOKAHEAD]
    return sorted(around)[-2] if len(around) > 1 else 0.0

  def _comes_back(self, place: int) -> bool:
    """Whether this is one flank of a flash."""
    pictures = list(self._pictures)
    colour, edges = self._steps[place]

    def alike(a, b):
      other_colour, other_edges = _difference(a, b)
      return other_colour < 0.5 * colour and other_edges < 0.5 * edges

    before, after = pictures[place - 1], pictures[place]
    later = pictures[place + 1 : place + 1 + FLASH]
    earlier = pictures[max(0, place - 1 - FLASH) : place - 1]
    return any(alike(before, picture) for picture in later) or any(
      alike(after, picture) for picture in earlier
    )


def _small_picture(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Means of blocks `[32, 32, 3]` in [0, 1], and the edges between them."""
  from PIL import Image

  # Four samples a block and direction are enough for a mean.
  steps = [max(1, size // (4 * _SIDE)) for size in frame.shape[:2]]
  image = Image.fromarray(np.ascontiguousarray(frame[:: steps[0], :: steps[1]]))
  image = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
  small = np.asarray(image, np.float32) / 255
  grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
  edges = [np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]]
  return small, np.stack(edges)


def _difference(a, b) -> tuple[float, float]:
  """How much colours and edges differ, each in [0, 1]."""
  colour = float(np.abs(a[0] - b[0]).mean())
  both = np.abs(a[1]).sum() + np.abs(b[1]).sum()
  # The one keeps the noise of a dark picture from being a change.
  return colour, float(np.abs(a[1] - b[1]).sum() / (both + 1))

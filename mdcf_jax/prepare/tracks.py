"""Faces through a video: the stretches in which one person is seen.

A stretch lies within a shot and shows one person without a longer break. Other
faces are allowed when they are less than half as high as that person's, such
as an audience or a picture on the wall. Everything else is handed back with
the reason why it was not taken.

Only every `stride`-th frame is looked at, and of the frames a few are kept at
a time, however long the video is. See `people` for how small a face may be.
"""

import collections
import dataclasses
import os
from collections.abc import Iterable

import numpy as np

from mdcf_jax.media import faces
from mdcf_jax.media.landmarker import Landmarker
from mdcf_jax.prepare import shots
from mdcf_jax.prepare.people import OTHER, Box, PeopleFinder

# Faces of one person in two looks share this much, as intersection over union.
_LINK = 0.2
_NO_FACE = 'no face'
_EDGE = "the face is cut off by the picture's edge"
_PICTURE_HEIGHT, _MAX_PICTURES = 180, 50


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a stretch must be like.

  Attributes:
    min_seconds: its shortest length.
    max_seconds: longer ones are taken in equal parts.
    min_face: height of the face (median over the stretch), in pixels of the
      original picture.
    max_gap: longest time without the face, in seconds.
    max_outside: part of the face's box that may lie outside the picture.
    max_spread: how much larger than the face the box over all its places may
      be, in either direction. A person who moves more is taken in parts, so
      that the face fills enough of each part's square.
  """

  min_seconds: float = 2.0
  max_seconds: float = 60.0
  min_face: float = 100.0
  max_gap: float = 0.5
  max_outside: float = 0.03
  max_spread: float = 1.75


@dataclasses.dataclass(frozen=True)
class Stretch:
  """One person from `start` to before `end`.

  Attributes:
    start, end: seconds after the video's first frame.
    face: the box over all boxes of the face, in [0, 1] of the picture.
  """

  start: float
  end: float
  face: Box


@dataclasses.dataclass(frozen=True)
class Rejected:
  """A part of the video that was looked at and not taken.

  Attributes:
    start, end: seconds after the video's first frame.
    reason: in plain words.
    frame: a small picture `[h, w, 3]` uint8 of its beginning; None where
      there were many such parts and this is one of the shortest.
  """

  start: float
  end: float
  reason: str
  frame: np.ndarray | None


def find_stretches(
  frames: Iterable[np.ndarray],
  *,
  picture_height: int,
  fps: float = 25,
  stride: int = 5,
  limits: Limits = Limits(),
  model_path: str | os.PathLike | None = None,
) -> tuple[list[Stretch], list[Rejected]]:
  """Finds the stretches of a video that show exactly one person.

  Args:
    frames: `[H, W, 3]` uint8, upright, all of one size, `fps` a second. A
      height of 360 to 540 is enough.
    picture_height: height in pixels of the original, for `limits.min_face`.
    stride: every which frame is looked at.
    model_path: the Face Landmarker's file; None searches for it.

  Returns:
    The stretches, the longest first; and what was not taken, in order.

  Raises:
    InputError: MediaPipe or its model is missing.
  """
  search = _Search(fps, stride, limits, picture_height)
  cuts, waiting, count = shots.CutDetector(), collections.deque(), 0
  with Landmarker(model_path) as landmarker:
    finder = PeopleFinder(landmarker)

    def look(until):
      """Looks at the frames of which the shot is known."""
      while waiting and waiting[0][0] < until:
        index, frame = waiting.popleft()
        search.look(index, finder(frame), frame)

    def end_shot(cut):
      search.cut(cut)
      finder.reset()

    for index, frame in enumerate(frames):
      if index % stride == 0:
        waiting.append((index, frame))
      cut = cuts.push(frame)
      if cut is not None:
        end_shot(cut)
      look(cuts.decided)
      count = index + 1
    for cut in cuts.flush():
      look(cut)
      end_shot(cut)
    look(count)
  search.cut(count)
  search.stretches.sort(key=lambda s: (s.start - s.end, s.start))
  return search.stretches, search.rejected


def face_box_of(
  frames: Iterable[np.ndarray],
  stride: int = 5,
  model_path: str | os.PathLike | None = None,
) -> Box | None:
  """Returns the box over all boxes of the main face, where it is known to be.

  The main face is the one seen largest and longest; a face that is seen for a
  moment elsewhere does not widen the box.

  Args:
    frames: `[H, W, 3]` uint8, upright, of a stretch of one shot.
    stride: every which frame is looked at.

  Returns:
    (x0, y0, x1, y1) in [0, 1] of the picture; None when no face was found.

  Raises:
    InputError: MediaPipe or its model is missing.
  """
  people: list[list[Box]] = []
  with Landmarker(model_path) as landmarker:
    finder = PeopleFinder(landmarker)
    for index, frame in enumerate(frames):
      if index % stride:
        continue
      for box in finder(frame):
        links = [faces.overlap(person[-1], box) for person in people]
        if links and max(links) >= _LINK:
          people[int(np.argmax(links))].append(box)
        else:
          people.append([box])
  if not people:
    return None

  def weight(person):
    return sum(box[3] - box[1] for box in person)

  return _union(max(people, key=weight))


def square_box(face: Box, ratio: float, aspect: float) -> Box:
  """Returns the square around `face`, `ratio` times as large as the face.

  It is shifted into the picture, and shrunk to it where it must be.

  Args:
    face: (x0, y0, x1, y1) in [0, 1] of the picture.
    ratio: side of the square over the longer side of the box.
    aspect: width over height of the picture.

  Returns:
    (x0, y0, x1, y1) in [0, 1]; a square in pixels.
  """
  x0, y0, x1, y1 = face
  side = min(ratio * max((x1 - x0) * aspect, y1 - y0), 1.0, aspect)
  wide = side / aspect
  left = min(max((x0 + x1 - wide) / 2, 0.0), 1.0 - wide)
  top = min(max((y0 + y1 - side) / 2, 0.0), 1.0 - side)
  return (left, top, left + wide, top + side)


class _Search:
  """Puts looks together to stretches."""

  def __init__(self, fps, stride, limits, picture_height):
    self.stretches: list[Stretch] = []
    self.rejected: list[Rejected] = []
    self._fps, self._stride = fps, stride
    self._limits, self._height = limits, picture_height
    self._shot = 0  # The frame that began this shot.
    self._start, self._picture = 0, None  # Of the open stretch.
    self._seen: list[tuple[int, Box]] = []  # Its frames and boxes,
    self._reach, self._sizes = None, 0.0  # their union, and sum of sizes.
    # What has come since: [first frame, last frame, reason, picture].
    self._bad: list[list] = []

  def look(self, index: int, boxes: list[Box], frame: np.ndarray):
    """Takes the faces of frame `index`."""
    box = self._main(boxes)
    reason = self._objection(box, boxes)
    if reason is None:
      self._good(index, box, frame)
      return
    if self._bad and self._bad[-1][2] == reason:
      self._bad[-1][1] = index
    else:
      self._bad.append([index, index, reason, _shrink(frame)])
    if self._seen and self._is_over(index):
      self._close(self._seen[-1][0] + 1)

  def cut(self, index: int):
    """Ends the shot before frame `index`."""
    if self._seen:
      self._close(self._seen[-1][0] + 1 if self._bad else index)
    self._reject_bad(index)
    self._shot = index

  def _main(self, boxes: list[Box]) -> Box | None:
    """The person of the open stretch, else the largest face."""
    if self._seen:
      links = [faces.overlap(self._seen[-1][1], box) for box in boxes]
      if links and max(links) >= _LINK:
        return boxes[int(np.argmax(links))]
    return boxes[0] if boxes else None

  def _objection(self, box: Box | None, boxes: list[Box]) -> str | None:
    """Why this look does not show one person, None when it does."""
    if box is None:
      return _NO_FACE
    height = box[3] - box[1]
    people = sum(other[3] - other[1] >= OTHER * height for other in boxes)
    if people > 1:
      return {2: 'two people', 3: 'three people'}.get(people, 'many people')
    inside = np.clip(box, 0, 1)
    share = np.prod(inside[2:] - inside[:2]) / (height * (box[2] - box[0]))
    return _EDGE if share < 1 - self._limits.max_outside else None

  def _good(self, index: int, box: Box, frame: np.ndarray):
    """Continues the stretch, or begins another one."""
    if self._seen and not self._continues(index, box):
      self._close(self._seen[-1][0] + 1)
    if not self._seen:
      begins = index - self._shot < self._stride and not self._bad
      self._start = self._shot if begins else index
      self._picture = _shrink(frame)
      self._reject_bad(index)
    self._bad = []
    size = np.array([box[2] - box[0], box[3] - box[1]])
    self._sizes = self._sizes + size if self._seen else size
    self._reach = self._joined(box)
    self._seen.append((index, box))

  def _continues(self, index: int, box: Box) -> bool:
    last, last_box = self._seen[-1]
    if index - last > max(self._limits.max_gap * self._fps, self._stride):
      return False
    if faces.overlap(last_box, box) < _LINK:
      return False
    low, high = np.reshape(self._joined(box), (2, 2))
    mean = self._sizes / len(self._seen)
    return bool((high - low <= self._limits.max_spread * mean).all())

  def _joined(self, box: Box) -> Box:
    """The union of the open stretch's boxes and `box`."""
    if not self._seen:
      return box
    return (
      *np.minimum(self._reach, box)[:2],
      *np.maximum(self._reach, box)[2:],
    )

  def _is_over(self, index: int) -> bool:
    """Whether what has come since the last good look ends the stretch.

    One look at something else may be a mistake of the detector.
    """
    other = sum(
      (last - first) // self._stride + 1
      for first, last, reason, _ in self._bad
      if reason != _NO_FACE
    )
    gap = index - self._seen[-1][0]
    return other > 1 or gap > self._limits.max_gap * self._fps

  def _close(self, end: int):
    """Ends the open stretch before frame `end`."""
    seen, start, limits = self._seen, self._start, self._limits
    self._seen = []
    seconds = (end - start) / self._fps
    height = np.median([box[3] - box[1] for _, box in seen]) * self._height
    reason = None
    if seconds < limits.min_seconds:
      reason = f'one person, but for less than {limits.min_seconds:g} seconds'
    elif height < limits.min_face:
      reason = f'too small: {height:.0f} of {limits.min_face:g} pixels'
    if reason:
      self._reject(start, end, reason, self._picture)
      return
    parts = int(np.ceil(seconds / limits.max_seconds))
    edges = np.round(np.linspace(start, end, parts + 1)).astype(int)
    for first, last in zip(edges[:-1], edges[1:]):
      boxes = [
        box for k, box in seen if first - self._stride < k < last + self._stride
      ]
      self.stretches.append(
        Stretch(
          float(first / self._fps), float(last / self._fps), _union(boxes)
        )
      )

  def _reject_bad(self, end: int):
    """Hands back what came since the last stretch, up to frame `end`."""
    starts = [start for start, *_ in self._bad]
    if starts and starts[0] - self._shot < self._stride:
      starts[0] = self._shot
    for (_, _, reason, picture), start, stop in zip(
      self._bad, starts, [*starts[1:], end]
    ):
      self._reject(start, stop, reason, picture)
    self._bad = []

  def _reject(self, start: int, end: int, reason: str, picture: np.ndarray):
    """Remembers a part that is not taken; equal neighbours become one."""
    begin, stop = float(start / self._fps), float(end / self._fps)
    last = self.rejected[-1] if self.rejected else None
    near = last and begin - last.end <= self._stride / self._fps
    if near and last.reason == reason:
      self.rejected[-1] = dataclasses.replace(last, end=stop)
      return
    self.rejected.append(Rejected(begin, stop, reason, picture))
    shown = [k for k, r in enumerate(self.rejected) if r.frame is not None]
    if len(shown) > _MAX_PICTURES:
      k = min(
        shown, key=lambda k: self.rejected[k].end - self.rejected[k].start
      )
      self.rejected[k] = dataclasses.replace(self.rejected[k], frame=None)


def _union(boxes: list[Box]) -> Box:
  """The box over all boxes, within the picture."""
  stacked = np.array(boxes)
  box = np.concatenate([stacked[:, :2].min(0), stacked[:, 2:].max(0)])
  return tuple(float(v) for v in np.clip(box, 0, 1))


def _shrink(frame: np.ndarray) -> np.ndarray:
  """A copy of `frame` that is small enough for a report."""
  from PIL import Image

  height, width = frame.shape[:2]
  scale = min(1.0, _PICTURE_HEIGHT / height)
  size = max(1, round(width * scale)), max(1, round(height * scale))
  image = Image.fromarray(np.ascontiguousarray(frame))
  return np.array(image.resize(size, Image.Resampling.BILINEAR))

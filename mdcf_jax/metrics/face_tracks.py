"""One face through a clip, as the public evaluation of lip sync follows it.

The rules of github.com/joonson/syncnet_python, run_pipeline.py: a detection
continues a track when it overlaps the track's last one by more than half and is
at most 25 frames later; a track counts when it has more than 100 detections and
the face is larger than 100 pixels; gaps are interpolated.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.metrics.no_score import NoScore, Reason

MIN_DETECTIONS = 100  # A track has more,
MAX_GAP = 25  # its detections are at most so many frames apart,
MIN_OVERLAP = 0.5  # share more than this, as intersection over union,
MIN_SIZE = 100.0  # and its mean width or height is larger, in pixels.

Detections = Sequence[np.ndarray]  # Of every frame `[n, 4]`, n may be 0.


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
  """A face from frame `start` on.

  Attributes:
    start: the first frame.
    boxes: `[L, 4]` float64, (x0, y0, x1, y1) in pixels, one a frame.
  """

  start: int
  boxes: np.ndarray

  @property
  def end(self) -> int:
    """The frame after the last one."""
    return self.start + len(self.boxes)


def check_detections(boxes: np.ndarray | Detections) -> Detections:
  """Brings boxes into one form, the found ones of every frame.

  Args:
    boxes: `[T, 4]`, (x0, y0, x1, y1) in pixels, a row of NaN where no face was
      found; or T arrays `[n, 4]`. Further columns (confidence) are ignored.

  Returns:
    T arrays `[n, 4]` float64.

  Raises:
    InputError: boxes of another shape, not finite, or without an area.
  """
  if isinstance(boxes, np.ndarray) and boxes.ndim == 2:
    boxes = [row[None] if np.isfinite(row).any() else [] for row in boxes]
  checked = []
  for index, given in enumerate(boxes):
    found = np.asarray(given, np.float64)
    found = found if found.size else np.zeros((0, 4))
    if found.ndim != 2 or found.shape[1] < 4:
      raise InputError(
        f'boxes of frame {index} are {found.shape}, not [n, 4] in pixels'
      )
    found = found[:, :4]
    sides = found[:, 2:] - found[:, :2]
    if not np.isfinite(found).all() or not (sides > 0).all():
      raise InputError(
        f'boxes of frame {index} are not (x0, y0, x1, y1): {found.tolist()}'
      )
    checked.append(found)
  return checked


def find_tracks(
  detections: Detections, shots: Sequence[tuple[int, int]] | None = None
) -> list[Track] | NoScore:
  """Links detections to tracks.

  Args:
    detections: of `check_detections`; boxes of a frame do not overlap much
      (they went through non-maximum suppression).
    shots: first frame and frame after the last one of every shot; None takes
      the clip for one shot. No track crosses a cut, and shots of fewer than
      100 frames are left out.

  Returns:
    The tracks in the order of their first frames, shot after shot; or why
    there is none.
  """
  shots = shots or [(0, len(detections))]
  linked = []
  for first, last in shots:
    if last - first >= MIN_DETECTIONS:
      linked += _link(detections, first, last)
  if not any(len(x) for x in detections):
    return NoScore(Reason.NO_FACE, f'in {len(detections)} frames')
  long = [x for x in linked if len(x) > MIN_DETECTIONS]
  if not long:
    most = max((len(x) for x in linked), default=0)
    return NoScore(
      Reason.SHORT_TRACK,
      f'it was found in {most} of {len(detections)} frames in a row; more than '
      f'{MIN_DETECTIONS} are needed',
    )
  tracks = [_interpolate(x) for x in long]
  large = [x for x in tracks if _size(x) > MIN_SIZE]
  if not large:
    size = max(_size(x) for x in tracks)
    return NoScore(
      Reason.SMALL_FACE, f'{size:.0f} pixels; more than {MIN_SIZE:.0f} needed'
    )
  return large


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Intersection over union of boxes `[..., 4]`, broadcast."""
  low = np.maximum(a[..., :2], b[..., :2])
  high = np.minimum(a[..., 2:], b[..., 2:])
  shared = np.prod(np.maximum(high - low, 0), axis=-1)
  areas = [np.prod(x[..., 2:] - x[..., :2], axis=-1) for x in (a, b)]
  return shared / (areas[0] + areas[1] - shared)


def _link(detections, first, last) -> list[list[tuple[int, np.ndarray]]]:
  """Frames and boxes of every track of a shot; each detection is in one."""
  left = [
    (frame, box) for frame in range(first, last) for box in detections[frame]
  ]
  linked = []
  while left:
    track, others = [left[0]], []
    for frame, box in left[1:]:
      near = frame - track[-1][0] <= MAX_GAP
      if near and overlap(box, track[-1][1]) > MIN_OVERLAP:
        track.append((frame, box))
      else:
        others.append((frame, box))
    linked.append(track)
    left = others
  return linked


def _interpolate(linked: list[tuple[int, np.ndarray]]) -> Track:
  frames = [frame for frame, _ in linked]
  boxes = np.stack([box for _, box in linked])
  every = np.arange(frames[0], frames[-1] + 1)
  columns = [np.interp(every, frames, column) for column in boxes.T]
  return Track(frames[0], np.stack(columns, axis=1))


def _size(track: Track) -> float:
  """The larger of mean width and mean height."""
  return float(np.mean(track.boxes[:, 2:] - track.boxes[:, :2], axis=0).max())

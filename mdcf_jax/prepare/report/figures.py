"""What a report says of a dataset, gathered clip by clip.

Records are seen once and forgotten: of a clip a dozen numbers stay, and of its
frames only how often each value occurs.
"""

import array
import collections
import dataclasses
import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcf_jax.data import records
from mdcf_jax.prepare.report.charts import Values, known

# A blink closes the eyes below this part of their usual opening, and is over
# within so many seconds; what lasts longer is a look down or a nap.
BLINK_PART, BLINK_SECONDS = 0.6, 0.5
# Somebody seen for fewer seconds has no blink rate.
BLINK_WATCHED = 10.0
# Sound this many frames off is heard as such, if the measure is sure of it.
LAG_FRAMES, LAG_SCORE = 2.0, records.LAG_SCORE
MAX_SUSPECTS = 200  # Kept, the farthest off first.


@dataclasses.dataclass(frozen=True)
class Clip:
  """One clip as the report needs it; NaN where nobody knows.

  Attributes:
    split, id, identity, source: as in its record.
    num_frames: T.
    seconds: T over the frames per second of the record.
    has_audio: whether there is sound.
    quality: those of `records.QUALITY`.
    filled: part of the frames, in [0, 1], whose face was not found.
    blinks: how many began while the face was found.
    watched: seconds with a face.
    frames: of the frames with a face, `[n]` each: yaw, pitch, roll (degrees),
      x, y (in [-1, 1] of the picture), size (face over picture height), eyes
      (aspect ratio), mouth (gap between the lips over the face's height).
  """

  split: str
  id: str
  identity: str
  source: str
  num_frames: int
  seconds: float
  has_audio: bool
  quality: dict[str, float]
  filled: float
  blinks: int
  watched: float
  frames: dict[str, np.ndarray]

  @property
  def suspect(self) -> bool:
    """Whether the sound seems not to go with the picture."""
    lag, score = self.quality['lag'], self.quality['lag_score']
    return abs(lag) > LAG_FRAMES and score >= LAG_SCORE


def read_clip(split: str, record: Mapping[str, Any]) -> Clip:
  """The figures of a record; the only place that knows what it is like."""
  pose, blink = record['pose'], record['blink']
  detected = np.asarray(record['detected'], bool)
  num_frames, fps = len(record['frames']), record['fps']
  nan = float('nan')
  found = int(detected.sum())
  eyes = np.asarray(blink, np.float64).mean(axis=1)
  values = dict(zip(('yaw', 'pitch', 'roll', 'x', 'y'), np.transpose(pose)))
  values['size'] = np.exp(np.asarray(pose, np.float64)[:, 5])
  values |= {'eyes': eyes, 'mouth': mouth_opening(record)}
  return Clip(
    split=split,
    id=record['id'],
    identity=record['identity'],
    source=record['source'],
    num_frames=num_frames,
    seconds=num_frames / fps,
    has_audio=len(record['waveform']) > 0,
    quality={key: float(record[key]) for key in records.QUALITY},
    filled=1 - found / num_frames if num_frames else nan,
    blinks=count_blinks(eyes, detected, fps),
    watched=found / fps,
    frames={key: value[detected] for key, value in values.items()},
  )


def mouth_opening(record: Mapping[str, Any]) -> np.ndarray:
  """Gap between the inner lips over the face's usual height, `[T]`."""
  upper, lower = np.moveaxis(record['landmarks'][:, :2], 1, 0)
  box = record['face_box']
  height = np.median(box[:, 3] - box[:, 1]) if len(box) else 1.0
  return np.linalg.norm(upper - lower, axis=-1) / max(float(height), 1e-3)


def count_blinks(eyes: np.ndarray, detected: np.ndarray, fps: float) -> int:
  """Blinks that begin in a clip.

  Args:
    eyes: `[T]` eye aspect ratios, mean of both eyes.
    detected: `[T]`; other frames say nothing.
    fps: frames per second.
  """
  if not detected.any():
    return 0
  shut = detected & (eyes < BLINK_PART * np.median(eyes[detected]))
  change = np.diff(np.concatenate([[0], shut.astype(np.int8), [0]]))
  starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
  # Eyes that are shut in the first frame began to be so before it.
  return int(((ends - starts <= BLINK_SECONDS * fps) & (starts > 0)).sum())


class Tally:
  """How often values occur, to a fine step; memory does not grow with them.

  Attributes:
    step: values closer than that are not told apart.
    unknown: how many values were none, see `charts.known`.
  """

  def __init__(self, step: float):
    self.step, self.unknown = step, 0
    self._counts: collections.Counter[int] = collections.Counter()

  def add(self, values: np.ndarray) -> None:
    """Counts `values [n]`."""
    values = np.asarray(values, np.float64)
    values, count = values[known(values)], len(values)
    self.unknown += count - len(values)
    places = np.rint(values / self.step)
    places, counts = np.unique(places, return_counts=True)
    self._counts.update(dict(zip(places.astype(int).tolist(), counts.tolist())))

  def values(self) -> Values:
    """What was counted."""
    places = sorted(self._counts)
    counts = np.array([self._counts[p] for p in places], np.int64)
    return Values(np.array(places, np.float64) * self.step, counts)


@dataclasses.dataclass
class Total:
  """Sums over the clips of a split, or of a person.

  Attributes:
    clips, frames, with_sound: how many.
    seconds: of clips; `watched`: of those with a face; `blinks`: in these.
    names: of the identities, in a split; of the splits, for a person.
  """

  clips: int = 0
  frames: int = 0
  with_sound: int = 0
  seconds: float = 0.0
  watched: float = 0.0
  blinks: int = 0
  names: set[str] = dataclasses.field(default_factory=set)

  def add(self, clip: Clip, name: str) -> None:
    """Adds a clip."""
    self.clips += 1
    self.frames += clip.num_frames
    self.with_sound += clip.has_audio
    self.seconds += clip.seconds
    self.watched += clip.watched
    self.blinks += clip.blinks
    self.names.add(name)


# Fine steps of what is counted frame by frame.
STEPS = {
  **dict.fromkeys(('yaw', 'pitch', 'roll'), 0.1),
  **dict.fromkeys(('x', 'y', 'eyes', 'size', 'mouth'), 0.001),
}


class Summary:
  """All that the report says of the clips, beside their pictures.

  Attributes:
    splits, people: Total by the name of the split, or of the identity.
    clips: numbers of each clip by name: `records.QUALITY`, seconds, filled.
    frames: Tally of each value of `Clip.frames`.
    num_suspects: clips whose sound seems off.
  """

  def __init__(self):
    self.splits: dict[str, Total] = {}
    self.people: dict[str, Total] = {}
    self.clips = {
      key: array.array('d') for key in (*records.QUALITY, 'seconds', 'filled')
    }
    self.frames = {key: Tally(step) for key, step in STEPS.items()}
    self.num_suspects = 0
    self._suspects: list[tuple[float, int, Clip]] = []

  def add(self, clip: Clip) -> None:
    """Takes one clip in."""
    self.splits.setdefault(clip.split, Total()).add(clip, clip.identity)
    self.people.setdefault(clip.identity, Total()).add(clip, clip.split)
    numbers = clip.quality | {'seconds': clip.seconds, 'filled': clip.filled}
    for key, value in numbers.items():
      self.clips[key].append(value)
    for key, values in clip.frames.items():
      self.frames[key].add(values)
    if clip.suspect:
      self.num_suspects += 1
      kept = dataclasses.replace(clip, frames={})
      entry = abs(clip.quality['lag']), -self.num_suspects, kept
      heapq.heappush(self._suspects, entry)
      if len(self._suspects) > MAX_SUSPECTS:
        heapq.heappop(self._suspects)

  def total(self) -> Total:
    """Over all splits."""
    sums = Total(names=set(self.people))
    for split in self.splits.values():
      for key in ('clips', 'frames', 'with_sound', 'seconds', 'watched'):
        setattr(sums, key, getattr(sums, key) + getattr(split, key))
      sums.blinks += split.blinks
    return sums

  def suspects(self) -> list[Clip]:
    """Clips whose sound seems off, the farthest first."""
    return [clip for *_, clip in sorted(self._suspects, reverse=True)]

  def column(self, key: str) -> np.ndarray:
    """One number of each clip, `[clips]`."""
    return np.array(self.clips[key])

  def blink_rates(self) -> np.ndarray:
    """Blinks per minute of each person; NaN for who is seen too shortly."""
    return np.array(
      [
        60 * person.blinks / person.watched
        if person.watched >= BLINK_WATCHED
        else np.nan
        for person in self.people.values()
      ]
    )

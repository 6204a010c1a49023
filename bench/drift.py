"""Does a long video fall apart? Windows of one video beside its first.

  python bench/drift.py --frames 1600 9000
  python bench/drift.py --frames 100 --window=25 --steps=4  # small, on a CPU

One recording is repeated (or several are put one after the other) until the
sound is long enough. Frames are measured as they come and thrown away; no more
than one window of them is in memory. Each number stands with its ratio to that
of the first window, or its distance from it:

  sharpness  variance of the Laplacian of the whole picture
  identity   with --arcface: cosine of each frame to the portrait. Without: how
             far the mean shape of the face (landmarks, lips and eyelids left
             out, head motion taken out) is from that of the first window, in
             eye distances: 0 is no change; not a judgement of likeness
  flow       flow smoothness (appendix A.3) by Farneback's estimator
  blinks     a minute

What needs MediaPipe, its model, OpenCV or ArcFace is blank without it.
"""

import argparse
import dataclasses
import pathlib
import resource
import sys
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mdcf_jax.errors import InputError, NoScore  # noqa: E402
from mdcf_jax.media import audio, faces, landmarker  # noqa: E402
from mdcf_jax.metrics import (  # noqa: E402
  alignment,
  flow_smoothness,
  identity,
  landmarks,
  optical_flow,
  sharpness,
)
from mdcf_jax.pipeline import Pipeline  # noqa: E402

FPS, SAMPLES = 25, 640  # Of a frame.
# Points that neither speech nor a blink moves much: all but lips and lids.
EYELIDS = (159, 145, 386, 374, 160, 144, 158, 153, 385, 380, 387, 373)
STILL = np.setdiff1d(np.arange(468), (*landmarks.LIPS, *EYELIDS))


@dataclasses.dataclass
class Window:
  """Numbers of one window; None where they were not computed.

  Attributes:
    first, last: frames.
    sharpness, identity, flow, blinks: see above.
    shape: `[points, 2]`, mean shape of the face in eye distances.
  """

  first: int
  last: int
  sharpness: float
  identity: float | None = None
  flow: float | None = None
  blinks: float | None = None
  shape: np.ndarray | None = None


class Meter:
  """Measures windows.

  Args:
    portrait: `[H, W, 3]` uint8, as the video shows it.
    arcface: the user's ONNX file, or None.
  """

  def __init__(self, portrait: np.ndarray, arcface: str | None):
    self.notes: list[str] = []
    self._model = self._try('faces', landmarker.find_model)
    self._has_flow = bool(
      self._try('flow', lambda: [optical_flow.farneback_flow(_TWO)])
    )
    self._arcface = self._reference = None
    self._base: np.ndarray | None = None
    self._before: np.ndarray | None = None
    if arcface and self._model:
      self._arcface = identity.ArcFace(arcface)
      track = faces.track_faces(portrait[None], self._model)
      crop = identity.align(portrait, track.landmarks[0])
      (self._reference,) = self._arcface(crop[None])

  def _try(self, name: str, find):
    try:
      return find()
    except InputError as error:
      self.notes.append(f'{name} not computed: {error}')
      return None

  def __call__(self, first: int, frames: np.ndarray) -> Window:
    """Measures `frames [T, H, W, 3]` uint8, of which `first` is the first."""
    window = Window(
      first,
      first + len(frames) - 1,
      float(np.mean([sharpness.laplacian_variance(x) for x in frames])),
    )
    if self._has_flow:
      window.flow = self._flow(frames)
    self._before = frames[-1]
    if self._model:
      try:
        self._face(window, frames)
      except NoScore as error:
        self.notes.append(f'frames {first} on: {error}')
    return window

  def _flow(self, frames: np.ndarray) -> float | None:
    """Mean over all fields, that from the window before included."""
    before, values = self._before, []
    for frame in frames:
      if before is not None:
        pair = np.stack([before, frame])
        (field,) = optical_flow.farneback_flow(pair).fields
        values.append(float(flow_smoothness.flow_smoothness(field)))
      before = frame
    return float(np.mean(values)) if values else None

  def _face(self, window: Window, frames: np.ndarray) -> None:
    track = faces.track_faces(frames, self._model)
    seen = track.landmarks[track.detected]
    if self._base is None:
      self._base = _in_eye_distances(seen[0])
    steady = list(landmarks.STEADY)
    matrix = alignment.similarity(seen[:, steady], self._base[steady])
    window.shape = alignment.transform(seen, matrix).mean(axis=0)[STILL]
    if self._arcface:
      crops = np.stack(
        [
          identity.align(frame, points)
          for frame, points in zip(frames[track.detected], seen)
        ]
      )
      window.identity = float((self._arcface(crops) @ self._reference).mean())
    blink = landmarks.only_seen(track.blink, track.detected)
    window.blinks = landmarks.count_blinks(blink, FPS).per_minute


_TWO = np.zeros((2, 32, 32, 3), np.uint8)


def _in_eye_distances(points: np.ndarray) -> np.ndarray:
  right, left = (points[list(eye)].mean(axis=0) for eye in landmarks.EYES)
  return points / np.linalg.norm(right - left)


def windows(
  frames: Iterable[np.ndarray], size: int
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields (first frame, frames `[size, H, W, 3]`); the last may be shorter."""
  kept, first = [], 0
  for frame in frames:
    kept.append(frame)
    if len(kept) == size:
      yield first, np.stack(kept)
      first, kept = first + size, []
  if kept:
    yield first, np.stack(kept)


def speech(paths: list[str], frames: int) -> np.ndarray:
  """`[640 frames]` at 16 kHz: the recordings, over and over.

  Raises:
    InputError: one cannot be read.
  """
  whole = np.concatenate([audio.read_audio(path) for path in paths])
  return np.resize(whole, frames * SAMPLES).astype(np.float32)


def measure(args: argparse.Namespace, pipe: Pipeline, frames: int):
  """Generates a video and returns its windows, and what was not computed."""
  options = dict(seed=args.seed, steps=args.steps, resolution=args.resolution)
  sound = speech(args.audio, frames), audio.SAMPLE_RATE
  clip = pipe.prepare(args.image, sound, **options)
  meter = Meter(clip.image, args.arcface)
  (made,) = pipe.generate([clip])
  return [meter(*x) for x in windows(made, args.window)], meter.notes


def rows(found: list[Window]) -> list[list[str]]:
  """Cells of the table: each number, and its ratio to the first window's."""
  start = found[0]
  lines = []
  for window in found:
    moved = None
    if window.shape is not None and start.shape is not None:
      moved = np.linalg.norm(window.shape - start.shape, axis=-1).mean()
    lines.append(
      [
        f'{window.first}-{window.last}',
        *_beside(window.sharpness, start.sharpness, 1),
        _text(window.identity, 3),
        _text(moved, 4),
        *_beside(window.flow, start.flow, 4),
        _text(window.blinks, 1),
      ]
    )
  return lines


def _beside(value, first, digits: int) -> tuple[str, str]:
  if value is None or not first:
    return _text(value, digits), ''
  return _text(value, digits), f'{value / first:.2f}'


def _text(value, digits: int) -> str:
  return '' if value is None else f'{value:.{digits}f}'


HEAD = ('frames', 'sharpness', 'to first', 'CSIM', 'shape', 'flow', 'to first')
HEAD += ('blinks/min',)


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--frames', type=int, nargs='+', default=[1600, 9000])
  add('--window', type=int, default=200, help='frames')
  add('--image', default=str(ROOT / 'assets' / 'portrait.png'))
  add('--audio', nargs='+', default=[str(ROOT / 'assets' / 'speech.wav')])
  add('--weights', default='mini')
  add('--resolution', type=int)
  add('--steps', type=int, default=20)
  add('--seed', type=int, default=0)
  add('--arcface', help='your own ONNX file')
  args = parser.parse_args(argv)
  if min(*args.frames, args.window) < 1:
    parser.error('--frames and --window are above 0')
  try:
    pipe = Pipeline.from_pretrained(args.weights)
    for frames in args.frames:
      found, notes = measure(args, pipe, frames)
      print_table(frames, args, found, notes)
  except InputError as error:
    parser.error(str(error))


def print_table(frames, args, found, notes) -> None:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print(f'\n{frames} frames, windows of {args.window}, {args.steps} steps; ')
  print(f'peak memory of the process so far {peak:.2f} GiB\n')
  print(f'| {" | ".join(HEAD)} |')
  print('|---' * len(HEAD) + '|')
  for cells in rows(found):
    print(f'| {" | ".join(cells)} |')
  for note in notes:
    print(f'\n{note}')


if __name__ == '__main__':
  main()

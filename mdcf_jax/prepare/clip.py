"""One unit becomes records: find the stretches, frame them, describe them."""

import contextlib
import dataclasses
import errno
import io
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mdcf_jax.data import records
from mdcf_jax.errors import InputError
from mdcf_jax.media import faces, video
from mdcf_jax.prepare import quality, tracks
from mdcf_jax.prepare.pieces import (
  MAX_HOLD,
  Box,
  Piece,
  Settings,
  read_pieces,
)
from mdcf_jax.prepare.units import Centre, Unit, Window
from mdcf_jax.prepare.work_folder import read_json, write_json

MIN_DETECTED = 0.5  # Of the frames; below that it is no talking head.
ANALYSIS_HEIGHT = 360  # Of the pictures that cuts and faces are looked for in.
_THUMBNAIL = 160  # Height in pixels of the picture of what was dropped.
# A square picture of which the face's square takes this much is a finished
# crop; cutting off a little more would only cost sharpness.
_FINISHED_CROP = 0.6
_MISSING_SECONDS = 1.0  # A video may be shorter than it says by so much.


def prepare_unit(
  unit: Unit, folder: pathlib.Path, settings: Settings
) -> dict[str, Any]:
  """Turns one unit into records in `folder`, unless they are there already.

  It leaves `<id>.npz`, for the next ones `<id>.1.npz` and so on, a small
  picture `<id>.dropped.0.jpg` of each stretch that is not taken, and at last
  `<id>.json`, which lists them and says what they were made from.

  Returns:
    dict(records: dicts of name, start, end, frames and the quality figures;
    dropped: dicts of start, end, reason and picture, a name or None). Times
    are in seconds after the first frame of the video. A unit that cannot be
    read is dropped as a whole.

  Raises:
    OSError: there is no space left for the records.
  """
  if stored := finished(unit, folder):
    return stored
  made_from = _made_from(unit)
  work = _Work(unit, folder, settings)
  try:
    work.do()
  except InputError as error:
    work.drop(str(error))
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      raise
    work.drop(f'{error}')
    return work.outcome  # Not written: the next run may have better luck.
  except Exception as error:  # One odd clip must not stop a night's work.
    work.drop(f'{type(error).__name__}: {error}')
    return work.outcome
  path = folder / f'{unit.id}.json'
  write_json(path, dict(made_from=made_from) | work.outcome)
  return work.outcome


def finished(unit: Unit, folder: pathlib.Path) -> dict[str, Any] | None:
  """What `prepare_unit` returned for this unit before, None if it did not."""
  stored = read_json(folder / f'{unit.id}.json') or {}
  return stored if stored.get('made_from') == _made_from(unit) else None


def _made_from(unit: Unit) -> dict[str, Any]:
  """What tells a unit from another of its name, or a later version of it."""
  files = {}
  for path in filter(None, (unit.path, unit.sound)):
    with contextlib.suppress(OSError):
      stat = os.stat(path)
      files[os.path.realpath(path)] = [stat.st_size, stat.st_mtime_ns]
  described = dataclasses.asdict(unit) | {'framing': repr(unit.framing)}
  for name in ('path', 'sound', 'split', 'group'):  # No part of a record.
    del described[name]
  return dict(unit=described, files=files)


class _Work:
  """What is done with one unit, and what came of it so far."""

  def __init__(self, unit: Unit, folder: pathlib.Path, settings: Settings):
    self.unit, self.folder, self.settings = unit, folder, settings
    self.outcome: dict[str, Any] = dict(records=[], dropped=[])

  def do(self) -> None:
    """Writes the records."""
    info = video.probe(self.unit.path)
    for stretch in self._stretches(info):
      try:
        box = _frame(self.unit, stretch, info, self.settings)
        for piece in self._pieces(stretch, box, info):
          self._record(piece, box, info)
      except InputError as error:  # Another stretch may do.
        self.drop(str(error), stretch)

  def drop(self, reason: str, piece: Any = None) -> None:
    """Notes a stretch that is not taken, with a picture of it."""
    unit, dropped = self.unit, self.outcome['dropped']
    frame = getattr(piece, 'frame', None)
    picture = None
    if frame is not None:
      picture = f'{unit.id}.dropped.{len(dropped)}.jpg'
      (self.folder / picture).write_bytes(_thumbnail(frame))
    dropped.append(
      dict(
        start=getattr(piece, 'start', unit.start),
        end=getattr(piece, 'end', unit.end),
        # The folder of the videos is nobody else's business.
        reason=_one_line(reason.replace(unit.path, unit.source)),
        picture=picture,
      )
    )

  def _stretches(self, info: video.VideoInfo) -> list[tracks.Stretch]:
    """What of the unit is to be taken; the rest is noted."""
    unit, settings = self.unit, self.settings
    if not unit.search:
      return [tracks.Stretch(unit.start, unit.end, None)]
    frames = _Counted(_analysis(unit, unit.start, unit.end))
    stretches, rejected = tracks.find_stretches(
      frames,
      fps=records.FPS,
      limits=tracks.Limits(
        min_seconds=settings.min_seconds, min_face=settings.min_face
      ),
      picture_height=info.height,
      model_path=settings.face_model,
    )
    for piece in rejected:
      start, end = unit.start + piece.start, unit.start + piece.end
      self.drop(piece.reason, dataclasses.replace(piece, start=start, end=end))
    self._check_end(unit.start + frames.count / records.FPS, info)
    return [
      dataclasses.replace(s, start=unit.start + s.start, end=unit.start + s.end)
      for s in stretches
    ]

  def _pieces(
    self, stretch: tracks.Stretch, box: Box | None, info: video.VideoInfo
  ) -> Iterator[Piece]:
    """Yields the pieces of a stretch; a rest that is too short is noted."""
    piece = None
    for piece in read_pieces(self.unit, stretch, box, self.settings, info):
      if len(piece.frames) >= self.settings.min_frames:
        yield piece
      elif piece.start > stretch.start:
        self.drop(f'a rest of {len(piece.frames)} frames', piece)
      else:
        self.drop(f'only {len(piece.frames)} frames', piece)
    if piece is not None and not self.unit.search:
      self._check_end(piece.end, info)

  def _check_end(self, seen: float, info: video.VideoInfo) -> None:
    """Notes that a video is shorter than it, or the list of clips, says."""
    expected = self.unit.end or info.duration
    if expected and expected - seen > _MISSING_SECONDS:
      rest = tracks.Rejected(seen, expected, '', None)
      self.drop(f'the video breaks off: {seen:.1f} of {expected:.1f} s', rest)

  def _record(self, piece: Piece, box: Box | None, info: video.VideoInfo):
    """Writes one record, or notes why not."""
    number = len(self.outcome['records'])
    name = f'{self.unit.id}.{number}' if number else self.unit.id
    try:
      record = _to_record(self.unit, name, piece, box, info, self.settings)
    except InputError as error:
      self.drop(str(error), piece)
      return
    records.save(self.folder / f'{name}.npz', record)
    figures = {key: record[key] for key in records.QUALITY}
    frames = dict(start=piece.start, end=piece.end, frames=len(piece.frames))
    self.outcome['records'].append(dict(name=name) | frames | figures)


class _Counted:
  """An iterable that knows how many it gave."""

  def __init__(self, iterable: Iterable):
    self._iterable, self.count = iterable, 0

  def __iter__(self) -> Iterator:
    for item in self._iterable:
      self.count += 1
      yield item


def _one_line(text: str) -> str:
  return ' '.join(text.split())


def _thumbnail(frame: np.ndarray) -> bytes:
  from PIL import Image

  image = Image.fromarray(frame)
  image.thumbnail((4 * _THUMBNAIL, _THUMBNAIL))
  buffer = io.BytesIO()
  image.save(buffer, 'JPEG', quality=80)
  return buffer.getvalue()


def _analysis(
  unit: Unit, start: float, end: float | None
) -> Iterator[np.ndarray]:
  """Small pictures, to look for cuts and faces."""
  return video.iter_frames(
    unit.path,
    records.FPS,
    start=start,
    end=end,
    height=ANALYSIS_HEIGHT,
    max_hold=MAX_HOLD,
  )


def _frame(
  unit: Unit, stretch: tracks.Stretch, info: video.VideoInfo, settings: Settings
) -> Box | None:
  """The square of a stretch, in [0, 1] of the picture; None is the middle."""
  if isinstance(unit.framing, Centre):
    return None
  aspect = info.width / info.height
  if isinstance(unit.framing, Window):
    return _window_box(unit.framing, aspect)
  face = stretch.face
  if face is None:
    frames = _analysis(unit, stretch.start, stretch.end)
    face = tracks.face_box_of(frames, model_path=settings.face_model)
  if face is None:
    raise InputError(f'{unit.source}: no face found')
  box = tracks.square_box(face, unit.framing.ratio, aspect)
  if aspect == 1 and box[3] - box[1] >= _FINISHED_CROP:
    return None
  return box


def _window_box(window: Window, aspect: float) -> Box:
  """The square around a window, moved and cut to lie in the picture."""
  side = min(max(window.width, window.height) / window.of_height, 1.0, aspect)
  x = (window.x + window.width / 2) / window.of_height
  y = (window.y + window.height / 2) / window.of_height
  x0 = min(max(x - side / 2, 0.0), aspect - side)
  y0 = min(max(y - side / 2, 0.0), 1.0 - side)
  return x0 / aspect, y0, (x0 + side) / aspect, y0 + side


def _to_record(
  unit: Unit,
  name: str,
  piece: Piece,
  box: Box | None,
  info: video.VideoInfo,
  settings: Settings,
) -> dict[str, Any]:
  """Finds the face, measures, compresses the pictures."""
  frames = piece.frames
  track = faces.track_faces(
    frames, model_path=settings.face_model, name=unit.source
  )
  if track.detected.mean() < MIN_DETECTED:
    raise InputError(
      f'{unit.source}: a face in only {track.detected.sum()} of '
      f'{len(frames)} frames'
    )
  waveform = np.nan_to_num(piece.waveform, posinf=0.0, neginf=0.0)
  samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
  side = (
    (box[3] - box[1]) * info.height if box else min(info.width, info.height)
  )
  record = {
    'frames': [records.encode_jpeg(frame) for frame in frames],
    'waveform': samples,
    **piece.features,
    'pose': np.asarray(track.pose, np.float32),
    'blink': np.asarray(track.blink, np.float32),
    'face_box': np.asarray(track.face_box, np.float32),
    'mouth_box': np.asarray(track.mouth_box, np.float32),
    'landmarks': np.asarray(faces.guide_points(track.landmarks), np.float32),
    'detected': np.asarray(track.detected, bool),
    'id': name,
    'identity': unit.identity,
    'source': unit.source,
    'fps': records.FPS,
    **_measure(track, frames, waveform, side, info),
  }
  _check_quality(unit, record, settings)
  return record


def _measure(
  track: faces.FaceTrack,
  frames: np.ndarray,
  waveform: np.ndarray,
  side: float,
  info: video.VideoInfo,
) -> dict[str, float]:
  """The quality figures of a record; `side` is the square's in the video."""
  seen = track.detected
  height = np.median(track.face_box[seen, 3] - track.face_box[seen, 1])
  lag, score = quality.lag(faces.openness(track.landmarks), waveform)
  return dict(
    source_fps=float(info.fps),
    face_pixels=float(height * side),
    sharpness=quality.sharpness(frames[seen], track.face_box[seen]),
    loudness=quality.loudness(waveform),
    lag=lag,
    lag_score=score,
  )


def _check_quality(unit: Unit, record: dict, settings: Settings) -> None:
  """Raises InputError for what is too small or too blurred."""
  if record['face_pixels'] < settings.min_face:
    raise InputError(
      f'{unit.source}: too small: the face has {record["face_pixels"]:.0f} of '
      f'{settings.min_face} pixels'
    )
  if record['sharpness'] < settings.min_sharpness:
    raise InputError(
      f'{unit.source}: too blurred: {record["sharpness"]:.3g} of '
      f'{settings.min_sharpness:g}'
    )

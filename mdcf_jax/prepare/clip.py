"""One unit becomes records: find the stretches, frame them, describe them."""

import dataclasses
import errno
import io
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdcf_jax import speech
from mdcf_jax.data import records
from mdcf_jax.errors import InputError
from mdcf_jax.media import audio, faces, video
from mdcf_jax.prepare import quality, tracks
from mdcf_jax.prepare.units import Centre, Unit, Window
from mdcf_jax.prepare.work_folder import read_json, write_json

MAX_FRAMES = 500  # Longer stretches become several records of 20 s.
MIN_DETECTED = 0.5  # Of the frames; below that it is no talking head.
ANALYSIS_HEIGHT = 360  # Of the pictures that cuts and faces are looked for in.
_THUMBNAIL = 160  # Height in pixels of the picture of what was dropped.
# A square picture of which the face's square takes this much is a finished
# crop; cutting off a little more would only cost sharpness.
_FINISHED_CROP = 0.6


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the records of a dataset are made with.

  Attributes:
    resolution: side of the frames, in pixels.
    min_seconds: shorter stretches are dropped.
    min_face: least height of the face, in pixels of the video.
    min_sharpness: see `quality.sharpness`; 0 keeps all.
    face_model: MediaPipe's file; None searches for it.
    hubert: weights of HuBERT, for its features beside log-mel.
  """

  resolution: int = 256
  min_seconds: float = 1.0
  min_face: int = 64
  min_sharpness: float = 0.005
  face_model: str | None = None
  hubert: str | None = None

  @property
  def min_frames(self) -> int:
    return max(1, round(self.min_seconds * records.FPS))


def prepare_unit(
  unit: Unit, folder: pathlib.Path, settings: Settings
) -> dict[str, Any]:
  """Turns one unit into records in `folder`, unless they are there already.

  It leaves `<id>.npz`, for the next ones `<id>.1.npz` and so on, a small
  picture `<id>.dropped.0.jpg` of each stretch that is not taken, and at last
  `<id>.json`, which lists them and says what they were made from.

  Returns:
    dict(records: names, frames: their number, dropped: dicts of start, end in
    seconds, reason and picture (a name or None)). A unit that cannot be read
    is dropped as a whole.

  Raises:
    OSError: there is no space left for the records.
  """
  done, made_from = folder / f'{unit.id}.json', _made_from(unit)
  stored = read_json(done) or {}
  if stored.get('made_from') == made_from:
    return stored
  outcome = dict(made_from=made_from, records=[], frames=0, dropped=[])
  try:
    _prepare(unit, folder, settings, outcome)
  except InputError as error:
    _drop(outcome, unit, folder, str(error))
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      raise
    _drop(outcome, unit, folder, f'{unit.source}: {error}')
    return outcome  # The next run may have better luck.
  except Exception as error:  # One odd clip must not stop a night's work.
    reason = f'{unit.source}: {type(error).__name__}: {error}'
    _drop(outcome, unit, folder, reason)
    return outcome
  write_json(done, outcome)
  return outcome


def _prepare(
  unit: Unit, folder: pathlib.Path, settings: Settings, outcome: dict
) -> None:
  info = video.probe(unit.path)
  for stretch in _stretches(unit, folder, settings, info, outcome):
    box = _frame(unit, stretch, info, settings)
    for piece in _read_pieces(unit, stretch, box, settings):
      number = len(outcome['records'])
      name = f'{unit.id}.{number}' if number else unit.id
      try:
        record = _to_record(unit, name, piece, box, info, settings)
      except InputError as error:
        _drop(outcome, unit, folder, str(error), piece)
        continue
      records.save(folder / f'{name}.npz', record)
      outcome['records'].append(name)
      outcome['frames'] += len(record['frames'])


def _made_from(unit: Unit) -> dict[str, Any]:
  """What tells a unit from another of its name, or a later version of it."""
  files = [pathlib.Path(path) for path in (unit.path, unit.sound) if path]
  stats = {str(p.resolve()): p.stat() for p in files if p.exists()}
  unit = dataclasses.asdict(unit) | {'framing': repr(unit.framing), 'split': ''}
  return dict(
    unit=json.loads(json.dumps(unit)),
    files={path: [s.st_size, s.st_mtime_ns] for path, s in stats.items()},
  )


def _drop(
  outcome: dict,
  unit: Unit,
  folder: pathlib.Path,
  reason: str,
  piece: Any = None,
) -> None:
  """Notes a stretch that is not taken, with a picture of it."""
  start = getattr(piece, 'start', unit.start)
  end = getattr(piece, 'end', unit.end)
  frame = getattr(piece, 'frame', None)
  picture = None
  if frame is not None:
    picture = f'{unit.id}.dropped.{len(outcome["dropped"])}.jpg'
    (folder / picture).write_bytes(_thumbnail(frame))
  outcome['dropped'].append(
    dict(start=start, end=end, reason=_one_line(reason), picture=picture)
  )


def _one_line(text: str) -> str:
  return ' '.join(text.split())


def _thumbnail(frame: np.ndarray) -> bytes:
  from PIL import Image

  image = Image.fromarray(frame)
  image.thumbnail((4 * _THUMBNAIL, _THUMBNAIL))
  buffer = io.BytesIO()
  image.save(buffer, 'JPEG', quality=80)
  return buffer.getvalue()


def _stretches(
  unit: Unit,
  folder: pathlib.Path,
  settings: Settings,
  info: video.VideoInfo,
  outcome: dict,
) -> list[tracks.Stretch]:
  """What of a unit is to be taken; what is not is noted in `outcome`."""
  if not unit.search:
    return [tracks.Stretch(unit.start, unit.end, None)]
  frames = video.iter_frames(
    unit.path,
    records.FPS,
    start=unit.start,
    end=unit.end,
    height=ANALYSIS_HEIGHT,
  )
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
    _drop(outcome, unit, folder, piece.reason, piece)
  return [
    dataclasses.replace(s, start=unit.start + s.start, end=unit.start + s.end)
    for s in stretches
  ]


Box = tuple[float, float, float, float]


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
    frames = video.iter_frames(
      unit.path,
      records.FPS,
      start=stretch.start,
      end=stretch.end,
      height=ANALYSIS_HEIGHT,
    )
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


@dataclasses.dataclass(frozen=True)
class _Piece:
  """Up to MAX_FRAMES frames, in the square, with what is heard meanwhile.

  Attributes:
    start, end: seconds after the first frame of the video.
    frames: `[T, R, R, 3]` uint8.
    waveform: `[640 T]` float32; empty without sound.
    features: of the sound, by their keys in a record.
  """

  start: float
  end: float
  frames: np.ndarray
  waveform: np.ndarray
  features: dict[str, np.ndarray]

  @property
  def frame(self) -> np.ndarray:
    return self.frames[len(self.frames) // 2]


def _read_pieces(
  unit: Unit, stretch: tracks.Stretch, box: Box | None, settings: Settings
) -> Iterator[_Piece]:
  """Yields the pieces of a stretch.

  A record is read as a whole, and so is a piece here: neither may grow with
  the length of the video.
  """
  waveform = _read_sound(unit, stretch)
  encode = speech.of_pieces(waveform, settings.hubert)
  stream = video.iter_frames(
    unit.path,
    records.FPS,
    settings.resolution,
    start=stretch.start,
    end=stretch.end,
    box=box,
  )
  for first in itertools.count(step=MAX_FRAMES):
    frames = list(itertools.islice(stream, MAX_FRAMES))
    if len(frames) < settings.min_frames:
      if first == 0:
        raise InputError(f'{unit.source}: only {len(frames)} frames')
      return
    rows = slice(first, first + len(frames))
    sound = waveform
    if len(waveform):
      samples = records.SAMPLES_PER_FRAME
      sound = waveform[rows.start * samples : rows.stop * samples]
      # Sound and picture of a file rarely end at the same instant.
      sound = np.pad(sound, (0, len(frames) * samples - len(sound)))
    yield _Piece(
      start=stretch.start + rows.start / records.FPS,
      end=stretch.start + rows.stop / records.FPS,
      frames=np.stack(frames),
      waveform=sound,
      features=encode(sound, rows),
    )


def _read_sound(unit: Unit, stretch: tracks.Stretch) -> np.ndarray:
  """What is heard in a stretch, `[samples]`; empty for a silent video."""
  read = audio.read_audio if unit.sound else audio.read_video_audio
  waveform = read(unit.sound or unit.path, start=stretch.start, end=stretch.end)
  return np.zeros(0, np.float32) if waveform is None else waveform


def _to_record(
  unit: Unit,
  name: str,
  piece: _Piece,
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

"""What the user gives to `Pipeline`, read and checked before any work."""

import contextlib
import dataclasses
import logging
import operator
import os
import pathlib
from typing import Any

import numpy as np

from mdcf_jax import speech
from mdcf_jax.data import mel
from mdcf_jax.errors import InputError, NoFace
from mdcf_jax.media import face_search, faces
from mdcf_jax.ops.sampling import SAMPLERS
from mdcf_jax.weights import MAX_RESOLUTION

logger = logging.getLogger(__name__)

FPS = 25
MAX_STEPS = 500
MAX_GUIDANCE = 100.0
MAX_CHANNELS = 64


@dataclasses.dataclass(frozen=True)
class Source:
  """The portrait as the models take it.

  Attributes:
    image: `[R, R, 3]` uint8.
    picture: `[H, W, 3]` uint8, which it was cut from.
    square: (x, y, side, side), where; it may reach outside of the picture.
    pose: `[6]`, blink: `[2]`, face_box: `[4]` in [0, 1]; those of the face
      that MediaPipe sees in the square, else what is usual of a portrait.
  """

  image: np.ndarray
  picture: np.ndarray
  square: tuple[int, int, int, int]
  pose: np.ndarray
  blink: np.ndarray
  face_box: np.ndarray


def check_resolution(
  resolution: int | None, trained: int, multiple: int
) -> int:
  """Returns the pixels of a side, by default `trained`.

  Raises:
    InputError: not a positive multiple of what the model needs, or too large.
  """
  if resolution is None:
    return trained
  if not _is_whole(resolution):
    raise InputError(f'resolution {resolution!r} is not a whole number')
  if not 0 < resolution <= MAX_RESOLUTION or resolution % multiple:
    raise InputError(
      f'resolution {resolution} is not a multiple of {multiple} up to '
      f'{MAX_RESOLUTION}, which these weights need'
    )
  if resolution != trained:
    logger.warning(
      'resolution %d: these weights were trained for %d', resolution, trained
    )
  return resolution


def check_sampling(
  seed: int, steps: int, sampler: str, guidance_scale: float
) -> None:
  """Raises InputError unless the settings of the diffusion can be used."""
  for name, value in (('seed', seed), ('steps', steps)):
    if not _is_whole(value):
      raise InputError(f'{name} {value!r} is not a whole number')
  if not 0 <= seed < 2**32:
    raise InputError(f'seed {seed} is not in 0 to {2**32 - 1}')
  if not 1 <= steps <= MAX_STEPS:
    raise InputError(f'steps {steps} is not in 1 to {MAX_STEPS}')
  if sampler not in SAMPLERS:
    raise InputError(f'sampler {sampler!r} is none of: {", ".join(SAMPLERS)}')
  try:
    usable = 0 <= float(guidance_scale) <= MAX_GUIDANCE
  except (TypeError, ValueError):
    usable = False
  if not usable:
    raise InputError(
      f'guidance_scale {guidance_scale} is not in 0 to {MAX_GUIDANCE:g}'
    )


def _is_whole(value: Any) -> bool:
  try:
    operator.index(value)
  except TypeError:
    return False
  return True


def read_audio(audio: Any) -> tuple[np.ndarray, int]:
  """Returns `[samples, channels]` float32 and its rate.

  Args:
    audio: a path, or (samples `[n]` or `[n, channels]`, rate); integers are
      scaled to [-1, 1].

  Raises:
    InputError: it cannot be read, or has no samples or some that are not
      finite.
  """
  from mdcf_jax.media import audio as media_audio

  if isinstance(audio, (str, os.PathLike)):
    return media_audio.read_samples(audio)
  try:
    samples, rate = audio
    samples, rate = np.asarray(samples), int(rate)
  except (TypeError, ValueError, OverflowError) as error:
    raise InputError('audio is neither a path nor (samples, rate)') from error
  if samples.dtype in (np.int8, np.int16, np.int32):
    samples = samples / -float(np.iinfo(samples.dtype).min)
  elif not np.issubdtype(samples.dtype, np.floating):
    raise InputError(
      f'audio samples are {samples.dtype}; give floats in [-1, 1], int16 or '
      'int32'
    )
  samples = samples.astype(np.float32)
  samples = samples[:, None] if samples.ndim == 1 else samples
  if samples.ndim != 2 or not samples.size:
    raise InputError(f'audio samples have the shape {samples.shape}')
  if samples.shape[1] > MAX_CHANNELS or len(samples) < samples.shape[1]:
    raise InputError(
      f'audio samples have the shape {samples.shape}; give (samples, channels)'
    )
  media_audio.check_rate('audio', rate)
  if not np.isfinite(samples).all():
    raise InputError('audio has samples that are not finite')
  return samples, rate


def num_frames(samples: np.ndarray, rate: int) -> int:
  """Returns ceil(25 * seconds) of `samples [n, channels]`."""
  return -(-FPS * len(samples) // rate)


def audio_features(
  samples: np.ndarray, rate: int, encoder: speech.AudioFeatures
) -> np.ndarray:
  """Returns features `[N, D]` of `samples [n, channels]`."""
  from mdcf_jax.media import audio as media_audio

  waveform = media_audio.resample(samples.mean(axis=1), rate, mel.SAMPLE_RATE)
  return encoder.encode(waveform, num_frames(samples, rate))


def read_source(
  image: Any, crop: Any, resolution: int, face: int | None = None
) -> Source:
  """Reads a portrait and cuts a square of `resolution` pixels out of it.

  Where MediaPipe is missing, the centre is taken for the crop 'auto', unless a
  face is named by its number, and the face is taken to be a usual one.

  Args:
    image, crop: of `Pipeline.prepare`.
    resolution: R, in pixels.
    face: with the crop 'auto', which one, in the order of
      `face_search.find_boxes`, from 1; None is the main one.

  Raises:
    InputError: the image or the crop cannot be used, or a face is needed and
      there is none, or none of that number.
  """
  from mdcf_jax.media import image as media_image

  name = 'the image'
  if isinstance(crop, np.ndarray):  # Which does not compare with a word.
    crop = tuple(crop.tolist())
  if isinstance(image, (str, os.PathLike)):
    name, image = os.fspath(image), media_image.read_image(image)
  else:
    image = media_image.to_array(image)
  box = None
  if face is not None:
    box = _numbered(image, face, crop, name)
  elif crop == 'auto':
    box = _main_face(image, name)
    crop = 'none' if box is None else crop
  cut, square = media_image.crop_square(
    image, crop, resolution, lambda _: box, name=name
  )
  if found := find_faces(cut, logging.DEBUG):
    seen = found[0].pose[0], found[0].blink[0], found[0].face_box[0]
  else:
    seen = faces.DEFAULT_POSE, faces.DEFAULT_BLINK, faces.DEFAULT_FACE_BOX
  return Source(
    *(cut, image, square), *(np.array(value, np.float32) for value in seen)
  )


def _main_face(image: np.ndarray, name: str) -> np.ndarray | None:
  """The box to crop to; None for the centre, which may be the whole picture."""
  from mdcf_jax.media.image import is_portrait

  height, width = image.shape[:2]
  square = height == width
  found = find_faces(image, logging.DEBUG if square else logging.WARNING)
  if found is None:
    return None
  if found:
    box = found[0].face_box[0]
  else:
    far = []
    with contextlib.suppress(InputError):  # That has been said.
      far = face_search.find_boxes(image)
    if not far and square:
      return None
    if not far:
      raise InputError(
        f'no face found in {name}; give the square around it (--crop '
        'X,Y,W,H), or take the centre (--crop none)'
      )
    box = face_search.largest(far)
  if is_portrait(box, width, height):
    return None
  if len(found) > 1:
    logger.warning(
      '%d faces in %s: the main one is taken (--face N takes another)',
      *(len(found), name),
    )
  if square:
    logger.info('%s is cropped to its face (--crop none takes all of it)', name)
  return box


def _numbered(
  image: np.ndarray, number: int, crop: Any, name: str
) -> np.ndarray:
  """The box of a number in the order of `face_search`, from 1."""
  if not isinstance(crop, str) or crop != 'auto':
    raise InputError(
      f'face {number} and crop {crop}: a face by its number is for crop auto'
    )
  if not _is_whole(number):
    raise InputError(f'face {number!r} is not a whole number')
  boxes = face_search.find_boxes(image)
  if not 1 <= number <= len(boxes):
    count = f'it has {len(boxes)}' if boxes else 'none is found'
    raise NoFace(f'{name}: no face {number}, {count} (mdcf faces shows them)')
  return boxes[number - 1]


def find_faces(
  image: np.ndarray, level: int = logging.WARNING
) -> list[faces.FaceTrack] | None:
  """Faces of an image, the main one first; None where nobody can look.

  Args:
    image: `[H, W, 3]` uint8.
    level: of `logging`, at which to say that the centre is taken then.
  """
  try:
    return faces.detect_faces(image)
  except InputError as error:
    logger.log(level, 'the centre of the image is taken: %s', error)
    return None


def read_motion(
  value: Any, source: np.ndarray, still: str, frames: int, what: str
) -> np.ndarray | None:
  """Returns pose or blink `[frames, columns]` float32, None to generate it.

  Args:
    value: 'generated', the word `still` for the source's own throughout, or
      `[N, columns]`, or a .npy or .csv file with it. One row holds for all
      frames; rows beyond `frames` are left out. A .csv may have one line of
      names first.
    source: `[columns]` of the portrait. Pose is yaw, pitch, roll in degrees, x
      and y in [-1, 1], s = log(face height / image height); blink the eye
      aspect ratios left and right.
    frames: how many are needed.
    what: 'pose' or 'blink', for the message.

  Raises:
    InputError: the file cannot be read, or the array has another shape or
      values that are not finite.
  """
  if isinstance(value, str) and value == 'generated':
    return None
  name = what
  if isinstance(value, str) and value == still:
    value = source[None]
  elif isinstance(value, (str, os.PathLike)):
    name = f'{what} {value}'
    value = _read_table(pathlib.Path(value), name, still)
  try:
    array = np.asarray(value)
    if array.dtype.kind not in 'fiu':
      raise InputError(f'{name}: {array.dtype} is not numbers')
    array = np.asarray(array, np.float32)
  except (TypeError, ValueError) as error:
    raise InputError(f'{name}: not numbers: {error}') from error
  if array.ndim != 2 or array.shape[1] != len(source):
    raise InputError(
      f'{name}: has the shape {array.shape}, expected '
      f'({frames}, {len(source)}): one row per frame at 25 fps'
    )
  if len(array) == 1:
    array = np.repeat(array, frames, axis=0)
  if len(array) < frames:
    raise InputError(
      f'{name}: {len(array)} rows for {frames} frames of audio; give as many '
      'rows, or one for all'
    )
  if not np.isfinite(array).all():
    raise InputError(f'{name}: has values that are not finite')
  return array[:frames]


def _read_table(path: pathlib.Path, name: str, still: str) -> np.ndarray:
  """Returns the array of a .npy or .csv file."""
  try:
    if path.suffix.lower() == '.npy':
      # Mapped, it is not allocated before its size is checked.
      return np.load(path, mmap_mode='r', allow_pickle=False)
    if path.suffix.lower() == '.csv':
      return _read_csv(path)
  except FileNotFoundError as error:
    raise InputError(f'{name}: there is no such file') from error
  # A damaged header makes NumPy raise nearly anything.
  except Exception as error:
    reason = getattr(error, 'strerror', None) or error or 'not an array'
    reason = ' '.join(str(reason).split())
    raise InputError(f'{name}: cannot be read: {reason}') from error
  raise InputError(f'{name}: not generated, {still}, a .npy or a .csv file')


def _read_csv(path: pathlib.Path) -> np.ndarray:
  """Returns the numbers of a comma-separated file, with or without names."""
  text = path.read_text(encoding='utf-8-sig')
  rows = [line.split(',') for line in text.splitlines() if line.strip()]
  try:
    return np.array(rows, np.float32)
  except ValueError:  # The first line has names.
    return np.array(rows[1:], np.float32)

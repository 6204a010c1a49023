"""The record: one clip as a dict of arrays, on disk and in memory.

| key | what |
|---|---|
| `frames` | list of T JPEG files (bytes), square, 25 fps |
| `waveform` | int16 `[samples]`, 16 kHz mono; empty when the clip is silent |
| `mel` | float16 `[T, 320]`, log-mel; `[0, 320]` in silence |
| `hubert` | float16 `[T, 768]` or `[T, 1024]`; absent without weights |
| `pose` | float32 `[T, 6]`: yaw, pitch, roll in degrees, x, y, s |
| `blink` | float32 `[T, 2]`: eye aspect ratios, left and right |
| `face_box`, `mouth_box` | float32 `[T, 4]`: (x0, y0, x1, y1) in [0, 1] |
| `landmarks` | float32 `[T, 8, 2]` in [0, 1]: GUIDE_LANDMARKS |
| `detected` | bool `[T]`: a face was found, the values are not filled in |
| `id`, `identity`, `source` | str: the clip, the person, the file |
| `fps` | float: 25 |
| `source_fps` | float: frames per second of the video |
| `face_pixels` | float: median height of the face in the video, in its pixels |
| `sharpness`, `loudness` | float: of the picture; of the sound, in dBFS |
| `lag`, `lag_score` | float: frames that the sound is late, and how sure |

The figures of quality, from `source_fps` on, are NaN where nobody knows.
"""

import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mdcf_jax.errors import InputError

# What sound is made into for the models, and how many numbers D per frame.
AUDIO_ENCODERS = {'mel': 320, 'hubert-base': 768, 'hubert-large': 1024}
FPS = 25.0
SAMPLES_PER_FRAME = 640
TEXT_KEYS = ('id', 'identity', 'source')
QUALITY = (
  *('source_fps', 'face_pixels', 'sharpness', 'loudness'),
  *('lag', 'lag_score'),
)
# Lags that are less sure than that say nothing.
LAG_SCORE = 0.4
NUMBERS = ('fps', *QUALITY)
ARRAYS = {
  'waveform': (np.int16, (None,)),
  'mel': (np.float16, (None, AUDIO_ENCODERS['mel'])),
  'pose': (np.float32, (None, 6)),
  'blink': (np.float32, (None, 2)),
  'face_box': (np.float32, (None, 4)),
  'mouth_box': (np.float32, (None, 4)),
  'landmarks': (np.float32, (None, 8, 2)),
  'detected': (np.bool_, (None,)),
}
OPTIONAL = {'hubert': (np.float16, (None, None))}
_SOUND = ('mel', 'hubert')  # Without rows in silence.


def encode_jpeg(frame: np.ndarray, quality: int = 95) -> bytes:
  """Compresses one uint8 `[H, W, 3]` frame, colours at full resolution."""
  buffer = io.BytesIO()
  # 4:2:0 would blur the lips' colour, which the losses look at.
  Image.fromarray(frame).save(buffer, 'JPEG', quality=quality, subsampling=0)
  return buffer.getvalue()


def decode_jpeg(data: bytes, size: int | None = None) -> np.ndarray:
  """Returns uint8 `[H, W, 3]`; see `open_jpeg`."""
  return np.asarray(open_jpeg(data, size))


def open_jpeg(data: bytes, size: int | None = None) -> Image.Image:
  """Returns an RGB image, decoded when its pixels are asked for.

  Args:
    data: a JPEG file.
    size: when given and at most half the side, the decoder's own reduction
      (1/2, 1/4, 1/8) is used; the result is still at least `size`.
  """
  image = Image.open(io.BytesIO(data), formats=('JPEG',))
  if size is not None:
    image.draft('RGB', (size, size))
  return image if image.mode == 'RGB' else image.convert('RGB')


def validate(record: Mapping[str, Any]) -> None:
  """Raises InputError when lengths, types or shapes of a record disagree."""
  name = record.get('id', '?')
  missing = {'frames', *NUMBERS, *TEXT_KEYS, *ARRAYS} - set(record)
  if missing:
    raise InputError(f'clip {name}: no {", ".join(sorted(missing))}')
  num_frames = len(record['frames'])
  for key, (dtype, shape) in (ARRAYS | OPTIONAL).items():
    if key not in record:
      continue
    value = record[key]
    fits = len(value.shape) == len(shape) and all(
      expected in (None, size) for size, expected in zip(value.shape, shape)
    )
    if key in _SOUND:
      fits = fits and value.shape[1] in AUDIO_ENCODERS.values()
    if value.dtype != dtype or not fits:
      raise InputError(f'clip {name}: {key} is {value.dtype} {value.shape}')
    lengths = {num_frames, 0} if key in _SOUND else {num_frames}
    if key != 'waveform' and len(value) not in lengths:
      raise InputError(
        f'clip {name}: {len(value)} rows of {key} for {num_frames} frames'
      )


def audio_key(audio_encoder: str) -> str:
  """Which array of a record has the features of an encoder."""
  return 'mel' if audio_encoder == 'mel' else 'hubert'


def unknown_quality() -> dict[str, float]:
  """Figures of quality that nobody measured."""
  return dict.fromkeys(QUALITY, float('nan'))


def has_audio(record: Mapping[str, Any]) -> bool:
  """Whether sound came with the clip."""
  return len(record['mel']) > 0


def sure_lag(record: Mapping[str, Any]) -> float:
  """Frames that the sound is late; 0 where the measure is not sure."""
  return float(record['lag']) if record['lag_score'] >= LAG_SCORE else 0.0


def from_source(example: Mapping[str, Any]) -> dict[str, Any]:
  """A record as `tfds.data_source` returns it, with text as str."""
  record = dict(example)
  for key in TEXT_KEYS:
    if isinstance(record[key], bytes):
      record[key] = record[key].decode()
  return record


def save(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
  """Writes one record as an uncompressed npz, whole or not at all."""
  validate(record)
  path = pathlib.Path(path)
  frames: Sequence[bytes] = record['frames']
  keys = (*ARRAYS, *OPTIONAL, *TEXT_KEYS, *NUMBERS)
  arrays = {key: record[key] for key in keys if key in record}
  arrays['frames'] = np.frombuffer(b''.join(frames), np.uint8)
  arrays['frame_sizes'] = np.array([len(f) for f in frames], np.int64)
  partial = path.with_name(path.name + '.partial')
  with open(partial, 'wb') as f:
    np.savez(f, **arrays)
  os.replace(partial, path)


def load(path: str | os.PathLike) -> dict[str, Any]:
  """Reads what `save` wrote.

  Raises:
    InputError: the file is not such a record.
  """
  try:
    with np.load(path, allow_pickle=False) as stored:
      optional = [key for key in OPTIONAL if key in stored]
      record = {key: stored[key] for key in (*ARRAYS, *optional)}
      record |= {key: str(stored[key]) for key in TEXT_KEYS}
      record |= {key: float(stored[key]) for key in NUMBERS}
      joined = stored['frames'].tobytes()
      ends = np.cumsum(stored['frame_sizes'])
  except (OSError, ValueError, KeyError, EOFError) as error:
    raise InputError(f'{path}: not a prepared clip ({error})') from error
  starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
  record['frames'] = [joined[a:b] for a, b in zip(starts, ends)]
  return record

"""What models hear of speech: one vector per frame at 25 fps.

`records.AUDIO_ENCODERS` names what there is. 'mel' needs nothing; the others
are public weights that `mdcf convert hubert` brought into our names.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mdcf_jax.data import mel, records
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.errors import InputError

FILE_NAME = 'hubert.safetensors'


@dataclasses.dataclass(frozen=True)
class AudioFeatures:
  """An encoder of speech.

  Attributes:
    name: a key of AUDIO_ENCODERS.
    encode: `(waveform [samples] at 16 kHz, num_frames) -> [num_frames, D]`.
  """

  name: str
  encode: Callable[[np.ndarray, int], np.ndarray]


MEL = AudioFeatures('mel', mel.log_mel)


def open_encoder(
  name: str, path: str | os.PathLike | None = None
) -> AudioFeatures:
  """Returns an encoder by its name.

  Args:
    name: a key of AUDIO_ENCODERS.
    path: of HuBERT's weights, see `open_hubert`.

  Raises:
    InputError: no such encoder, or no weights of it there.
  """
  if name not in AUDIO_ENCODERS:
    raise InputError(
      f'audio_encoder {name!r} is none of: {", ".join(AUDIO_ENCODERS)}'
    )
  if name == 'mel':
    if path is not None:
      find_file(path)  # Not needed, but a name that is wrong is told.
    return MEL
  if path is None:
    raise InputError(
      f'features of {name} need its weights: give --hubert FOLDER with '
      f'{FILE_NAME} in it (mdcf convert hubert makes it)'
    )
  encoder = open_hubert(path)
  if encoder.name != name:
    raise InputError(f'{path} is {encoder.name}; features of {name} are needed')
  return encoder


def open_hubert(path: str | os.PathLike) -> AudioFeatures:
  """Returns the encoder that weights are of.

  Args:
    path: of `hubert.safetensors`, or a folder with it.

  Raises:
    InputError: it is missing, damaged, or neither HuBERT base nor large.
  """
  import jax

  from mdcf_jax import weights
  from mdcf_jax.models import hubert

  path = find_file(path)
  variables = weights.load(path.parent, path.stem)
  name = _find_size(path, variables)
  module = hubert.HuBERT(**hubert.HUBERT_SIZES[name])
  waveform = jax.ShapeDtypeStruct((1, hubert.SAMPLE_RATE), np.float32)
  like = jax.eval_shape(module.init, jax.random.key(0), waveform)
  weights.check_tensors(path, variables, like)
  # On the host: the device has them only while a recording is heard.
  return AudioFeatures(
    name, functools.partial(hubert.encode, module, variables)
  )


def find_file(path: str | os.PathLike) -> pathlib.Path:
  """Returns the file of HuBERT's weights: `path` itself, or in that folder."""
  path = pathlib.Path(path)
  if path.is_dir():
    path = path / FILE_NAME
  if path.suffix != '.safetensors' or not path.is_file():
    raise InputError(
      f'{path}: no such weights; give hubert.safetensors or a folder with it '
      '(mdcf convert hubert makes it)'
    )
  return path


def _find_size(path: pathlib.Path, variables: Any) -> str:
  """Which of the sizes has norms as wide as these."""
  try:
    (width,) = variables['params']['norm']['scale'].shape
  except (KeyError, TypeError, AttributeError, ValueError):
    width = None
  for name, size in AUDIO_ENCODERS.items():
    if size == width and name != 'mel':
      return name
  raise InputError(
    f'{path} is not HuBERT; mdcf convert hubert makes it from public weights'
  )


def describe(hubert: str | None) -> dict[str, Any]:
  """What tells the features of `of_pieces` apart; checks the weights.

  Nothing for log-mel, which is always the same.
  """
  if not hubert:
    return {}
  stat = find_file(hubert).stat()
  name = open_hubert(hubert).name
  return dict(audio_encoder=name, weights=[stat.st_size, stat.st_mtime_ns])


def of_pieces(
  waveform: np.ndarray, hubert: str | None
) -> Callable[[np.ndarray, slice], dict[str, np.ndarray]]:
  """Returns `(samples of frames, frames) -> features`, as a record has them.

  Features are `mel` and, with weights, `hubert`, float16 `[T, D]`. HuBERT hears
  the whole recording, so that features do not jump where it is cut; log-mel
  hears each piece by itself.

  Args:
    waveform: `[samples]`, the whole; without samples T is 0.
    hubert: of `open_hubert`; None: log-mel alone.
  """
  encoder = _open_once(hubert) if hubert else None
  silent = not len(waveform)
  whole = None
  if encoder:
    whole = np.zeros((0, AUDIO_ENCODERS[encoder.name]), np.float16)
    if not silent:
      count = -(-len(waveform) // records.SAMPLES_PER_FRAME)
      whole = encoder.encode(waveform, count).astype(np.float16)

  def cut(samples: np.ndarray, frames: slice) -> dict[str, np.ndarray]:
    if silent:
      empty = {'mel': np.zeros((0, mel.FEATURES), np.float16)}
      return empty if whole is None else empty | {'hubert': whole}
    mels = MEL.encode(samples, frames.stop - frames.start)
    features = {'mel': mels.astype(np.float16)}
    if whole is not None:
      rows = np.arange(frames.start, frames.stop)
      # The picture may go on a little longer than the sound.
      features['hubert'] = whole[np.minimum(rows, len(whole) - 1)]
    return features

  return cut


@functools.cache
def _open_once(path: str) -> AudioFeatures:
  return open_hubert(path)

"""Codecs, weights and networks: what a generation or a score needs."""

import hashlib
import pathlib

from mdcf_jax import weights
from mdcf_jax.doctor.findings import FAILED, LACKING, OK, Findings
from mdcf_jax.errors import InputError
from mdcf_jax.hub.fetch import BUNDLED

# FFmpeg's names: what is written, and what people bring.
ENCODERS = ('libx264', 'aac')
DECODERS = ('h264', 'hevc', 'vp9', 'av1', 'aac', 'mp3', 'opus', 'flac')
DECODERS += ('vorbis', 'pcm_s16le')
NEEDED = ('h264', 'aac', 'pcm_s16le')


def codecs(found: Findings) -> None:
  """What PyAV's FFmpeg can write and read."""
  with found.checking('codecs', 'ffmpeg'):
    import av

    for mode, names, needed in (
      ('w', ENCODERS, ENCODERS),
      ('r', DECODERS, NEEDED),
    ):
      there = [name for name in names if _has(av, name, mode)]
      lacking = [name for name in names if name not in there]
      state = LACKING if lacking else OK
      if set(lacking) & set(needed):
        state = FAILED
      text = ', '.join(there) + (
        f'; no {", ".join(lacking)}' if lacking else ''
      )
      found.add('codecs', 'writes' if mode == 'w' else 'reads', state, text)


def _has(av, name: str, mode: str) -> bool:
  try:
    av.codec.Codec(name, mode)
  except (ValueError, LookupError):  # PyAV has an error of its own, of both.
    return False
  return True


def bundled(found: Findings) -> None:
  """Whether the weights that come along are whole: shapes, and their sums."""

  def look() -> str:
    from mdcf_jax.pipeline import Pipeline

    folder = BUNDLED['mini']
    pipe = Pipeline.from_pretrained(folder)
    sums = (f'{name} {_sum(folder, name)}' for name in pipe.variables)
    return f'{pipe.resolution} x {pipe.resolution}, sha256 {", ".join(sums)}'

  found.check('weights', 'mini', look)


def _sum(folder: pathlib.Path, name: str) -> str:
  content = (folder / f'{name}.safetensors').read_bytes()
  return hashlib.sha256(content).hexdigest()[:12]


def face_model(found: Findings) -> None:
  """MediaPipe's file, whether it is the one that is known, and opens."""
  from mdcf_jax.media import download, landmarker

  def look() -> str:
    path = landmarker.find_model()
    with landmarker.Landmarker(path, max_faces=1):  # Needs system libraries.
      pass
    known = download.file_sha256(path) == download.FACE_MODEL_SHA256
    return f'{path}{"" if known else ", not the one of mdcf download"}'

  found.check('weights', 'faces', look, LACKING)


def networks(found: Findings) -> None:
  """Of metrics: which are there; a damaged one counts as lacking."""
  with found.checking('weights', 'scores', LACKING):
    from mdcf_jax.evaluation import networks

    folder, there, lacking = networks.default_folder(), [], []
    for name in networks.NETWORKS:
      try:
        weights.read_metadata(folder / f'{name}.safetensors')
        there.append(name)
      except InputError:
        lacking.append(name)
    text = ', '.join(there) or 'none'
    if lacking:
      text += f'; no {", ".join(lacking)} (mdcf download)'
    found.add('weights', 'scores', LACKING if lacking else OK, text)

"""The self-test: a short video, from noise to a file and back."""

import pathlib
import tempfile
import time

import numpy as np

from mdcf_jax.doctor.findings import FAILED, Findings
from mdcf_jax.hub.fetch import BUNDLED

FRAMES, RATE = 10, 16000


def try_everything(found: Findings) -> None:
  """Generates a few frames, writes them with sound, reads them, finds the mark.

  What comes after a step that failed is not tried; its line says so.
  """
  frames = waveform = None
  with found.checking('self-test', 'generate'):
    start = time.perf_counter()
    frames, waveform, timings = _generate()
    seconds = time.perf_counter() - start
    compiled = timings['compile'].seconds if 'compile' in timings else 0.0
    found.add(
      *('self-test', 'generate', 'ok'),
      f'{len(frames)} frames in {seconds:.1f} s, {compiled:.1f} of them to '
      'compile',
    )
  if frames is None:
    for name in ('write', 'mark', 'read'):
      found.add('self-test', name, FAILED, 'not tried: there are no frames')
    return
  with found.checking('self-test', 'write'):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'doctor.mp4'
      found.check('self-test', 'write', lambda: _write(path, frames, waveform))
      found.check('self-test', 'read', lambda: _read(path))
      found.check('self-test', 'mark', lambda: _detect(path))


def _generate():
  from mdcf_jax.pipeline import Pipeline

  pipe = Pipeline.from_pretrained(BUNDLED['mini'])
  rng = np.random.default_rng(0)
  waveform = 0.1 * rng.standard_normal(FRAMES * RATE // 25)
  waveform = waveform.astype(np.float32)
  video = pipe(_portrait(pipe.resolution), (waveform, RATE), steps=2)
  if len(video.frames) != FRAMES:
    raise ValueError(f'{len(video.frames)} frames of {FRAMES}')
  if int(video.frames.max()) == int(video.frames.min()):
    raise ValueError('all pixels of the frames are the same')
  return video.frames, waveform, pipe.timings


def _portrait(size: int) -> np.ndarray:
  """A head as plain as can be, `[size, size, 3]` uint8."""
  y, x = np.mgrid[:size, :size] / size - 0.5
  face = np.hypot(x / 0.26, y / 0.34) < 1
  holes = np.hypot(np.abs(x) - 0.1, y + 0.06) < 0.03
  holes |= np.hypot(x / 2, y - 0.16) < 0.03
  shade = np.where(face & ~holes, 190.0, np.where(holes, 60.0, 110.0 + 40 * y))
  return np.repeat(shade[..., None], 3, -1).astype(np.uint8)


def _write(path: pathlib.Path, frames: np.ndarray, waveform) -> str:
  from mdcf_jax.media.writer import VideoWriter

  # Unsigned: the user's certificate is made when it is first needed.
  with VideoWriter(
    path, frames.shape[1:3], 25, waveform, RATE, sign=False
  ) as writer:
    for frame in frames:
      writer.write(frame)
  return f'{path.stat().st_size} bytes of H.264 and AAC'


def _read(path: pathlib.Path) -> str:
  from mdcf_jax.media import audio, video

  count = sum(1 for _ in video.iter_frames(path))
  samples = len(audio.read_audio(path))
  if count != FRAMES or not samples:
    raise ValueError(f'{count} frames of {FRAMES}, {samples} samples')
  return f'{count} frames and {samples} samples'


def _detect(path: pathlib.Path) -> str:
  from mdcf_jax.media import mark_search, video

  result = mark_search.detect(video.iter_frames(path))
  if result.verdict != 'marked':
    raise ValueError(f'{result.verdict}, score {result.score:.1f}')
  return f'found, score {result.score:.1f}'

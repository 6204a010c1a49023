"""From weights, a portrait and a recording to the frames of a video.

  pipe = Pipeline.from_pretrained('mini')
  video = pipe('me.jpg', 'talk.wav', seed=0)
  video.save('talk.mp4')

The source is encoded once. Motion comes from PBNet, the latents of all frames
from the diffusion in one program, whose memory grows with their number; they
are then decoded in small batches and leave the device as uint8, so decoding
holds no more than the latents of a long video.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax import inputs, speech, weights
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.errors import InputError
from mdcf_jax.models import sizes
from mdcf_jax.phases import packed
from mdcf_jax.stages import (
  Call,
  Options,
  Plan,
  Stages,
  frames_at_once,
  num_bytes,
  split,
)

logger = logging.getLogger(__name__)

FPS = 25
DTYPES = 'float32', 'bfloat16'
BUNDLED = {'mini': pathlib.Path(__file__).parent / 'bundled'}
NAMES = packed.NAMES

# Called with (stage, done, total): 'diffusion' in steps, 'frames' in frames.
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Video:
  """Frames and their sound.

  Attributes:
    frames: `[N, H, W, 3]` uint8 RGB.
    audio: `[samples, channels]` float32 in [-1, 1]; frame 0 starts with it.
    sample_rate: of the audio, in Hz.
    fps: frames a second.
  """

  frames: np.ndarray
  audio: np.ndarray
  sample_rate: int
  fps: float = FPS

  def save(self, path: str | os.PathLike) -> None:
    """Writes H.264 and AAC; `path` changes only when the file is whole.

    Raises:
      InputError: `path` cannot be written.
    """
    from mdcf_jax.media.writer import VideoWriter

    resolution = self.frames.shape[1]
    with VideoWriter(
      path, resolution, self.fps, self.audio, self.sample_rate
    ) as writer:
      for frame in self.frames:
        writer.write(frame)


@dataclasses.dataclass
class Timing:
  """Wall-clock time that a stage took, and how many frames it was for."""

  seconds: float = 0.0
  frames: int = 0

  @property
  def fps(self) -> float:
    """Frames a second."""
    return self.frames / self.seconds if self.seconds else 0.0


class Pipeline:
  """Generates talking heads with one set of weights.

  Attributes:
    config: of the weights: sizes of the modules, resolution, how trained.
    resolution: pixels of a side that the weights were trained for.
    variables: name of a phase -> its parameters and statistics, on the device.
    fde, lmae: the auto-encoders as linen modules.
    timings: stage -> Timing of the last generation; 'compile' apart.
    plan: the memory that it takes on the device, known before it starts.
  """

  def __init__(
    self,
    config: dict[str, Any],
    variables: dict[str, Any],
    hubert: str | os.PathLike | None = None,
    dtype: str | None = None,
  ):
    """Takes what `weights.load_config` and `weights.load` return.

    Args:
      config, variables: of the weights.
      hubert, dtype: as in `from_pretrained`; HuBERT is read when the first
        sound comes.
    """
    dtype = check_dtype(dtype)
    self.config = config
    self._hubert = hubert
    self.resolution = int(config['resolution'])
    self.timings: dict[str, Timing] = {}
    self.variables = jax.device_put(_cast(variables, dtype))
    self.plan: Plan | None = None
    self._stages = Stages(packed.build_phases(config, dtype), self.resolution)
    self._memory: dict[tuple, Any] = {}  # What stages take, by their shapes.

  @classmethod
  def from_pretrained(
    cls,
    name: str | os.PathLike = 'mini',
    hubert: str | os.PathLike | None = None,
    dtype: str | None = None,
  ) -> 'Pipeline':
    """Loads weights: 'mini', which comes along, or a folder of them.

    Args:
      name: of the weights.
      hubert: `hubert.safetensors` or a folder with it, for weights that were
        trained on its features; by default the file in their own folder.
      dtype: 'float32' or 'bfloat16', to keep parameters and to compute in;
        None is float32 on a CPU, which gains nothing from bfloat16, and else
        bfloat16. Grids, norms and what is summed stay float32.

    Raises:
      InputError: there is no such folder, a file is missing from it, a tensor
        is missing, superfluous or of another shape, or dtype is neither.
    """
    dtype = check_dtype(dtype)
    folder = BUNDLED.get(os.fspath(name), pathlib.Path(name))
    if not folder.is_dir():
      raise InputError(
        f'{name}: no such weights; give a folder that `mdcf pack` made, or '
        f'one of: {", ".join(BUNDLED)}'
      )
    config = weights.load_config(folder)
    if config['audio_encoder'] not in AUDIO_ENCODERS:
      raise InputError(
        f'{folder}: audio_encoder {config["audio_encoder"]!r} is none of: '
        f'{", ".join(AUDIO_ENCODERS)}'
      )
    if hubert is None and (folder / speech.FILE_NAME).exists():
      hubert = folder
    try:
      shapes = packed.variable_shapes(
        packed.build_phases(config),
        config,
        AUDIO_ENCODERS[config['audio_encoder']],
      )
    # Modules that are given nonsense raise nearly anything.
    except Exception as error:
      raise InputError(
        f'{folder / weights.CONFIG_NAME} describes no model: {error}'
      ) from error
    return cls(
      config,
      {name: weights.load(folder, name, shapes[name]) for name in shapes},
      hubert,
      dtype,
    )

  @functools.cached_property
  def encoder(self) -> speech.AudioFeatures:
    """Of the sound; apart, as pictures alone need none."""
    return speech.open_encoder(self.config['audio_encoder'], self._hubert)

  @property
  def fde(self):
    return self._stages.phases['fde'].fde

  @property
  def lmae(self):
    # Without an auto-encoder there is no such phase.
    phases = self._stages.phases
    return phases.get('lmae', phases.get('diffusion')).lmae

  def save_pretrained(self, folder: str | os.PathLike) -> None:
    """Writes the weights as bfloat16 safetensors, and config.json.

    Without HuBERT, which is not ours.
    """
    for name, variables in self.variables.items():
      weights.save(folder, name, variables)
    weights.save_config(folder, self.config)

  def __call__(self, image, audio, **options) -> Video:
    """Generates a whole video; arguments and errors are those of `stream`."""
    audio = inputs.read_audio(audio)
    frames = list(self.stream(image, audio, **options))
    return Video(np.stack(frames), *audio)

  def stream(
    self,
    image: Any,
    audio: Any,
    *,
    seed: int = 0,
    steps: int = 20,
    sampler: str = 'ddim',
    guidance_scale: float = 1.0,
    pose: Any = 'generated',
    blink: Any = 'generated',
    crop: str | tuple[int, int, int, int] = 'auto',
    resolution: int | None = None,
    progress: Progress | None = None,
  ) -> Iterator[np.ndarray]:
    """Yields ceil(25 * seconds) frames `[H, W, 3]` uint8, one at a time.

    Everything given is read and checked before this returns.

    Args:
      image: path, PIL image, or `[H, W, 3]` uint8.
      audio: path, or (samples `[n]` or `[n, channels]`, rate).
      seed: the same seed gives the same video.
      steps: denoising steps; fewer are faster.
      sampler: 'ddim', 'dpm++' or 'ddim-dawn', the one of DAWN's code.
      guidance_scale: above 1 follows the conditions more; twice the work.
      pose: 'generated', 'still', `[N, 6]` or a .npy or .csv file with it.
      blink: 'generated', 'none', `[N, 2]` or a .npy or .csv file with it.
      crop: 'auto' (around the face; a square image stays whole), 'none' (the
        centre), or (x, y, width, height) in pixels of the image.
      resolution: pixels of a side, by default those trained for.
      progress: called with (stage, done, total).

    Raises:
      InputError: something given cannot be used.
    """
    for name in NAMES:
      needed = sizes.has_weights(self.config['model'], name)
      if needed and name not in self.variables:
        raise InputError(f'these weights lack the phase {name!r}')
    multiple = sizes.resolution_multiple(self.config['model'], NAMES)
    resolution = inputs.check_resolution(resolution, self.resolution, multiple)
    inputs.check_sampling(seed, steps, sampler, guidance_scale)
    objective = self._stages.phases['diffusion'].objective
    if sampler == 'ddim-dawn' and objective != 'noise':
      raise InputError(
        "the sampler 'ddim-dawn' is for a diffusion that predicts noise, and "
        f'this one has the objective {objective!r}: take ddim or dpm++'
      )
    self.timings = {}
    with self._timed('audio') as timing:
      samples, rate = inputs.read_audio(audio)
      total = timing.frames = inputs.num_frames(samples, rate)
      audio_emb = inputs.audio_features(samples, rate, self.encoder)
    with self._timed('image', 1):
      source = inputs.read_source(image, crop, resolution)
    pose = inputs.read_motion(pose, source.pose, 'still', total, 'pose')
    blink = inputs.read_motion(blink, source.blink, 'none', total, 'blink')
    options = Options(steps, sampler, float(guidance_scale))
    motion_rng, sample_rng = jax.random.split(jax.random.key(seed))
    report = progress or (lambda *_: None)
    conditions = _conditions(source, audio_emb, pose, blink)
    self.plan = self._plan(conditions, total, resolution, options)

    def frames() -> Iterator[np.ndarray]:
      known = self._move(conditions, motion_rng, total)
      features, mouth = self._run(
        'encode', self._stages.encode(self.variables, source.image[None]), 1
      )
      known['opened'] = None
      if self._stages.opens_mouths:
        speech = self._stages.speech(
          self.variables, source.image[None], mouth, known
        )
        known['opened'] = self._run('speech', speech, total)
      z = self._sample(features, known, sample_rng, total, options, report)
      yield from self._decode(features, z, report)

    return frames()

  def _plan(self, conditions, total, resolution, options) -> Plan:
    """Compiles all stages, and tells what they take."""
    length = conditions['audio_emb'].shape[1]
    key = length, resolution, options, frozenset(conditions)
    if key not in self._memory:
      with self._timed('compile'):
        self._memory[key] = self._stages.compile(
          self._stages.calls(self.variables, conditions, resolution, options)
        )
    memory = self._memory[key]
    plan = Plan(total, resolution, num_bytes(self.variables), memory)
    free = free_memory()
    if free is not None and plan.peak - plan.weights > free:
      logger.warning(
        '%d frames of %d x %d may take %.1f GiB more, and %.1f GiB are free',
        *(total, resolution, resolution),
        *((plan.peak - plan.weights) / 2**30, free / 2**30),
      )
    return plan

  def _move(self, conditions, rng, total) -> dict[str, Any]:
    """Adds pose and blink where they are not given."""
    if {'pose', 'blink'} <= set(conditions):
      return dict(conditions)
    call = self._stages.motion(self.variables, conditions, rng)
    made = self._run('motion', call, total)
    return dict(zip(('pose', 'blink'), made)) | conditions

  def _run(self, stage: str, call: Call, frames: int):
    """The results of a stage, when they are there."""
    program = self._stages.program(stage, call)
    with self._timed(stage, frames):
      return jax.block_until_ready(program(*call.args))

  def _sample(self, features, known, rng, total, options, report):
    """Latents `[N, h, w, C]` of all frames, on the host."""
    phase = self._stages.phases['diffusion']
    state = phase.start(features[-1], known['frame_mask'], rng)
    for first in range(0, options.steps, options.at_once):
      report('diffusion', first, options.steps)
      call = self._stages.diffusion(
        *(self.variables, features, known, rng, state),
        np.int32(first),
        options,
      )
      state = self._run('diffusion', call, total if first == 0 else 0)
    report('diffusion', options.steps, options.steps)
    _, model_state = split(self.variables['diffusion'])
    z = phase.finish(model_state, state, known['opened'])
    return np.asarray(z)[0, :total]

  def _decode(self, features, z, report) -> Iterator[np.ndarray]:
    """Yields frames; while the host has one batch the next is computed."""
    total, size = len(z), frames_at_once(features[0].shape[1])
    z = np.pad(z, [(0, -total % size)] + [(0, 0)] * 3, mode='edge')
    calls = [
      self._stages.decode(self.variables, features, z[i : i + size])
      for i in range(0, len(z), size)
    ]
    program = self._stages.program('frames', calls[0])
    report('frames', 0, total)
    done, ahead = 0, program(*calls[0].args)
    for i in range(len(calls)):
      with self._timed('frames', min(size, total - done)):
        batch = ahead
        if i + 1 < len(calls):
          ahead = program(*calls[i + 1].args)
        images = np.asarray(batch)[: total - done]
      yield from images
      done += len(images)
      report('frames', done, total)

  @contextlib.contextmanager
  def _timed(self, stage: str, frames: int = 0) -> Iterator[Timing]:
    """Adds what passes to `timings[stage]`."""
    timing = self.timings.setdefault(stage, Timing())
    timing.frames += frames
    start = time.perf_counter()
    try:
      yield timing
    finally:
      timing.seconds += time.perf_counter() - start


def bucket_length(frames: int) -> int:
  """Returns the smallest of 16, 24, 32, 40, 48, 56, 64, 80, 96, 120, ... that
  is not below `frames`.

  Each is at most a half, later a quarter more than the one before: any length
  costs little more than itself, and few programs are compiled.
  """
  length = 16
  while length < frames:
    length = max(length + 8, length * 5 // 4 // 8 * 8)
  return length


def _conditions(source, audio_emb, pose, blink) -> dict[str, np.ndarray]:
  """What is known at first, padded to a bucket of lengths."""
  length = bucket_length(len(audio_emb))
  given = {
    name: _pad(x, length)
    for name, x in (('pose', pose), ('blink', blink))
    if x is not None
  }
  return given | dict(
    audio_emb=_pad(audio_emb, length),
    source_pose=source.pose[None],
    source_blink=source.blink[None],
    face_box=source.face_box[None],
    frame_mask=_pad(np.ones(len(audio_emb), np.float32), length),
  )


def free_memory() -> int | None:
  """Bytes that are free on the device, None where it does not tell."""
  stats = jax.devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
  if jax.default_backend() != 'cpu':
    return None
  try:
    lines = pathlib.Path('/proc/meminfo').read_text().splitlines()
    amounts = dict(line.split(':') for line in lines)
    return int(amounts['MemAvailable'].split()[0]) * 1024
  except (OSError, KeyError, ValueError):
    return None  # Not Linux.


def check_dtype(dtype: str | None) -> str:
  """Returns `dtype`, or what suits the device.

  Raises:
    InputError: it is neither float32 nor bfloat16.
  """
  if dtype is None:
    return 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
  if dtype not in DTYPES:
    raise InputError(f'dtype {dtype!r} is none of: {", ".join(DTYPES)}')
  return dtype


def _cast(variables, dtype: str):
  """Parameters in the type to compute in; statistics stay as they are."""

  def cast(params):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), params)

  return {
    name: {k: cast(x) if k == 'params' else x for k, x in phase.items()}
    for name, phase in variables.items()
  }


def _pad(x: np.ndarray, length: int) -> np.ndarray:
  """Pads `[N, ...]` with zeros to `[1, length, ...]`."""
  pad = [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)
  return np.pad(x, pad)[None]

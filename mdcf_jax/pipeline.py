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
from mdcf_jax.phases import guides, packed

FPS = 25
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
  """

  def __init__(
    self,
    config: dict[str, Any],
    variables: dict[str, Any],
    hubert: str | os.PathLike | None = None,
  ):
    """Takes what `weights.load_config` and `weights.load` return.

    Args:
      config, variables: of the weights.
      hubert: as in `from_pretrained`; read when the first sound comes.
    """
    self.config = config
    self._hubert = hubert
    self.resolution = int(config['resolution'])
    self.timings: dict[str, Timing] = {}
    self.variables = jax.device_put(variables)
    self._phases = packed.build_phases(config)
    self._programs: dict[tuple, Any] = {}

  @classmethod
  def from_pretrained(
    cls,
    name: str | os.PathLike = 'mini',
    hubert: str | os.PathLike | None = None,
  ) -> 'Pipeline':
    """Loads weights: 'mini', which comes along, or a folder of them.

    Args:
      name: of the weights.
      hubert: `hubert.safetensors` or a folder with it, for weights that were
        trained on its features; by default the file in their own folder.

    Raises:
      InputError: there is no such folder, a file is missing from it, or a
        tensor is missing, superfluous or of another shape.
    """
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
    )

  @functools.cached_property
  def encoder(self) -> speech.AudioFeatures:
    """Of the sound; apart, as pictures alone need none."""
    return speech.open_encoder(self.config['audio_encoder'], self._hubert)

  @property
  def fde(self):
    return self._phases['fde'].fde

  @property
  def lmae(self):
    # Without an auto-encoder there is no such phase.
    return self._phases.get('lmae', self._phases.get('diffusion')).lmae

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
    objective = self._phases['diffusion'].objective
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
    options = dict(
      steps=steps, sampler=sampler, guidance_scale=float(guidance_scale)
    )
    motion_rng, sample_rng = jax.random.split(jax.random.key(seed))
    report = progress or (lambda *_: None)

    def frames() -> Iterator[np.ndarray]:
      conditions = self._conditions(source, audio_emb, pose, blink, motion_rng)
      features, mouth = self._encode(source.image)
      conditions['opened'] = self._speak(source.image, mouth, conditions)
      z = self._sample(features, conditions, sample_rng, total, options, report)
      yield from self._decode(features, z, report)

    return frames()

  def _conditions(self, source, audio_emb, pose, blink, rng):
    """Returns what steers the diffusion, padded to a bucket of lengths."""
    total = len(audio_emb)
    length = bucket_length(total)
    known = dict(
      audio_emb=_pad(audio_emb, length),
      source_pose=source.pose[None],
      source_blink=source.blink[None],
      frame_mask=_pad(np.ones(total, np.float32), length),
    )
    if pose is None or blink is None:
      args = self.variables['pbnet'], known, rng
      program = self._program('motion', self._motion, args)
      with self._timed('motion', total):
        made = jax.block_until_ready(program(*args))
    return known | dict(
      pose=made[0] if pose is None else _pad(pose, length),
      blink=made[1] if blink is None else _pad(blink, length),
      face_box=source.face_box[None],
    )

  def _encode(self, image):
    """Features of the source `[R, R, 3]` uint8, and where and how open its
    mouth is."""
    args = self.variables['fde'], image[None]
    program = self._program('encode', self._features, args)
    with self._timed('encode', 1):
      return jax.block_until_ready(program(*args))

  def _speak(self, image, mouth, conditions):
    """What the mouth does to the latents, or None where that is not apart."""
    known = 'audio_emb', 'frame_mask', 'pose', 'source_pose'
    known = mouth | {name: conditions[name] for name in known}
    names = 'diffusion', 'lmae', 'fde'
    args = {n: self.variables.get(n, {}) for n in names}, image[None], known
    program = self._program('speech', self._opened, args)
    with self._timed('speech', int(known['frame_mask'].sum())):
      return jax.block_until_ready(program(*args))

  def _sample(self, features, conditions, rng, total, options, report):
    """Latents `[N, h, w, C]` of all frames, on the host."""
    phase, steps = self._phases['diffusion'], options['steps']
    count = _count_at_a_time(steps)
    params, model_state = _split(self.variables['diffusion'])
    state = phase.start(features[-1], conditions['frame_mask'], rng)
    args = params, features[-1], conditions, rng, state, np.int32(0)
    advance = functools.partial(self._advance, options, count)
    program = self._program('diffusion', advance, args, *options.items())
    for first in range(0, steps, count):
      report('diffusion', first, steps)
      with self._timed('diffusion', total if first == 0 else 0):
        state = program(*args[:-2], state, np.int32(first))
        state = jax.block_until_ready(state)
    report('diffusion', steps, steps)
    z = phase.finish(model_state, state, conditions['opened'])
    return np.asarray(z)[0, :total]

  def _decode(self, features, z, report) -> Iterator[np.ndarray]:
    """Yields frames; while the host has one batch the next is computed."""
    # As much memory at every resolution: 8 frames of 256 pixels, 2 of 512.
    total, size = len(z), max(1, min(8, 2**19 // features[0].shape[1] ** 2))
    lmae = self.variables.get('lmae', {})
    fixed = lmae, self.variables['fde'], features
    z = np.pad(z, [(0, -total % size)] + [(0, 0)] * 3, mode='edge')
    batches = [z[i : i + size] for i in range(0, len(z), size)]
    program = self._program('decode', self._images, (*fixed, batches[0]))
    report('frames', 0, total)
    done, ahead = 0, program(*fixed, batches[0])
    for i in range(len(batches)):
      with self._timed('frames', min(size, total - done)):
        batch = ahead
        if i + 1 < len(batches):
          ahead = program(*fixed, batches[i + 1])
        images = np.asarray(batch)[: total - done]
      yield from images
      done += len(images)
      report('frames', done, total)

  # The programs that are compiled.

  def _features(self, variables, image):
    image = _to_signed(image)
    features = self.fde.apply(variables, image, method='encode')
    opening, points = jnp.zeros(1), jnp.zeros((1, 8, 2))
    if self._phases['diffusion'].denoiser.opening:
      found = self.fde.apply(variables, image, method='regions')
      opening, points = guides.opening(found), guides.points(found)
    return features, dict(source_opening=opening, source_landmarks=points)

  def _motion(self, variables, known, rng):
    return self._phases['pbnet'].sample(*_split(variables), rng=rng, **known)

  def _opened(self, variables, image, known):
    params, model_state = _split(variables['diffusion'])
    frozen = {
      name: dict(zip(('params', 'model_state'), _split(variables[name])))
      for name in ('fde', 'lmae')
    }
    batch = known | dict(source=_to_signed(image))
    return self._phases['diffusion'].speak(params, model_state, frozen, batch)

  def _advance(self, options, count, params, features, conditions, rng, *at):
    state, first = at
    return self._phases['diffusion'].advance(
      params,
      state,
      rng,
      source_features=features,
      first=first,
      count=count,
      **conditions,
      **options,
    )

  def _images(self, lmae, fde, features, z):
    dynamics = self.lmae.apply(lmae, z, method='decode')
    images = self.fde.apply(fde, features, dynamics, method='decode')
    images = jnp.round((images + 1) * 127.5)
    return jnp.clip(images, 0, 255).astype(jnp.uint8)

  def _program(self, name, function, args, *static):
    """Returns `function` compiled for the shapes of `args`, once for each."""
    shapes = jax.tree.map(lambda x: (jnp.shape(x), str(x.dtype)), args[1:])
    key = name, static, str(shapes)
    if key not in self._programs:
      with self._timed('compile'):
        self._programs[key] = jax.jit(function).lower(*args).compile()
    return self._programs[key]

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


def _count_at_a_time(steps: int) -> int:
  """Steps between two reports: a divisor of all, so that one program does."""
  return max(n for n in range(1, steps // 10 + 2) if steps % n == 0)


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


def _pad(x: np.ndarray, length: int) -> np.ndarray:
  """Pads `[N, ...]` with zeros to `[1, length, ...]`."""
  pad = [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)
  return np.pad(x, pad)[None]


def _to_signed(image):
  """uint8 to [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1


def _split(variables):
  """Returns (params, model_state) as phases take them."""
  state = {k: v for k, v in variables.items() if k != 'params'}
  return variables.get('params', {}), state

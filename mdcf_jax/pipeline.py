"""From weights, a portrait and a recording to the frames of a video.

  pipe = Pipeline.from_pretrained('mini')
  video = pipe('me.jpg', 'talk.wav', seed=0)
  video.save('talk.mp4')

The source is encoded once. Motion comes from PBNet, the latents of all frames
from the diffusion in one program, whose memory grows with their number; they
are then decoded in small batches and leave the device as uint8, so decoding
holds no more than the latents of a long video.
"""

import functools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax import driving, inputs, speech, weights
from mdcf_jax.clips import Clip, Video, make_conditions
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.devices import Devices, check_dtype, out_of_memory
from mdcf_jax.errors import InputError
from mdcf_jax.hub.fetch import BUNDLED as BUNDLED
from mdcf_jax.hub.fetch import find_weights
from mdcf_jax.hub.push import push
from mdcf_jax.media.paste import Paste
from mdcf_jax.models import sizes
from mdcf_jax.phases import packed
from mdcf_jax.stages import (
  Call,
  Chunks,
  Options,
  Plan,
  Stages,
  num_bytes,
)
from mdcf_jax.timing import Timing, timed

logger = logging.getLogger(__name__)

NAMES = packed.NAMES

# Called with (stage, done, total): 'diffusion' in steps, 'frames' in frames.
Progress = Callable[[str, int, int], None]
LatentsSeen = Callable[[int, np.ndarray], None]


class Pipeline:
  """Generates talking heads with one set of weights.

  Attributes:
    config: of the weights: sizes of the modules, resolution, how trained.
    origin: 'user/name@commit' of the Hub where they are from there, else ''.
    resolution: pixels of a side that the weights were trained for.
    variables: name of a phase -> its parameters and statistics, on the device.
    fde, lmae: the auto-encoders as linen modules.
    timings: stage -> Timing of the last generation; 'compile' apart.
    plan: the memory that it takes on a device, known before it starts.
    devices: what it runs on.
  """

  def __init__(
    self,
    config: dict[str, Any],
    variables: dict[str, Any],
    hubert: str | os.PathLike | None = None,
    dtype: str | None = None,
    devices: int = 1,
  ):
    """Takes what `weights.load_config` and `weights.load` return.

    Args:
      config, variables: of the weights.
      hubert, dtype, devices: as in `from_pretrained`; HuBERT is read when the
        first sound comes.
    """
    dtype = check_dtype(dtype)
    self.devices = Devices(devices)
    self.config = config
    self.origin = ''
    self._hubert = hubert
    self.resolution = int(config['resolution'])
    self.timings: dict[str, Timing] = {}
    variables = self.devices.put(_cast(variables, dtype))
    self.variables = jax.device_put(variables)
    self.plan: Plan | None = None
    self._stages = Stages(
      packed.build_phases(config, dtype), self.resolution, self.devices
    )
    # What stages take, by kinds of clips and how much is done at a time.
    self._memory: dict[tuple, dict[str, Any]] = {}
    self._dynamics: Any = None

  @classmethod
  def from_pretrained(
    cls,
    name: str | os.PathLike = 'mini',
    hubert: str | os.PathLike | None = None,
    dtype: str | None = None,
    devices: int = 1,
    revision: str | None = None,
  ) -> 'Pipeline':
    """Loads weights: 'mini', which comes along, a folder, or of the Hub.

    Args:
      name: 'mini'; a folder; 'user/name' or 'user/name@revision' of the
        Hugging Face Hub, see `hub.fetch`. A folder that exists comes first.
      hubert: `hubert.safetensors` or a folder with it, for weights that were
        trained on its features; by default the file in their own folder.
      dtype: 'float32' or 'bfloat16', to keep parameters and to compute in;
        None is float32 on a CPU, which gains nothing from bfloat16, and else
        bfloat16. Grids, norms and what is summed stay float32.
      devices: that share the frames of a video; each has all weights.
      revision: branch, tag or commit of the Hub's repository.

    Raises:
      InputError: there are no such weights, a file is missing from it, a tensor
        is missing, superfluous or of another shape, dtype is neither, or there
        are fewer devices.
    """
    dtype = check_dtype(dtype)
    found = find_weights(name, revision)
    folder = found.folder
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
    pipe = cls(
      config,
      {name: weights.load(folder, name, shapes[name]) for name in shapes},
      hubert,
      dtype,
      devices,
    )
    pipe.origin = found.origin
    return pipe

  @functools.cached_property
  def encoder(self) -> speech.AudioFeatures:
    """Of the sound; apart, as pictures alone need none."""
    return speech.open_encoder(self.config['audio_encoder'], self._hubert)

  @property
  def phases(self) -> dict[str, Any]:
    """Name -> phase, as these weights describe it: what is computed, and in
    `variables` what with. To look inside; generation needs no knowledge of it.
    """
    return dict(self._stages.phases)

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

  def push_to_hub(self, repo: str, **options: Any) -> str:
    """Uploads what `save_pretrained` writes, and a card, in one commit.

    Args:
      repo: 'user/name'; made when absent, private by default.
      options: private, branch, message; as in `hub.push`.

    Returns:
      'user/name@commit'.

    Raises:
      InputError: the Hub refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
      self.save_pretrained(folder)
      return push(folder, repo, **options)

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
    progress: Progress | None = None,
    **options: Any,
  ) -> Iterator[np.ndarray]:
    """Yields ceil(25 * seconds) frames `[H, W, 3]` uint8, one at a time.

    They are squares of `resolution`, with `paste_back` of the picture's size.

    Everything given is read and checked, and all is compiled, before this
    returns.

    Args:
      image, audio, options: of `prepare`.
      progress: called with (stage, done, total).

    Raises:
      InputError: something given cannot be used.
    """
    self.timings = {}
    (frames,) = self.generate([self.prepare(image, audio, **options)], progress)
    return frames

  def prepare(
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
    face: int | None = None,
    pose_from: str | os.PathLike | None = None,
    blink_from: str | os.PathLike | None = None,
    pose_mode: str = 'relative',
    paste_back: bool = False,
  ) -> Clip:
    """Reads and checks everything that a video needs.

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
      face: its number from the left, from 1, if there are several.
      pose_from, blink_from: a video to move as, in place of `pose` and `blink`.
      pose_mode: of both; 'relative': the portrait's own, changed as the
        video's; 'absolute': the video's.
      paste_back: frames are the whole picture, with the crop moving in it.

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
    videos = dict(pose=pose_from, blink=blink_from)
    driving.check(dict(pose=pose, blink=blink), videos, pose_mode)
    objective = self._stages.phases['diffusion'].objective
    if sampler == 'ddim-dawn' and objective != 'noise':
      raise InputError(
        "the sampler 'ddim-dawn' is for a diffusion that predicts noise, and "
        f'this one has the objective {objective!r}: take ddim or dpm++'
      )
    with self._timed('audio') as timing:
      samples, rate = inputs.read_audio(audio)
      total = inputs.num_frames(samples, rate)
      timing.frames += total
      audio_emb = inputs.audio_features(samples, rate, self.encoder)
    with self._timed('image', 1):
      source = inputs.read_source(
        *(image, crop, resolution, face), look=driving.any_of(videos)
      )
      paste = Paste(source.picture, source.square) if paste_back else None
    if driving.any_of(videos):
      with self._timed('driving', total):
        found = driving.read(videos, source, pose_mode, total)
      pose, blink = found.get('pose', pose), found.get('blink', blink)
    pose = inputs.read_motion(pose, source.pose, 'still', total, 'pose')
    blink = inputs.read_motion(blink, source.blink, 'none', total, 'blink')
    return Clip(
      total,
      source.image,
      make_conditions(source, audio_emb, pose, blink, self.devices.count),
      seed,
      Options(steps, sampler, float(guidance_scale)),
      paste,
    )

  def generate(
    self,
    clips: Sequence[Clip],
    progress: Progress | None = None,
    latents_seen: LatentsSeen | None = None,
  ) -> tuple[Iterator[np.ndarray], ...]:
    """Frames of several videos, whose latents are made together.

    A device that a short clip does not fill does several in the time of one;
    where they take more memory than is free, fewer are made together. Each is
    what it would be by itself, up to rounding.

    Args:
      clips: of `prepare`, all of one `kind`.
      progress: called with (stage, done, total).
      latents_seen: called with (index of a clip, its latents `[N, h, w, C]`)
        before its first frame; `dynamics` says how they move.

    Returns:
      For each clip an iterator of its frames; all is compiled. The first frame
      that is asked for starts the work.

    Raises:
      ValueError: no clips, or of different kinds.
    """
    if len({clip.kind for clip in clips}) != 1:
      raise ValueError('clips that are generated together are of one kind')
    chunks = self._plan(clips)
    if chunks is None:
      half = len(clips) // 2
      seen = latents_seen and (lambda i, z: latents_seen(half + i, z))
      return (
        *self.generate(clips[:half], progress, latents_seen),
        *self.generate(clips[half:], progress, seen),
      )
    report = progress or (lambda *_: None)

    @functools.cache
    def latents() -> list[tuple[Any, np.ndarray]]:
      return self._sample(clips, chunks, report)

    def frames(i: int) -> Iterator[np.ndarray]:
      features, z = latents()[i]
      if latents_seen is not None:
        latents_seen(i, z)
      for frame in self._decode(features, z, chunks, report):
        yield self._paste(clips[i].paste, frame)

    return tuple(frames(i) for i in range(len(clips)))

  def dynamics(self, z: np.ndarray) -> np.ndarray:
    """Flow (x, y) in [-1, 1] of the picture and occlusion of latents.

    Args:
      z: `[N, h, w, C]`, of `generate`.

    Returns:
      `[N, R/4, R/4, 3]`, as `LMAE.decode`.
    """
    if self._dynamics is None:
      lmae = self.lmae
      self._dynamics = jax.jit(
        lambda variables, z: lmae.apply(variables, z, method='decode')
      )
    return np.asarray(self._dynamics(self.variables.get('lmae', {}), z))

  def _plan(self, clips: Sequence[Clip]) -> Chunks | None:
    """Compiles all stages, and tells what they take.

    Where memory is short, they do less at a time; where that does not help,
    several clips are too many, and there is no plan for them.
    """
    clip = max(clips, key=lambda clip: clip.frames)
    free, chunks = self.devices.free_memory, Chunks.usual(clip.resolution)
    self.plan = self._compile(clip, chunks, len(clips))
    while free is not None and self.plan.beside_weights > free:
      stages = self.plan.stages
      largest = max(stages, key=lambda name: stages[name].beside_weights)
      smaller = chunks.smaller(largest)
      if smaller is None:
        if len(clips) > 1:
          return None
        logger.warning(
          '%d frames of %d x %d may take %.1f GiB more, and %.1f GiB are free',
          *(clip.frames, clip.resolution, clip.resolution),
          *(self.plan.beside_weights / 2**30, free / 2**30),
        )
        break
      chunks = smaller
      self.plan = self._compile(clip, chunks, len(clips))
    return chunks

  def _compile(self, clip: Clip, chunks: Chunks, clips: int) -> Plan:
    """Compiles all stages, once for a kind."""
    key = clip.kind, chunks, clips
    if key not in self._memory:
      with self._timed('compile'), out_of_memory():
        self._memory[key] = self._stages.compile(
          self._stages.calls(
            *(self.variables, clip.conditions, clip.resolution),
            *(clip.options, chunks, clips),
          )
        )
    size = num_bytes(self.variables)
    return Plan(clip.frames, clip.resolution, size, self._memory[key], clips)

  def _move(self, clip: Clip, rng) -> dict[str, Any]:
    """Adds pose and blink where they are not given."""
    if {'pose', 'blink'} <= set(clip.conditions):
      return dict(clip.conditions)
    call = self._stages.motion(self.variables, clip.conditions, rng)
    made = self._run('motion', call, clip.frames)
    return dict(zip(('pose', 'blink'), made)) | clip.conditions

  def _run(self, stage: str, call: Call, frames: int):
    """The results of a stage, when they are there."""
    program = self._stages.program(stage, call)
    with self._timed(stage, frames), out_of_memory():
      return jax.block_until_ready(program(*call.args))

  def _start(self, clip: Clip) -> tuple[Any, Any, Any]:
    """Features of the source, and the clip as the diffusion takes it."""
    motion_rng, sample_rng = jax.random.split(jax.random.key(clip.seed))
    known = self._move(clip, motion_rng)
    image = clip.image[None]
    features, mouth = self._run(
      'encode', self._stages.encode(self.variables, image), 1
    )
    known['opened'] = None
    if self._stages.opens_mouths:
      call = self._stages.speech(self.variables, image, mouth, known)
      known['opened'] = self._run('speech', call, clip.frames)
    phase = self._stages.phases['diffusion']
    state = phase.start(features[-1], known['frame_mask'], sample_rng)
    return features, (features[-1], known, sample_rng), state

  def _sample(self, clips, chunks, report) -> list[tuple[Any, np.ndarray]]:
    """Of each clip features, and latents `[N, h, w, C]` on the host."""
    features, given, states = zip(*map(self._start, clips))
    options, total = clips[0].options, sum(clip.frames for clip in clips)
    for first in range(0, options.steps, options.at_once):
      report('diffusion', first, options.steps)
      call = self._stages.diffusion(
        self.variables,
        [(*x, state) for x, state in zip(given, states)],
        np.int32(first),
        options,
        chunks,
      )
      states = self._run('diffusion', call, total if first == 0 else 0)
    report('diffusion', options.steps, options.steps)
    latents = []
    for state, (_, known, _) in zip(states, given):
      call = self._stages.latents(self.variables, known, state)
      latents.append(self._run('latents', call, 0))
    return [
      (x, np.asarray(z)[0, : clip.frames])
      for x, z, clip in zip(features, latents, clips)
    ]

  def _decode(self, features, z, chunks, report) -> Iterator[np.ndarray]:
    """Yields frames; while the host has one batch the next is computed."""
    total, size = len(z), chunks.frames * self.devices.count
    z = np.pad(z, [(0, -total % size)] + [(0, 0)] * 3, mode='edge')

    def start(first):
      z_some = z[first : first + size]
      call = self._stages.decode(self.variables, features, z_some)
      return self._stages.program('frames', call)(*call.args)

    report('frames', 0, total)
    ahead = start(0)
    for done in range(0, total, size):
      count = min(size, total - done)
      with self._timed('frames', count), out_of_memory():
        batch = ahead
        if done + size < total:
          ahead = start(done + size)
        images = np.asarray(batch)[:count]
      yield from images
      report('frames', done + count, total)

  def _paste(self, paste: Paste | None, frame: np.ndarray) -> np.ndarray:
    if paste is None:
      return frame
    with self._timed('paste', 1):
      return paste(frame)

  def _timed(self, stage: str, frames: int = 0):
    return timed(self.timings, stage, frames)


def _cast(variables, dtype: str):
  """Parameters in the type to compute in; statistics stay as they are."""

  def cast(params):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), params)

  return {
    name: {k: cast(x) if k == 'params' else x for k, x in phase.items()}
    for name, phase in variables.items()
  }

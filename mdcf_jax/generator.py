"""From clips that have been read to frames: what runs on the device.

The source is encoded once. Motion comes from PBNet, the latents of all frames
from the diffusion in one program, whose memory grows with their number; they
are then decoded in small batches and leave the device as uint8, so decoding
holds no more than the latents of a long video.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.clips import Clip
from mdcf_jax.devices import Devices, out_of_memory
from mdcf_jax.media.paste import Paste
from mdcf_jax.stages import Call, Chunks, Plan, Stages, num_bytes
from mdcf_jax.timing import Timing, timed

logger = logging.getLogger(__name__)

# Called with (stage, done, total): 'diffusion' in steps, 'frames' in frames.
Progress = Callable[[str, int, int], None]
# Called with the index of a clip and its latents `[N, h, w, C]`.
LatentsSeen = Callable[[int, np.ndarray], None]


class Generator:
  """Generates videos with one set of weights.

  Attributes:
    resolution: pixels of a side that the weights were trained for.
    variables: name of a phase -> its parameters and statistics, on the device.
    fde, lmae: the auto-encoders as linen modules.
    timings: stage -> Timing of the last generation; 'compile' apart.
    plan: the memory that it takes on a device, known before it starts.
    devices: what it runs on.
  """

  def __init__(
    self,
    phases: Mapping[str, Any],
    resolution: int,
    variables: dict[str, Any],
    dtype: str,
    devices: Devices,
  ):
    """Takes phases as they compute in `dtype`, and their variables."""
    self.devices = devices
    self.resolution = resolution
    self.timings: dict[str, Timing] = {}
    variables = self.devices.put(_cast(variables, dtype))
    self.variables = jax.device_put(variables)
    self.plan: Plan | None = None
    self._stages = Stages(phases, resolution, devices)
    # What stages take, by kinds of clips and how much is done at a time.
    self._memory: dict[tuple, dict[str, Any]] = {}
    self._dynamics: Any = None

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
    def latents() -> list[tuple]:
      return self._sample(clips, chunks, report)

    def frames(i: int) -> Iterator[np.ndarray]:
      features, z, eyes = latents()[i]
      if latents_seen is not None:
        latents_seen(i, z)
      for frame in self._decode(features, z, eyes, chunks, report):
        yield self._paste(clips[i].paste, frame)

    return tuple(frames(i) for i in range(len(clips)))

  def is_ready(self, clips: Sequence[Clip]) -> bool:
    """Whether what makes clips of one kind together is compiled."""
    known = {(kind, count) for kind, _, count in self._memory}
    return (clips[0].kind, len(clips)) in known

  def dynamics(self, z: np.ndarray) -> np.ndarray:
    """Flow (x, y) in [-1, 1] of the picture and occlusion of latents.

    Without the lids, which come later.

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

  def _start(self, clip: Clip) -> tuple[tuple, tuple, Any]:
    """What is known of the source, the clip as the diffusion takes it, and its
    first state."""
    motion_rng, sample_rng = jax.random.split(jax.random.key(clip.seed))
    known = self._move(clip, motion_rng)
    image = clip.image[None]
    features, face = self._run(
      'encode', self._stages.encode(self.variables, image), 1
    )
    known['opened'] = None
    if self._stages.knows_faces:
      call = self._stages.speech(self.variables, image, face, known)
      known['opened'] = self._run('speech', call, clip.frames)
    phase = self._stages.phases['diffusion']
    state = phase.start(features[-1], known['frame_mask'], sample_rng)
    return (features, face), (features[-1], known, sample_rng), state

  def _sample(self, clips, chunks, report) -> list[tuple]:
    """Of each clip features, latents `[N, h, w, C]` on the host, and eyes."""
    sources, given, states = zip(*map(self._start, clips))
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
    made = []
    for (features, face), state, (_, known, _), clip in zip(
      sources, states, given, clips
    ):
      call = self._stages.latents(self.variables, known, state)
      z = np.asarray(self._run('latents', call, 0))[0, : clip.frames]
      blink = np.asarray(known['blink'])[0, : clip.frames]
      made.append((features, z, self._stages.eyes(face, known, blink)))
    return made

  def _decode(self, features, z, eyes, chunks, report) -> Iterator[np.ndarray]:
    """Yields frames; while the host has one batch the next is computed."""
    total, size = len(z), chunks.frames * self.devices.count

    def part(x, first):
      x = x[first : first + size]
      more = size - len(x)
      return np.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1), mode='edge')

    def start(first):
      now = eyes
      if eyes is not None:
        now = eyes | dict(blink=part(eyes['blink'], first))
      call = self._stages.decode(self.variables, features, part(z, first), now)
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

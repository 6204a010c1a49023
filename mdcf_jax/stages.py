"""The programs of a generation, compiled before they run.

Motion, source, speech, diffusion, its latents and frames: one pure function of
arrays each.
All shapes follow from the number of frames and the resolution, so everything is
compiled at once, and the memory that it will take is known before it starts.
"""

import concurrent.futures
import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.devices import Devices
from mdcf_jax.phases import eyelids, guides, packed

# Conditions without frames, `[B, ...]`.
_OF_CLIP = 'source_pose', 'source_blink', 'face_box'


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes that a program takes while it runs.

  Attributes:
    weights: those of its arguments that are weights.
    arguments: all other arguments.
    temporaries, results: what it makes on the way, and in the end.
  """

  weights: int
  arguments: int
  temporaries: int
  results: int

  @property
  def beside_weights(self) -> int:
    return self.arguments + self.temporaries + self.results


@dataclasses.dataclass(frozen=True)
class Plan:
  """Bytes that a generation takes on the device.

  Attributes:
    frames, resolution: of the video, or the longest of several.
    weights: of all modules, which stay.
    stages: what each stage takes while it runs.
    clips: videos whose latents are made together.
  """

  frames: int
  resolution: int
  weights: int
  stages: Mapping[str, Memory]
  clips: int = 1

  @property
  def beside_weights(self) -> int:
    """The most at any time of one stage, and what waits for its turn."""
    most = max(stage.beside_weights for stage in self.stages.values())
    # Features of the sources of the other clips.
    return most + (self.clips - 1) * self.stages['encode'].results

  @property
  def peak(self) -> int:
    """The most at any time, with all weights."""
    return self.weights + self.beside_weights


@dataclasses.dataclass(frozen=True)
class Chunks:
  """How much of a clip is worked on at a time, which costs memory.

  Attributes:
    frames: that are decoded together, on each device.
    positions: frames times pixels in a layer of the denoiser, see `UNet3D`.
  """

  frames: int
  positions: int

  @classmethod
  def usual(cls, resolution: int, backend: str | None = None) -> 'Chunks':
    """Those that fill a device, of frames with `resolution` pixels a side.

    8 frames of 256 pixels or 2 of 512 take as much memory at any resolution. A
    CPU is full with one, and what does not fit its cache is slower.
    """
    frames = max(1, min(8, 2**19 // resolution**2))
    if (backend or jax.default_backend()) == 'cpu':
      frames = 1
    return cls(frames, 2**16)  # Positions: 1024 frames of 8 x 8.

  def smaller(self, stage: str) -> 'Chunks | None':
    """Half as much in this stage, or None where that is of no use."""
    if stage == 'frames' and self.frames > 1:
      return dataclasses.replace(self, frames=self.frames // 2)
    if stage == 'diffusion' and self.positions > 2**12:
      return dataclasses.replace(self, positions=self.positions // 2)
    return None


@dataclasses.dataclass(frozen=True)
class Call:
  """A function and its arguments, or what has their shapes.

  Attributes:
    function: pure.
    args: those before `weights` are weights.
    weights: how many.
    settings: what the function has taken in besides; of the program's name.
    results: where they shall be, by default where the compiler has them.
  """

  function: Callable[..., Any]
  args: tuple
  weights: int
  settings: tuple = ()
  results: Any = None

  @property
  def key(self) -> tuple:
    args = self.args[self.weights :]
    shapes = jax.tree.map(lambda x: (jnp.shape(x), str(x.dtype)), args)
    return self.settings, str(shapes)


class Stages:
  """What runs on the device.

  Attributes:
    phases: name -> phase, of `packed.build_phases`.
    resolution: pixels of a side that they were trained for.
    devices: what it runs on.
    compiled: (stage, key of a Call) -> program.
  """

  def __init__(
    self,
    phases: Mapping[str, Any],
    resolution: int,
    devices: Devices | None = None,
  ):
    """Takes phases, the resolution and the devices, by default one."""
    self.phases = phases
    self.resolution = resolution
    self.devices = devices or Devices()
    self.compiled: dict[tuple, Any] = {}

  def program(self, name: str, call: Call):
    """Returns a stage compiled for the shapes of its arguments, once."""
    key = name, call.key
    if key not in self.compiled:
      # Weights that a stage does not use are there all the same, and counted.
      jitted = jax.jit(
        call.function, keep_unused=True, out_shardings=call.results
      )
      self.compiled[key] = jitted.lower(*call.args).compile()
    return self.compiled[key]

  def compile(self, calls: Mapping[str, Call]) -> dict[str, Memory]:
    """Compiles stages beside one another; returns what they take."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
      programs = pool.map(lambda item: self.program(*item), calls.items())
      found = dict(zip(calls, programs))
    return {name: _memory(found[name], calls[name]) for name in calls}

  def calls(
    self,
    variables: Mapping[str, Any],
    conditions: dict[str, jax.Array],
    resolution: int,
    options: 'Options',
    chunks: Chunks | None = None,
    clips: int = 1,
  ) -> dict[str, Call]:
    """All stages with the shapes of their arguments.

    Args:
      variables: of the phases, or their shapes.
      conditions: what is known at first, or its shapes: audio_emb, frame_mask,
        source_pose, source_blink, face_box, and pose and blink if they are
        given.
      resolution, options: of the video.
      chunks: by default the usual ones.
      clips: that go through the diffusion together.
    """
    struct = jax.ShapeDtypeStruct
    chunks = chunks or Chunks.usual(resolution)
    rng = jax.eval_shape(lambda: jax.random.key(0))
    image = struct((1, resolution, resolution, 3), jnp.uint8)
    known, calls = dict(conditions), {}
    if not {'pose', 'blink'} <= set(known):
      calls['motion'] = self.motion(variables, known, rng)
      made = _shapes(calls['motion'])
      known = dict(zip(('pose', 'blink'), made)) | known
    calls['encode'] = self.encode(variables, image)
    features, face = _shapes(calls['encode'])
    known['opened'] = None
    if self.knows_faces:
      calls['speech'] = self.speech(variables, image, face, known)
      known['opened'] = _shapes(calls['speech'])
    phase = self.phases['diffusion']
    state = jax.eval_shape(phase.start, features[-1], known['frame_mask'], rng)
    calls['diffusion'] = self.diffusion(
      variables,
      [(features[-1], known, rng, state)] * clips,
      struct((), jnp.int32),
      options,
      chunks,
    )
    calls['latents'] = self.latents(variables, known, state)
    frames = chunks.frames * self.devices.count
    z = struct((frames, *state.xt.shape[2:]), jnp.float32)
    eyes = self.eyes(face, known, struct((frames, 2), jnp.float32))
    calls['frames'] = self.decode(variables, features, z, eyes)
    return calls

  @property
  def knows_faces(self) -> bool:
    """Whether guide points are found: what the mouth does to latents is a stage
    of its own then, and lids come down after all others."""
    return self.phases['diffusion'].denoiser.opening

  def motion(self, variables, known, rng) -> Call:
    """(pose `[1, T, 6]`, blink `[1, T, 2]`) of what is heard."""
    names = 'audio_emb', 'source_pose', 'source_blink', 'frame_mask'
    # Small: every device makes all of it.
    known = self.devices.put({name: known[name] for name in names})
    return Call(self._motion, (variables['pbnet'], known, rng), 1)

  def encode(self, variables, image) -> Call:
    """(features of the source `[1, R, R, 3]` uint8, where its face is and how
    open its mouth)."""
    image = self.devices.put(image)
    return Call(self._encode, (variables['fde'], image), 1)

  def speech(self, variables, image, face, known) -> Call:
    """What the mouth does to the latents, with `knows_faces`."""
    names = 'audio_emb', 'frame_mask', 'pose', 'source_pose'
    known = self._by_frame({name: known[name] for name in names})
    used = {n: variables.get(n, {}) for n in ('diffusion', 'lmae', 'fde')}
    given = self.devices.put((image, face))
    return Call(self._speech, (used, *given, known), 1)

  def diffusion(
    self, variables, clips, first, options: 'Options', chunks: Chunks
  ) -> Call:
    """The states after some more steps of the sampler.

    Args:
      clips: (features, known, rng, state) of each, all of the same shapes.
      first: the first of the steps.
    """
    params, _ = packed.split(variables['diffusion'])
    clips = [self._place(*clip) for clip in clips]
    results = None
    if self.devices.count > 1:
      results = [jax.tree.map(lambda x: x.sharding, x[-1]) for x in clips]
    return Call(
      functools.partial(self._diffusion, options, chunks.positions),
      (params, clips, self.devices.put(first)),
      1,
      (*dataclasses.astuple(options), chunks.positions),
      results,
    )

  def latents(self, variables, known, state) -> Call:
    """Latents `[1, T, h, w, C]` of the state after the last step."""
    known = {name: known[name] for name in ('frame_mask', 'opened')}
    known, state = self._by_frame(known), self._by_frame(state)
    _, model_state = packed.split(variables['diffusion'])
    return Call(self._finish, (model_state, state, known), 1)

  def decode(self, variables, features, z, eyes=None) -> Call:
    """Frames `[N, R, R, 3]` uint8 of latents `[N, h, w, C]`.

    `eyes`: of the method of that name.
    """
    used = variables.get('lmae', {}), variables['fde']
    features, z = self.devices.put(features), self.devices.put(z, 0)
    if eyes is not None:
      split = dict(blink=0)
      eyes = {k: self.devices.put(x, split.get(k)) for k, x in eyes.items()}
    return Call(self._decode, (*used, features, z, eyes), 2)

  def eyes(self, face, known, blink) -> dict[str, Any] | None:
    """What `decode` needs to let the lids of some frames down.

    Args:
      face: of `encode`.
      known: source_blink `[1, 2]`, and others.
      blink: of the frames, `[N, 2]`.
    """
    if not self.knows_faces:
      return None
    return dict(
      source_landmarks=face['source_landmarks'],
      source_blink=known['source_blink'],
      blink=blink,
    )

  def _place(self, features, known, rng, state):
    """A clip's part of the diffusion, on the devices."""
    names = 'audio_emb', 'pose', 'blink', 'source_pose', 'source_blink'
    names += 'face_box', 'frame_mask', 'opened'
    known = self._by_frame({name: known[name] for name in names})
    features, rng = self.devices.put((features, rng))
    return features, known, rng, self._by_frame(state)

  def _by_frame(self, tree):
    """Splits what has frames along its second axis; the rest is whole."""
    return jax.tree.map_with_path(self._put, tree)

  def _put(self, path, x):
    key = path[-1]
    of_clip = getattr(key, 'key', getattr(key, 'name', '')) in _OF_CLIP
    return self.devices.put(x, None if of_clip or x.ndim < 2 else 1)

  def _motion(self, variables, known, rng):
    return self.phases['pbnet'].sample(
      *packed.split(variables), rng=rng, **known
    )

  def _encode(self, variables, image):
    phase, image = self.phases['diffusion'], _to_signed(image)
    features = phase.fde.apply(variables, image, method='encode')
    if not self.knows_faces:
      return features, {}
    # Regions are found in pictures of the size that they were learnt from.
    size = 1, self.resolution, self.resolution, 3
    found = phase.fde.apply(
      variables, jax.image.resize(image, size, 'linear'), method='regions'
    )
    return features, dict(
      source_opening=guides.opening(found),
      source_landmarks=guides.points(found),
    )

  def _speech(self, variables, image, face, known):
    params, model_state = packed.split(variables['diffusion'])
    batch = known | face | dict(source=_to_signed(image))
    return self.phases['diffusion'].speak(
      params, model_state, packed.frozen(variables), batch
    )

  def _diffusion(self, options, positions, params, clips, first):
    phase = self.phases['diffusion']
    denoiser = phase.denoiser.clone(
      positions=positions // len(clips) or 1, parts=self.devices.count
    )
    phase = dataclasses.replace(phase, denoiser=denoiser)

    def advance(features, known, rng, state):
      return phase.advance(
        params,
        state,
        rng,
        source_features=features,
        first=first,
        count=options.at_once,
        steps=options.steps,
        sampler=options.sampler,
        guidance_scale=options.guidance_scale,
        **known,
      )

    if len(clips) == 1:
      return [advance(*clips[0])]
    # Each draws from its own key, as it would by itself.
    clips = jax.tree.map(lambda *x: jnp.stack(x), *clips)
    states = jax.vmap(advance)(*clips)
    count = len(jax.tree.leaves(states)[0])
    return [jax.tree.map(operator.itemgetter(i), states) for i in range(count)]

  def _finish(self, model_state, state, known):
    return self.phases['diffusion'].finish(model_state, state, **known)

  def _decode(self, lmae, fde, features, z, eyes):
    phase = self.phases['diffusion']
    dynamics = phase.lmae.apply(lmae, z, method='decode')
    if eyes is not None:
      scale = phase.fde.scale
      dynamics = eyelids.lower(dynamics, **eyes, scale=scale)
    images = phase.fde.apply(fde, features, dynamics, method='decode')
    images = jnp.round((images + 1) * 127.5)
    return jnp.clip(images, 0, 255).astype(jnp.uint8)


@dataclasses.dataclass(frozen=True)
class Options:
  """How the diffusion samples.

  Attributes:
    steps, sampler, guidance_scale: of `DiffusionPhase.advance`.
  """

  steps: int = 20
  sampler: str = 'ddim'
  guidance_scale: float = 1.0

  @property
  def at_once(self) -> int:
    """Steps between two reports: a divisor of all, so that one program does."""
    most = self.steps // 10 + 1
    return max(n for n in range(1, most + 1) if self.steps % n == 0)


def num_bytes(tree: Any) -> int:
  """Bytes of the arrays of a tree, or of what has their shapes."""
  return sum(
    int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


def _to_signed(image):
  """uint8 to [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1


def _shapes(call: Call):
  return jax.eval_shape(call.function, *call.args)


def _memory(program, call: Call) -> Memory:
  analysis = program.memory_analysis()
  weights = num_bytes(call.args[: call.weights])
  return Memory(
    weights=weights,
    arguments=analysis.argument_size_in_bytes - weights,
    temporaries=analysis.temp_size_in_bytes,
    results=analysis.output_size_in_bytes - analysis.alias_size_in_bytes,
  )

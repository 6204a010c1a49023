"""The programs of a generation, compiled before they run.

Motion, source, speech, diffusion and frames: one pure function of arrays each.
All shapes follow from the number of frames and the resolution, so everything is
compiled at once, and the memory that it will take is known before it starts.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax.phases import guides


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
    frames, resolution: of the video.
    weights: of all modules, which stay.
    stages: what each stage takes while it runs.
  """

  frames: int
  resolution: int
  weights: int
  stages: Mapping[str, Memory]

  @property
  def peak(self) -> int:
    """The most at any time: all weights, and one stage's own."""
    return self.weights + max(x.beside_weights for x in self.stages.values())


@dataclasses.dataclass(frozen=True)
class Call:
  """A function and its arguments, or what has their shapes.

  Attributes:
    function: pure.
    args: those before `weights` are weights.
    weights: how many.
    settings: what the function has taken in besides; of the program's name.
  """

  function: Callable[..., Any]
  args: tuple
  weights: int
  settings: tuple = ()

  @property
  def key(self) -> tuple:
    args = self.args[self.weights :]
    shapes = jax.tree.map(lambda x: (jnp.shape(x), str(x.dtype)), args)
    return self.settings, str(shapes)


class Stages:
  """What runs on the device.

  Attributes:
    phases: name -> phase, of `packed.build_phases`.
    compiled: (stage, key of a Call) -> program.
  """

  def __init__(self, phases: Mapping[str, Any], resolution: int):
    """Takes phases, and the pixels of a side that they were trained for."""
    self.phases = phases
    self.resolution = resolution
    self.compiled: dict[tuple, Any] = {}

  def program(self, name: str, call: Call):
    """Returns a stage compiled for the shapes of its arguments, once."""
    key = name, call.key
    if key not in self.compiled:
      # Weights that a stage does not use are there all the same, and counted.
      jitted = jax.jit(call.function, keep_unused=True)
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
  ) -> dict[str, Call]:
    """All stages with the shapes of their arguments.

    Args:
      variables: of the phases, or their shapes.
      conditions: what is known at first, or its shapes: audio_emb, frame_mask,
        source_pose, source_blink, face_box, and pose and blink if they are
        given.
      resolution, options: of the video.
    """
    struct = jax.ShapeDtypeStruct
    rng = jax.eval_shape(lambda: jax.random.key(0))
    image = struct((1, resolution, resolution, 3), jnp.uint8)
    known, calls = dict(conditions), {}
    if not {'pose', 'blink'} <= set(known):
      calls['motion'] = self.motion(variables, known, rng)
      made = _shapes(calls['motion'])
      known = dict(zip(('pose', 'blink'), made)) | known
    calls['encode'] = self.encode(variables, image)
    features, mouth = _shapes(calls['encode'])
    known['opened'] = None
    if self.opens_mouths:
      calls['speech'] = self.speech(variables, image, mouth, known)
      known['opened'] = _shapes(calls['speech'])
    phase = self.phases['diffusion']
    state = jax.eval_shape(phase.start, features[-1], known['frame_mask'], rng)
    calls['diffusion'] = self.diffusion(
      variables, features, known, rng, state, struct((), jnp.int32), options
    )
    z = struct((frames_at_once(resolution), *state.xt.shape[2:]), jnp.float32)
    calls['frames'] = self.decode(variables, features, z)
    return calls

  @property
  def opens_mouths(self) -> bool:
    """Whether what the mouth does to latents is a stage of its own."""
    return self.phases['diffusion'].denoiser.opening

  def motion(self, variables, known, rng) -> Call:
    """(pose `[1, T, 6]`, blink `[1, T, 2]`) of what is heard."""
    names = 'audio_emb', 'source_pose', 'source_blink', 'frame_mask'
    known = {name: known[name] for name in names}
    return Call(self._motion, (variables['pbnet'], known, rng), 1)

  def encode(self, variables, image) -> Call:
    """(features of the source `[1, R, R, 3]` uint8, where and how open its
    mouth is)."""
    return Call(self._encode, (variables['fde'], image), 1)

  def speech(self, variables, image, mouth, known) -> Call:
    """What the mouth does to the latents, with `opens_mouths`."""
    names = 'audio_emb', 'frame_mask', 'pose', 'source_pose'
    known = mouth | {name: known[name] for name in names}
    used = {n: variables.get(n, {}) for n in ('diffusion', 'lmae', 'fde')}
    return Call(self._speech, (used, image, known), 1)

  def diffusion(
    self, variables, features, known, rng, state, first, options: 'Options'
  ) -> Call:
    """The state after some more steps of the sampler."""
    params, _ = split(variables['diffusion'])
    names = 'audio_emb', 'pose', 'blink', 'source_pose', 'source_blink'
    names += 'face_box', 'frame_mask', 'opened'
    known = {name: known[name] for name in names}
    return Call(
      functools.partial(self._diffusion, options),
      (params, features[-1], known, rng, state, first),
      1,
      dataclasses.astuple(options),
    )

  def decode(self, variables, features, z) -> Call:
    """Frames `[N, R, R, 3]` uint8 of latents `[N, h, w, C]`."""
    used = variables.get('lmae', {}), variables['fde']
    return Call(self._decode, (*used, features, z), 2)

  def _motion(self, variables, known, rng):
    return self.phases['pbnet'].sample(*split(variables), rng=rng, **known)

  def _encode(self, variables, image):
    phase, image = self.phases['diffusion'], _to_signed(image)
    features = phase.fde.apply(variables, image, method='encode')
    if not self.opens_mouths:
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

  def _speech(self, variables, image, known):
    params, model_state = split(variables['diffusion'])
    frozen = {
      name: dict(zip(('params', 'model_state'), split(variables[name])))
      for name in ('fde', 'lmae')
    }
    batch = known | dict(source=_to_signed(image))
    return self.phases['diffusion'].speak(params, model_state, frozen, batch)

  def _diffusion(self, options, params, features, known, rng, state, first):
    return self.phases['diffusion'].advance(
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

  def _decode(self, lmae, fde, features, z):
    phase = self.phases['diffusion']
    dynamics = phase.lmae.apply(lmae, z, method='decode')
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


def frames_at_once(resolution: int) -> int:
  """Frames that are decoded together: 8 of 256 pixels, 2 of 512.

  As much memory at every resolution.
  """
  return max(1, min(8, 2**19 // resolution**2))


def split(variables: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
  """Returns (params, model_state) as phases take them."""
  state = {k: v for k, v in variables.items() if k != 'params'}
  return variables.get('params', {}), state


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

"""What is exported: functions of named arrays, in the order of a generation.

  encoder   portrait -> its features, and where and how open its mouth is
  motion    sound -> pose and blink; for a fixed number of frames alone
  speech    sound -> what the mouth does to latents, where weights know of that
  start     seed -> noise of all frames
  denoiser  one step of the sampler, with all conditions
  latents   what the sampler made -> latents of the frames
  decoder   features, latents -> frames

Each is that of `stages`, for one clip, mapped over a batch of clips; so every
clip of a batch is what it would be by itself.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.ops.sampling import State
from mdcf_jax.phases import packed
from mdcf_jax.stages import Options, Stages

Arrays = dict[str, Any]
_OF_CLIP = dict(source_pose=6, source_blink=2, face_box=4)


@dataclasses.dataclass(frozen=True)
class Function:
  """A pure function of weights and of named arrays.

  Attributes:
    name: of the artefact.
    call: `(weights, inputs) -> outputs`; weights are a flat dict with names
      like 'fde/params/...', inputs and outputs dicts of arrays.
    weights: all that it may use.
    inputs: their shapes, `[batch, ...]`.
  """

  name: str
  call: Callable[[Arrays, Arrays], Arrays]
  weights: Arrays
  inputs: dict[str, jax.ShapeDtypeStruct]


class Maker:
  """Makes the functions of one set of weights.

  Args:
    config, variables: of a Pipeline.
    dtype: to compute in, that of the variables.
    resolution: pixels of a side.
    options: of the sampler.
    batch, frames: numbers, or symbolic dimensions of one scope.
  """

  def __init__(
    self,
    config: Mapping[str, Any],
    variables: Mapping[str, Any],
    dtype: str,
    resolution: int,
    options: Options,
    batch: Any,
    frames: Any,
  ):
    phases = packed.build_phases(config, dtype)
    self._stages = Stages(phases, int(config['resolution']))
    self._phase = phases['diffusion']
    self._variables, self._options = variables, options
    self._batch, self._frames = batch, frames
    self._size = resolution
    self._audio = AUDIO_ENCODERS[config['audio_encoder']]

  def all(self) -> list[Function]:
    """The functions that these weights have."""
    made = [self.encoder()]
    encoded = made[0].inputs | _shapes_of(made[0])
    if 'pbnet' in self._variables and isinstance(self._frames, int):
      made.append(self.motion())
    if self._stages.knows_faces:
      made.append(self.speech(encoded))
    sampling = self.start(), self.denoiser(encoded), self.latents()
    return [*made, *sampling, self.decoder(encoded)]

  def encoder(self) -> Function:
    """features_0, ... of image; where guide points are known, those."""

    def call(variables, image):
      function = self._stages.encode(variables, image[None]).function
      features, face = function(variables['fde'], image[None])
      named = {f'features_{i}': x[0] for i, x in enumerate(features)}
      return named | {name: x[0] for name, x in face.items()}

    size = self._size, self._size, 3
    return self._make('encoder', call, ('fde',), image=(jnp.uint8, *size))

  def motion(self) -> Function:
    """Pose and blink of what is heard."""

    def call(variables, seed, **known):
      known = {name: x[None] for name, x in known.items()}
      rng, _ = _keys(seed)
      function = self._stages.motion(variables, known, rng).function
      pose, blink = function(variables['pbnet'], known, rng)
      return dict(pose=pose[0], blink=blink[0])

    inputs = self._conditions('audio_emb', 'frame_mask', 'source_pose')
    inputs |= self._conditions('source_blink')
    return self._make('motion', call, ('pbnet',), seed=(jnp.uint32,), **inputs)

  def speech(self, encoded: Mapping[str, Any]) -> Function:
    """opened: what the mouth does to latents."""
    of_face = 'source_opening', 'source_landmarks'

    def call(variables, image, **known):
      known = {name: x[None] for name, x in known.items()}
      face = {name: known.pop(name) for name in of_face}
      made = self._stages.speech(variables, image[None], face, known)
      opened = made.function(made.args[0], image[None], face, known)
      return dict(opened=opened[0])

    inputs = {k: (x.dtype, *x.shape[1:]) for k, x in encoded.items()}
    inputs = {k: inputs[k] for k in ('image', *of_face)}
    inputs |= self._conditions('audio_emb', 'frame_mask', 'pose', 'source_pose')
    return self._make('speech', call, ('fde', 'lmae', 'diffusion'), **inputs)

  def start(self) -> Function:
    """xt: noise, the same for a seed as `mdcf generate` has."""
    height = self._size // self._phase.fde.scale

    def call(variables, frame_mask, seed):
      _, rng = _keys(seed)
      like = jnp.zeros((1, height, height, 1))
      state = self._phase.start(like, frame_mask[None], rng)
      return dict(xt=state.xt[0], x0=state.x0[0])

    inputs = self._conditions('frame_mask')
    return self._make('start', call, (), seed=(jnp.uint32,), **inputs)

  def denoiser(self, encoded: Mapping[str, Any]) -> Function:
    """xt and x0 after step number `step` of the sampler, from 0."""
    phase, options = self._phase, self._options

    def call(variables, xt, x0, step, seed, features, **known):
      params, _ = packed.split(variables['diffusion'])
      known = {name: x[None] for name, x in known.items()}
      _, rng = _keys(seed)
      state = phase.advance(
        params,
        State(xt[None], x0[None]),
        rng,
        source_features=features[None],
        first=step,
        count=1,
        steps=options.steps,
        sampler=options.sampler,
        guidance_scale=options.guidance_scale,
        **known,
      )
      return dict(xt=state.xt[0], x0=state.x0[0])

    last = encoded[_names(encoded)[-1]]
    inputs = dict(
      xt=self._latents(),
      x0=self._latents(),
      step=(jnp.int32,),
      seed=(jnp.uint32,),
      features=(last.dtype, *last.shape[1:]),
    )
    inputs |= self._conditions('audio_emb', 'pose', 'blink', 'frame_mask')
    inputs |= self._conditions(*_OF_CLIP)
    if self._stages.knows_faces:
      inputs['opened'] = self._latents()
    return self._make('denoiser', call, ('diffusion',), **inputs)

  def latents(self) -> Function:
    """z of xt after the last step, in units of the decoder."""

    def call(variables, xt, frame_mask, opened=None):
      _, model_state = packed.split(variables['diffusion'])
      state = State(xt[None], xt[None])
      opened = None if opened is None else opened[None]
      z = self._phase.finish(model_state, state, frame_mask[None], opened)
      return dict(z=z[0])

    inputs = dict(xt=self._latents()) | self._conditions('frame_mask')
    if self._stages.knows_faces:
      inputs['opened'] = self._latents()
    return self._make('latents', call, ('diffusion',), **inputs)

  def decoder(self, encoded: Mapping[str, Any]) -> Function:
    """frames `[b, t, R, R, 3]` uint8 of z; each of its own, so some will do."""
    names = _names(encoded)

    def call(variables, z, blink=None, **known):
      known = {name: x[None] for name, x in known.items()}
      features = tuple(known[name] for name in names)
      eyes = self._stages.eyes(known, known, blink)
      made = self._stages.decode(variables, features, z, eyes)
      return dict(frames=made.function(*made.args))

    more = ('source_landmarks',) if self._stages.knows_faces else ()
    inputs = {
      k: (encoded[k].dtype, *encoded[k].shape[1:]) for k in (*names, *more)
    }
    inputs['z'] = self._latents()
    if more:
      inputs |= self._conditions('blink', 'source_blink')
    return self._make('decoder', call, ('fde', 'lmae'), **inputs)

  def _latents(self) -> tuple:
    lmae, fde = self._phase.lmae, self._phase.fde
    side = self._size // fde.scale // lmae.factor
    return jnp.float32, self._frames, side, side, lmae.latent_channels

  def _conditions(self, *names: str) -> dict[str, tuple]:
    """Types and shapes of what is known of a clip."""
    length = self._frames
    shapes = dict(
      audio_emb=(length, self._audio),
      frame_mask=(length,),
      pose=(length, 6),
      blink=(length, 2),
    )
    shapes |= {name: (size,) for name, size in _OF_CLIP.items()}
    return {name: (jnp.float32, *shapes[name]) for name in names}

  def _make(self, name: str, call, phases: tuple, **inputs: tuple) -> Function:
    """Maps `call(variables, **arrays of a clip)` over clips."""
    used = {k: self._variables[k] for k in phases if k in self._variables}
    flat = traverse_util.flatten_dict(used, sep='/')
    # One number for all clips, so that it is the same step.
    axes = {k: None if k == 'step' else 0 for k in inputs}

    def mapped(weights, inputs):
      # Tensors that are not given are not used, but modules look for them.
      whole = {
        k: weights[k] if k in weights else jnp.zeros(x.shape, x.dtype)
        for k, x in flat.items()
      }
      variables = dict.fromkeys(phases, {})
      variables |= traverse_util.unflatten_dict(whole, sep='/')
      one = lambda inputs: call(variables, **inputs)
      return jax.vmap(one, in_axes=(axes,))(inputs)

    shapes = {}
    for key, (dtype, *shape) in inputs.items():
      shape = shape if key == 'step' else (self._batch, *shape)
      shapes[key] = jax.ShapeDtypeStruct(tuple(shape), dtype)
    return Function(name, mapped, flat, shapes)


def _keys(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Keys of motion and of sampling, as the pipeline has them."""
  motion, sampling = jax.random.split(jax.random.key(seed))
  return motion, sampling


def _names(encoded: Mapping[str, Any]) -> list[str]:
  """Names of the features, from large to small."""
  count = sum(name.startswith('features_') for name in encoded)
  return [f'features_{i}' for i in range(count)]


def _shapes_of(function: Function) -> dict[str, Any]:
  return jax.eval_shape(function.call, function.weights, function.inputs)

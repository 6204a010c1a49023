"""What a run of training is made of, before its first step."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mdcf_jax import sharding, weights
from mdcf_jax.errors import InputError
from mdcf_jax.models.sizes import has_weights
from mdcf_jax.training import latents, optimizer, stopping
from mdcf_jax.training import step as steps
from mdcf_jax.training.checkpoint import (
  Checkpoints,
  load_frozen,
  load_start,
)
from mdcf_jax.training.overfitting import FirstBatches
from mdcf_jax.training.state import TrainState

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Run:
  """What a run needs at every step, made once.

  Attributes:
    config: of configs/<phase>.py.
    phase: how the loss is computed.
    mesh: all devices of all processes.
    frozen: variables of earlier phases, on the devices.
    batches: the training stream; has `get_state` and `set_state`.
    validation: makes the validation stream from its start, with `to_show`
      for people; None where nothing is asked or there for it.
    put: moves a batch of this process to the devices.
    train_step, eval_step, predict: jitted.
    rng: key of the run.
  """

  config: Any
  phase: Any
  mesh: Mesh
  frozen: dict[str, Any]
  batches: Any
  validation: Callable[..., Iterator[dict[str, np.ndarray]]] | None
  put: Callable[[Mapping[str, np.ndarray]], dict[str, jax.Array]]
  train_step: Callable[..., Any]
  eval_step: Callable[..., Any]
  predict: Callable[..., Any]
  rng: jax.Array


def prepare(
  config: Any, phase: Any, checkpoints: Checkpoints, stop: threading.Event
) -> tuple[TrainState, Run]:
  """Builds everything, and restores or initialises the state.

  Raises:
    stopping.Stopped: `stop` was set on the way.
  """
  mesh = sharding.create_mesh(config.mesh.fsdp, config.mesh.frames)
  whole = sharding.replicated(mesh)
  frozen = {name: _load_frozen(config, name) for name in phase.frozen_names}
  loaded = None
  if config.init_from.weights and checkpoints.latest_step() is None:
    loaded = load_start(config.init_from.weights, config.phase)
  if config.data.cache_latents:
    latents.cache_latents(config, frozen, stop)
  elif config.phase == 'diffusion' and config.data.latents:
    latents.check_label(config, frozen)
  batches = _open_training(config)
  example = _peek(batches)
  batch_sharding = sharding.batch_sharding(mesh, example)
  rng = jax.jit(jax.random.key, out_shardings=whole)(np.uint32(config.seed))
  tx = optimizer.create_optimizer(config)

  def init(rng, batch):
    return TrainState.create(phase.init(rng, batch), tx)

  one = {name: x[:1] for name, x in example.items()}
  abstract = jax.eval_shape(init, rng, one)
  if loaded:
    like = {'params': abstract.params, **abstract.model_state}
    weights.check_tensors(config.init_from.weights, loaded, like)
  state_sharding = sharding.state_sharding(mesh, abstract)
  run = Run(
    config=config,
    phase=phase,
    mesh=mesh,
    frozen=jax.device_put(frozen, whole),
    batches=batches,
    validation=_open_validation(config),
    put=lambda batch: sharding.put_batch(batch, batch_sharding),
    train_step=steps.make_train_step(
      *(phase, tx, config.ema_decay, state_sharding, batch_sharding),
      accumulate=config.optimizer.accumulate,
      # What went wrong in a step can only be looked for with its input.
      donate=not config.debug,
    ),
    eval_step=steps.make_eval_step(phase, batch_sharding),
    predict=jax.jit(phase.predict, out_shardings=whole),
    rng=rng,
  )
  if checkpoints.latest_step() is not None:
    state = _restore(run, checkpoints, abstract, state_sharding)
  else:
    # Run once: hundreds of random generators are not worth optimising.
    fast = {'xla_backend_optimization_level': 0}
    state = jax.jit(init, out_shardings=state_sharding, compiler_options=fast)(
      rng, one
    )
    state = _start(run, state, state_sharding, loaded, stop)
  return state, run


def _open_training(config: Any, **options: Any) -> Any:
  """Returns the stream of batches to learn from."""
  from mdcf_jax.data.pipeline import create_dataset

  stream = iter(create_dataset(config, 'train', **options))
  return FirstBatches(stream, config.overfit) if config.overfit else stream


def _open_validation(config: Any) -> Callable[..., Iterator[Any]] | None:
  """Returns what makes the validation stream, after trying it out.

  What is to be learnt by heart is itself the question to ask.
  """
  from mdcf_jax.data.pipeline import create_dataset

  if not (config.eval_every or config.picture_every):
    return None
  if config.overfit:
    return functools.partial(_open_training, config)
  try:
    next(iter(create_dataset(config, 'val')))
  except InputError as error:
    logger.warning('training goes on without validation: %s', error)
    return None
  return lambda **options: iter(create_dataset(config, 'val', **options))


def _load_frozen(config: Any, name: str) -> dict[str, Any]:
  """Returns the variables of an earlier phase, or those of VGG19."""
  if not has_weights(config.model, name):
    return {'params': {}, 'model_state': {}}
  if name != 'vgg19':
    return load_frozen(config.init_from[name], name, config.model[name])
  from mdcf_jax.models.vgg import Perceptual

  image = jax.ShapeDtypeStruct((1, 256, 256, 3), np.float32)
  like = jax.eval_shape(
    Perceptual('vgg19').init, jax.random.key(0), image, image
  )
  path = pathlib.Path(config.perceptual_weights)
  return weights.load(path.parent, path.stem, like)


def _restore(
  run: Run, checkpoints: Checkpoints, abstract: TrainState, shardings: Any
) -> TrainState:
  """Returns the newest checkpoint and moves the sample stream there."""
  abstract = jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    abstract,
    shardings,
  )
  state, data = checkpoints.restore(abstract)
  run.batches.set_state(data)
  return state


def _start(
  run: Run,
  state: TrainState,
  shardings: TrainState,
  loaded: dict[str, Any] | None,
  stop: threading.Event,
) -> TrainState:
  """Returns the state before the first step: `loaded`, and calibrated."""
  config = run.config
  if loaded:
    params = loaded.pop('params')
    state = state.replace(
      params=jax.device_put(params, shardings.params),
      ema_params=jax.device_put(params, shardings.ema_params),
      model_state=jax.device_put(loaded, shardings.model_state),
    )
  if hasattr(run.phase, 'calibrate'):
    from mdcf_jax.data.pipeline import create_dataset

    count = config.calibration_batches
    if count:  # Minutes of silence otherwise.
      logger.info('units of the latents first, from %d batches', count)
    stream = iter(create_dataset(config, 'train'))
    batches = itertools.islice(stream, count)
    # Statistics of fewer batches would stay with the run for good. Of several
    # processes none may leave the others: they stop together at step 0.
    if jax.process_count() == 1:
      batches = stopping.until(stop, batches)
    batches = (run.put(numeric(batch)) for batch in batches)
    model_state = run.phase.calibrate(state.model_state, run.frozen, batches)
    state = state.replace(
      model_state=jax.device_put(model_state, shardings.model_state)
    )
  return state


def numeric(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns the entries of a batch that are numbers, not names."""
  arrays = {name: np.asarray(x) for name, x in batch.items()}
  return {k: x for k, x in arrays.items() if x.dtype.kind in 'fiub'}


def _peek(batches: Any) -> dict[str, np.ndarray]:
  """Returns the next batch and leaves the stream where it was."""
  before = batches.get_state()
  try:
    batch = numeric(next(batches))
  except StopIteration:
    raise InputError('the dataset has no training samples') from None
  batches.set_state(before)
  return batch

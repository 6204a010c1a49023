"""The train step: meshes agree, one compilation, average and optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdcf_jax import sharding
from mdcf_jax.errors import InputError
from mdcf_jax.training.optimizer import create_optimizer, create_schedule
from mdcf_jax.training.state import TrainState
from mdcf_jax.training.step import make_eval_step, make_train_step


class PlainPhase:
  """A line through the origin."""

  def __init__(self):
    self.traces = []

  def init(self, rng, batch):
    return {'params': {'w': jnp.ones(48)}}

  def loss_fn(self, params, model_state, frozen, batch, rng, *, train):
    self.traces.append(train)
    x = batch['source'].reshape(-1, 48)
    loss = jnp.mean(jnp.square(x @ params['w'] - x[:, 0]))
    return loss, (model_state, {})


def run_steps(phase, tx, fsdp=1, frames=1, steps=3, accumulate=1, devices=None):
  """Returns (state, metrics) after some updates on one fixed batch."""
  mesh = sharding.create_mesh(fsdp, frames, jax.devices()[:devices])
  key = jax.random.key(0)
  rng = np.random.default_rng(0)
  batch = {'source': rng.normal(size=(8, 4, 4, 3)).astype(np.float32)}

  def init(rng):
    return TrainState.create(phase.init(rng, batch), tx)

  spec = sharding.state_sharding(mesh, jax.eval_shape(init, key), min_size=16)
  batch_spec = sharding.batch_sharding(mesh, batch)
  step = make_train_step(
    phase, tx, 0.99, spec, batch_spec, accumulate=accumulate
  )
  state = jax.jit(init, out_shardings=spec)(key)
  batch = sharding.put_batch(batch, batch_spec)
  phase.traces.clear()
  for _ in range(steps):
    state, metrics = step(state, {}, batch, key)
  return state, metrics


@pytest.mark.parametrize('fsdp,frames', [(2, 1), (8, 1), (2, 2), (1, 4)])
def test_updates_do_not_depend_on_the_mesh(toy_phase, fsdp, frames):
  tx = optax.adamw(1e-3)
  one, one_metrics = run_steps(toy_phase, tx)
  many, many_metrics = run_steps(toy_phase, tx, fsdp, frames)
  # Reductions are reordered between meshes: float32 rounding, nothing more.
  np.testing.assert_allclose(
    one_metrics['loss'], many_metrics['loss'], rtol=1e-5
  )
  # Adam divides by the gradient's size: rounding of small ones is enlarged.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    (one.params, one.ema_params, one.model_state),
    (many.params, many.ema_params, many.model_state),
  )


def test_step_is_traced_once(toy_phase):
  run_steps(toy_phase, optax.adam(1e-3), steps=5)
  assert toy_phase.traces == [True]


def test_fsdp_splits_parameters_and_moments(toy_phase):
  state, _ = run_steps(toy_phase, optax.adam(1e-3), fsdp=8)
  kernel = state.params['Dense_0']['kernel']
  assert kernel.addressable_shards[0].data.size == kernel.size // 8
  moment = state.opt_state[0].mu['Dense_0']['kernel']
  assert moment.sharding == kernel.sharding


def test_average_follows_the_parameters(toy_phase):
  """The first updates count more: the start is forgotten at once."""
  state, _ = run_steps(toy_phase, optax.sgd(0.1), steps=1)
  start = toy_phase.init(
    jax.random.key(0), {'source': np.zeros((1, 4, 4, 3), np.float32)}
  )['params']
  # Decay of the first step: min(0.99, 1 / 10).
  expected = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, start, state.params)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    state.ema_params,
    expected,
  )
  assert int(state.step) == 1


def test_evaluation_changes_nothing_and_is_repeatable(toy_phase):
  state, _ = run_steps(toy_phase, optax.adam(1e-3))
  mesh = sharding.create_mesh()
  batch = {'source': np.zeros((8, 4, 4, 3), np.float32)}
  step = make_eval_step(toy_phase, sharding.batch_sharding(mesh, batch))
  args = (state.ema_params, state.model_state, {}, batch, jax.random.key(1))
  assert float(step(*args)['loss']) == float(step(*args)['loss'])


def test_parts_of_a_batch_are_the_batch(toy_phase):
  """Without statistics over the batch, and without noise, only sums differ."""
  phase = PlainPhase()
  whole, whole_metrics = run_steps(phase, optax.sgd(0.1))
  parts, parts_metrics = run_steps(phase, optax.sgd(0.1), accumulate=4)
  assert phase.traces == [True]  # One trace for all parts.
  np.testing.assert_allclose(
    whole_metrics['loss'], parts_metrics['loss'], rtol=1e-5
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    whole.params,
    parts.params,
  )


def test_parts_of_a_batch_on_many_devices(toy_phase):
  """Statistics and noise pass through; the mesh does not matter."""
  one, _ = run_steps(toy_phase, optax.sgd(0.1), accumulate=2, devices=1)
  many, _ = run_steps(toy_phase, optax.sgd(0.1), fsdp=2, frames=2, accumulate=2)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    (one.params, one.model_state),
    (many.params, many.model_state),
  )


def test_frozen_modules_stay(toy_config):
  """Neither gradients nor weight decay move them, nor do they clip others."""
  with toy_config.unlocked():
    toy_config.optimizer.update(
      dict(frozen=('a',), weight_decay=0.1, clip_norm=1.0)
    )
  tx = create_optimizer(toy_config)
  params = {'a': {'w': jnp.ones(3)}, 'b': {'w': jnp.ones(3)}}
  gradients = {'a': {'w': jnp.full(3, 1e6)}, 'b': {'w': jnp.full(3, 0.1)}}
  updates, _ = tx.update(gradients, tx.init(params), params)
  assert float(jnp.abs(updates['a']['w']).max()) == 0
  assert float(jnp.abs(updates['b']['w']).min()) > 1e-3
  toy_config.optimizer.frozen = ('c',)
  with pytest.raises(InputError, match='there is no c; there is a, b'):
    create_optimizer(toy_config).init(params)


def test_schedule_warms_up_and_ends_at_zero(toy_config):
  with toy_config.unlocked():
    toy_config.optimizer.update(
      dict(schedule='cosine', warmup_steps=10, learning_rate=1.0)
    )
    toy_config.total_steps = 100
  schedule = create_schedule(toy_config)
  assert float(schedule(0)) == 0
  np.testing.assert_allclose(float(schedule(10)), 1.0, rtol=1e-6)
  np.testing.assert_allclose(float(schedule(100)), 0.0, atol=1e-6)


@pytest.mark.parametrize('rate', [1e-3, 0.0])
def test_cosine_ends_at_the_final_rate(toy_config, rate):
  toy_config.optimizer.update(
    dict(schedule='cosine', learning_rate=rate, final_rate=rate / 100)
  )
  toy_config.total_steps = 50
  schedule = create_schedule(toy_config)
  np.testing.assert_allclose(float(schedule(0)), rate, rtol=1e-6)
  # Cosine in float32: the end is a difference of nearly equal numbers.
  np.testing.assert_allclose(float(schedule(50)), rate / 100, rtol=1e-4)
  np.testing.assert_allclose(float(schedule(25)), 0.505 * rate, rtol=1e-4)

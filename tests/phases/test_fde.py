"""Phase one: the loss falls, windows agree, options do what they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import fde as configs
from mdcf_jax.phases import fde as phases


@pytest.fixture(scope='module')
def setting():
  phase = phases.FDEPhase.from_config(configs.get_config('tiny'))
  rng = np.random.RandomState(0)
  y, x = np.mgrid[0:64, 0:64] / 32 - 1
  blob = lambda cx, cy: np.exp(-8 * ((x - cx) ** 2 + (y - cy) ** 2))
  image = lambda cx, cy: np.stack([2 * blob(cx, cy) - 1, 0.3 * x, 0.3 * y], -1)
  batch = dict(
    source=np.stack([image(0, 0), image(0.2, 0)]),
    driving=np.stack([image(0.3, 0.1), image(-0.2, 0.1)]),
    mouth_box=np.array([[0.4, 0.6, 0.6, 0.7]] * 2),
    source_landmarks=rng.rand(2, 8, 2),
    driving_landmarks=rng.rand(2, 8, 2),
  )
  batch = {name: jnp.asarray(x, jnp.float32) for name, x in batch.items()}
  variables = jax.jit(phase.init)(jax.random.key(0), batch)
  params = variables.pop('params')
  return phase, params, variables, batch


def test_loss_falls_on_one_batch(setting):
  phase, params, model_state, batch = setting
  tx = optax.adam(2e-3)

  @jax.jit
  def step(params, model_state, opt_state, rng):
    grad_fn = jax.value_and_grad(phase.loss_fn, has_aux=True)
    (loss, (model_state, _)), grads = grad_fn(
      params, model_state, {}, batch, rng, train=True
    )
    updates, opt_state = tx.update(grads, opt_state)
    return optax.apply_updates(params, updates), model_state, opt_state, loss

  opt_state, values = tx.init(params), []
  for i in range(16):
    params, model_state, opt_state, loss = step(
      params, model_state, opt_state, jax.random.key(i)
    )
    values.append(float(loss))
  assert np.isfinite(values).all()
  assert np.mean(values[-5:]) < 0.8 * np.mean(values[:5])


def test_terms_follow_the_weights(setting):
  phase, params, model_state, batch = setting
  only = dataclasses.replace(
    phase,
    perceptual_weight=0.0,
    l1_weight=1.0,
    mouth_weight=0.0,
    equivariance_weight=0.0,
    landmark_weight=0.0,
  )
  loss_fn = jax.jit(only.loss_fn, static_argnames='train')
  loss, (_, metrics) = loss_fn(
    params, model_state, {}, batch, jax.random.key(0), train=False
  )
  assert set(metrics) == {'l1', 'psnr'}
  assert loss == metrics['l1']
  frames = jax.jit(phase.predict)(
    params, model_state, {}, batch, jax.random.key(0)
  )
  error = jnp.mean(jnp.abs(frames['prediction'] - batch['driving']))
  np.testing.assert_allclose(loss, error, rtol=1e-5)


def test_pictures_have_channels_that_can_be_drawn(setting):
  phase, params, model_state, batch = setting
  predict = jax.jit(phase.predict)
  outputs = predict(params, model_state, {}, batch, jax.random.key(0))
  pictures = phase.pictures(outputs, batch)
  assert {'prediction', 'flow', 'occlusion'} <= set(pictures)
  for name, picture in pictures.items():
    assert picture.shape[-1] in (1, 2, 3), name

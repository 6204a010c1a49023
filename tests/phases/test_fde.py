"""Phase one: the loss falls, windows agree, options do what they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import fde as configs
from mdcf_jax.errors import InputError
from mdcf_jax.ops import pose, warp
from mdcf_jax.phases import fde as phases
from mdcf_jax.phases import guides


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


def similar(points, degrees, zoom, shift):
  """Points `[..., 2]` in [0, 1] turned, zoomed and moved about the middle."""
  cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
  turn = zoom * np.array([[cos, -sin], [sin, cos]])
  return (points - 0.5) @ turn.T + 0.5 + np.array(shift)


FACE = np.array(
  [
    [0.5, 0.66],
    [0.5, 0.66],
    [0.43, 0.66],
    [0.57, 0.66],
    [0.5, 0.8],
    [0.42, 0.42],
    [0.58, 0.42],
    [0.5, 0.55],
  ]
)


def test_guided_regions_turn_and_zoom_with_the_face():
  moved = similar(FACE, 12, 1.2, (0.05, -0.02))
  source, driving = (
    guides.regions(jnp.float32(points[None])) for points in (FACE, moved)
  )
  motions = pose.region_motions(source, driving, jnp.eye(3)[None], 9, 9)
  grid = np.asarray(warp.identity_grid(9, 9))
  # Where a moved pixel came from, in [-1, 1] about the middle.
  expected = similar(grid / 2 + 0.5 - [0.05, -0.02], -12, 1 / 1.2, (0, 0))
  for motion in motions[0, 1:]:
    np.testing.assert_allclose(motion, 2 * expected - 1, atol=1e-4)


def test_a_shut_mouth_is_an_error_that_a_moved_head_is_not():
  """What lies between centres counts, and close ones count most."""
  guided = jnp.array([[[0.0, 0.0], [0.0, 0.1], [0.5, 0.5]]])
  moved = phases._between_error(guided + 0.3, guided)
  np.testing.assert_allclose(moved, 0, atol=1e-5)
  shut = phases._between_error(guided.at[0, 1, 1].set(0.05), guided)
  pairs = np.asarray(shut)[0]  # (0, 1), (0, 2), (1, 2).
  assert pairs[1] == 0
  assert pairs[0] > 10 * pairs[2] > 0


def test_teacher_forcing_moves_the_face_with_its_guide_points(setting):
  phase, params, model_state, batch = setting
  forced = dataclasses.replace(
    phase, teacher_forcing=True, landmark_weight=0.0, equivariance_weight=0.0
  )
  step = np.array([0.125, 0.0])  # A quarter of [-1, 1], to the right.
  batch = dict(
    batch,
    source_landmarks=jnp.float32([FACE] * 2),
    driving_landmarks=jnp.float32([FACE + step] * 2),
  )
  outputs, _ = jax.jit(
    lambda p: phase.fde.apply(
      {'params': p, **model_state},
      forced,
      batch,
      None,
      jax.random.key(0),
      True,
      method=phases._forward,
      mutable=['batch_stats'],
    )
  )(params)
  flow = outputs['dynamics'][..., :2]
  nose = flow[:, 8, 10]  # Cells are 1 / 16 of the image.
  np.testing.assert_allclose(nose, [[-0.25, 0]] * 2, atol=0.05)
  assert jnp.max(jnp.abs(flow[:, 0, 0])) < 0.05  # The background rests.

  grads = jax.jit(
    jax.grad(
      lambda p: forced.loss_fn(
        p, model_state, {}, batch, jax.random.key(0), train=True
      )[0]
    )
  )(params)
  learns = {name: float(optax.global_norm(g)) > 0 for name, g in grads.items()}
  assert learns == dict(
    region_predictor=False,
    background_predictor=False,
    flow_predictor=True,
    image_generator=True,
  )


def test_regions_alone_learn_from_guide_points_alone(setting):
  phase, params, model_state, batch = setting
  regions = dataclasses.replace(
    phase, l1_weight=0.0, perceptual_weight=0.0, equivariance_weight=0.0
  )
  loss_fn = jax.jit(
    jax.grad(regions.loss_fn, has_aux=True), static_argnames='train'
  )
  grads, (_, metrics) = loss_fn(
    params, model_state, {}, batch, jax.random.key(0), train=True
  )
  assert set(metrics) == {'landmark'}
  learns = {name for name, g in grads.items() if optax.global_norm(g) > 0}
  assert learns == {'region_predictor'}


def test_teacher_forcing_needs_a_region_per_guide_point():
  config = configs.get_config('tiny')
  config.loss.teacher_forcing = True
  config.model.fde.num_regions = 4
  with pytest.raises(InputError, match='num_regions is 4'):
    phases.FDEPhase.from_config(config)

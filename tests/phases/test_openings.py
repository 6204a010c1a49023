"""Mouths that are apart: what is learnt of them, heard and added."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.models import denoiser
from tests.phases.small_diffusion import (
  FROZEN,
  LENGTH,
  FakeFDE,
  conditions,
  drawn,
  make_batch,
  make_phase,
)


def test_the_sound_learns_the_opening_only_if_asked():
  batch, rng = make_batch(), jax.random.key(0)
  for weight in (0.0, 0.5):
    phase = make_phase(opening=True, opening_weight=weight)
    params, state = drawn(phase)
    _, (_, terms) = jax.eval_shape(
      functools.partial(phase.loss_fn, train=True),
      *(params, state, FROZEN, batch, rng),
    )
    assert ('opening' in terms) == (weight > 0)
  with pytest.raises(InputError, match='model.denoiser.opening is not'):
    make_phase(opening_weight=0.5)


def test_openings_may_be_learnt_alone():
  phase = make_phase(opening=True, noise_weight=0.0, opening_weight=1.0)
  params, state = drawn(phase)
  loss_fn = functools.partial(phase.loss_fn, train=True)
  run = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
  (loss, (_, terms)), grads = run(
    params, state, FROZEN, make_batch(), jax.random.key(0)
  )
  assert set(terms) == {'opening'} and loss == terms['opening'] > 0
  moved = {name for name, x in grads.items() if optax.global_norm(x) > 0}
  assert moved == {'opening_predictor'}


def test_the_noise_teaches_openings_nothing():
  """They come from the true clip, so the predictor stays what it is."""
  phase = make_phase(opening=True)
  params, state = drawn(phase)

  def loss(params, batch):
    rng = jax.random.key(0)
    return phase.loss_fn(params, state, FROZEN, batch, rng, train=False)[0]

  batch = make_batch()
  run = jax.jit(jax.value_and_grad(loss))
  value, grads = run(params, batch)
  assert optax.global_norm(grads['opening_predictor']) == 0
  assert optax.global_norm(grads['audio_encoder']) > 0
  opened = batch | dict(opening=batch['opening'] + 1)
  assert run(params, opened)[0] != value
  moved = opened | dict(source_opening=batch['source_opening'] + 1)
  np.testing.assert_allclose(run(params, moved)[0], value, rtol=1e-5)


def test_a_generated_mouth_opens_as_the_sound_tells():
  batch, gains = make_batch(), (1.0, 2.0)
  openings = []
  for gain in gains:
    phase = make_phase(opening=True)
    model = phase.denoiser.clone(opening_gain=gain)
    params, _ = drawn(phase)
    openings.append(
      model.apply(
        {'params': params},
        batch['audio_emb'] / 10,
        batch['frame_mask'],
        method='speak',
      )
    )
  once, twice = (x - denoiser.OPENING_MEAN for x in openings)
  # A mouth cannot be less than shut, and not open for ever.
  low, high = jnp.minimum(*openings), jnp.maximum(*openings)
  assert low.min() >= 0 and high.max() <= denoiser.OPENING_MAX
  real = (low > 0) & (high < denoiser.OPENING_MAX)
  assert real.sum() > 6
  np.testing.assert_allclose(2 * once[real], twice[real], rtol=1e-4, atol=1e-6)


def test_what_openings_explain_is_not_learnt():
  """Labels are less what openings change, and what is sampled is more."""
  phase = make_phase(opening=True)
  params, state = drawn(phase)
  batch, rng = make_batch(), jax.random.key(0)
  batch |= dict(pose=0 * batch['pose'], source_pose=0 * batch['source_pose'])
  same = jnp.broadcast_to(batch['source_opening'][:, None], (2, LENGTH))
  shut = batch | dict(opening=same)
  opened = phase._opened(state, FROZEN, batch)
  np.testing.assert_allclose(phase._opened(state, FROZEN, shut), 0, atol=1e-6)
  assert np.abs(opened).max() > 0.1

  given = conditions(batch)
  run = jax.jit(functools.partial(phase.sample, steps=2))
  unseen = jax.tree.map(jnp.zeros_like, params['mouth_conv'])
  blind = params | dict(mouth_conv=unseen)
  z, rest = (
    run(blind, state, **given, opened=x, rng=rng) for x in (opened, 0 * opened)
  )
  np.testing.assert_allclose(z - rest, opened, rtol=1e-4, atol=1e-4)
  seen = run(params, state, **given, opened=opened, rng=rng)
  assert not np.allclose(seen, z, atol=1e-4)


def test_predicted_clips_say_what_is_heard():
  phase = make_phase(opening=True)
  params, state = drawn(phase)
  run = jax.jit(phase.predict)
  batch, rng = make_batch(), jax.random.key(0)
  z = run(params, state, FROZEN, batch, rng)['z']
  true = batch | dict(opening=batch['opening'] + 1)  # Nobody knows it.
  np.testing.assert_array_equal(run(params, state, FROZEN, true, rng)['z'], z)
  less = batch | dict(source_opening=batch['source_opening'] - 1)
  assert not np.allclose(
    run(params, state, FROZEN, less, rng)['z'], z, atol=1e-4
  )


def test_openings_need_regions_of_guide_points():
  few = FakeFDE(num_regions=6)
  make_phase(opening=True)
  with pytest.raises(InputError, match='denoiser.opening guides 10 regions'):
    dataclasses.replace(make_phase(opening=True), fde=few)


def test_without_openings_nothing_is_apart():
  phase = make_phase()
  params, state = drawn(phase)
  assert phase.speak(params, state, FROZEN, make_batch()) is None

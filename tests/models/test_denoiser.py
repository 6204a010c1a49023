"""Conditions of the denoiser."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.models import audio, denoiser

LENGTH = 10


def tiny(**kwargs):
  defaults = dict(
    dim=8,
    dim_mults=(1,),  # The levels are the U-Net's own matter.
    num_heads=2,
    head_dim=4,
    cross_heads=2,
    cross_head_dim=4,
    num_groups=4,
    window=3,
    stem_features=8,
    audio_features=8,
    audio_layers=2,
  )
  return denoiser.Denoiser(**(defaults | kwargs))


def inputs(length=LENGTH):
  keys = jax.random.split(jax.random.key(0), 5)
  normal = jax.random.normal
  conditions = dict(
    source_features=normal(keys[0], (2, 16, 16, 6)),
    audio_emb=normal(keys[1], (2, length, 20)),
    pose_delta=normal(keys[2], (2, length, 6)),
    blink_delta=normal(keys[3], (2, length, 2)),
    face_box=jnp.array([[0.2, 0.2, 0.8, 0.9], [0.1, 0.3, 0.7, 0.7]]),
  )
  xt = normal(keys[4], (2, length, 2, 2, 4))
  return xt, jnp.full((2, length), 500), conditions


@functools.cache
def with_params(**kwargs):
  """A denoiser without zeros in its parameters, jitted."""
  model = tiny(**kwargs)
  shapes = jax.eval_shape(
    functools.partial(model.init, method='denoise'),
    jax.random.key(0),
    *inputs(),
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda s: jnp.float32(0.3 * rng.standard_normal(s.shape)), shapes
  )
  return jax.jit(functools.partial(model.apply, params, method='denoise'))


def test_every_condition_counts():
  apply = with_params()
  xt, t, conditions = inputs()
  before = apply(xt, t, conditions)
  assert before.shape == xt.shape and before.dtype == jnp.float32
  for name, value in conditions.items():
    # One clip is changed, and only its frames move.
    changed = value.at[0].multiply(0.5)
    after = apply(xt, t, conditions | {name: changed})
    assert np.abs(after - before)[0].max() > 1e-4, name
    np.testing.assert_array_equal(after[1], before[1], err_msg=name)


@pytest.mark.parametrize('learned', [False, True])
def test_null_condition_hides_what_belongs_to_frames(learned):
  apply = with_params(learned_null=learned)
  xt, t, conditions = inputs()
  null = jnp.array([True, False])
  before = apply(xt, t, conditions, null_cond=null)
  for name in ('audio_emb', 'pose_delta', 'blink_delta'):
    changed = conditions | {name: conditions[name] * 0.5}
    after = apply(xt, t, changed, null_cond=null)
    np.testing.assert_array_equal(after[0], before[0], err_msg=name)
    assert np.abs(after - before)[1].max() > 1e-4, name


def test_padding_changes_nothing():
  apply = with_params()
  xt, t, conditions = inputs()

  def pad(x):
    return jnp.concatenate([x, 1 + jnp.zeros_like(x[:, :6])], axis=1)

  frames = ('audio_emb', 'pose_delta', 'blink_delta')
  padded = conditions | {name: pad(conditions[name]) for name in frames}
  mask = jnp.arange(LENGTH + 6)[None].repeat(2, axis=0) < LENGTH
  longer = apply(pad(xt), pad(t), padded, frame_mask=mask.astype(jnp.float32))
  # Other block sizes, so sums are taken in another order.
  np.testing.assert_allclose(
    longer[:, :LENGTH], apply(xt, t, conditions), rtol=1e-4, atol=1e-5
  )


def test_audio_encoder_sees_neighbours_but_not_the_padding():
  x = jax.random.normal(jax.random.key(0), (1, 12, 6))
  encoder = audio.AudioEncoder(8, 2, 5)
  params = encoder.init(jax.random.key(1), x)
  mask = (jnp.arange(12) < 8).astype(jnp.float32)[None]
  before = encoder.apply(params, x, mask)
  np.testing.assert_allclose(
    before[:, :8], encoder.apply(params, x[:, :8]), atol=1e-5
  )
  assert np.all(before[:, 8:] == 0)
  # Two layers of five frames: four on each side, no more.
  change = encoder.apply(params, x.at[0, 0].add(1.0), mask) - before
  moved = np.abs(change[0]).max(axis=-1) > 1e-6
  assert moved.tolist() == [True] * 5 + [False] * 7

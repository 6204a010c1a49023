"""What the diffusion phase learns, samples and caches."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mdcf_jax.data import records
from mdcf_jax.ops import noise_schedule, objectives, sampling, smoothing
from mdcf_jax.phases import denoising, diffusion
from mdcf_jax.training import latents
from tests.phases.small_diffusion import (
  FROZEN,
  LENGTH,
  SIZE,
  FakeLMAE,
  conditions,
  make_batch,
  make_phase,
)


def learn(phase, steps):
  """One batch, learned by heart: (params, model_state, losses)."""
  batch = make_batch()
  variables = phase.init(jax.random.key(0), batch)
  params, state = (
    variables['params'],
    {'latent_stats': variables['latent_stats']},
  )
  state = phase.calibrate(state, FROZEN, [batch])
  tx = optax.adam(3e-3)

  @jax.jit
  def step(params, opt_state, rng):
    grad = jax.value_and_grad(phase.loss_fn, has_aux=True)
    (loss, (_, terms)), grads = grad(
      params, state, FROZEN, batch, rng, train=True
    )
    updates, opt_state = tx.update(grads, opt_state)
    params = optax.apply_updates(params, updates)
    return params, opt_state, loss, terms, optax.global_norm(grads)

  opt_state, history = tx.init(params), []
  for i in range(steps):
    params, opt_state, loss, terms, norm = step(
      params, opt_state, jax.random.key(i)
    )
    assert np.isfinite(loss) and np.isfinite(norm)
    history.append({'loss': float(loss), **jax.device_get(terms)})
  return params, state, history


@functools.cache
def trained():
  return learn(make_phase(), steps=120)


def test_loss_of_one_batch_falls():
  _, _, history = trained()
  noise = [float(h['noise_mse']) for h in history]
  # Zero is predicted first, so the error is the noise's variance.
  np.testing.assert_allclose(noise[0], 1.0, atol=0.15)
  assert np.mean(noise[-20:]) < 0.6
  losses = [h['loss'] for h in history]
  assert np.mean(losses[-20:]) < 0.75 * np.mean(losses[:3])


class FakeDenoiser(nn.Module):
  """Learns a clip and a factor of its noised self, deaf and blind."""

  opening: bool = False

  def setup(self):
    self.hidden = nn.Dense(64)
    # Both begin with zeros, by their names.
    self.head_0_out = nn.Dense(LENGTH * 4 * 4 * 4)
    self.head_1_out = nn.Dense(1)

  def __call__(self, xt, t, cond, *, null_cond=None, frame_mask=None):
    flat = xt.reshape(len(xt), -1)
    h = nn.relu(self.hidden(jnp.concatenate([flat, t[:, :1] / 1000], axis=1)))
    return (self.head_0_out(h) + self.head_1_out(h) * flat).reshape(xt.shape)

  denoise = use_all = __call__


@pytest.mark.parametrize(
  'objective,first', [('noise', 1.0), ('velocity', 1.0), ('flow', 2.0)]
)
def test_loss_of_every_objective_falls(objective, first):
  phase = make_phase(objective=objective)
  phase = dataclasses.replace(phase, denoiser=FakeDenoiser())
  _, _, history = learn(phase, steps=100)
  # Zero is predicted first: the error is the variance of what is to be
  # predicted, of standard latents, of noise, or of both. There are 768 numbers
  # of either, and latents are alike in their channels.
  np.testing.assert_allclose(history[0]['mse'], first, rtol=0.2)
  mse = [float(h['mse']) for h in history]
  assert np.mean(mse[-20:]) < 0.8 * np.mean(mse[:3])
  same = [h['noise_mse'] == h['mse'] for h in history]
  assert all(same) if objective == 'noise' else not any(same)


def test_terms_belong_to_the_objective():
  """Of one prediction: the errors of what it says, whatever it is."""
  keys = jax.random.split(jax.random.key(0), 4)
  x0, noise, error = (jax.random.normal(k, (1, 4, 4, 4, 2)) for k in keys[:3])
  t = jnp.array([[0, 300, 700, 999]])
  batch = dict(
    frame_mask=jnp.array([[1.0, 1.0, 1.0, 0.0]]),
    mouth_box=jnp.tile(jnp.array([0.25, 0.5, 0.75, 1.0]), (1, 4, 1)),
  )
  for name in objectives.OBJECTIVES:
    objective = objectives.make_objective(name)
    scales = noise_schedule.scales(objective.schedule, t, x0)
    xt = noise_schedule.q_sample(objective.schedule, x0, t, noise)
    target = objective.target(x0, noise, *scales)
    terms = denoising.loss_terms(
      objective, target + error, target, scales, batch, max_x0_factor=1e9
    )
    clean = objective.to_x0(xt, target + error, *scales)
    implied = objective.to_noise(xt, target + error, *scales)
    mouth = jnp.square(error)[:, :3, 2:, 1:3]
    for key, expected in dict(
      mse=jnp.square(error)[:, :3],
      noise_mse=jnp.square(implied - noise)[:, :3],
      x0_mse=jnp.square(clean - x0)[:, :3],
      mouth_mse=mouth,
    ).items():
      # x0 of predicted noise is divided by alpha, 0.45 at 700.
      np.testing.assert_allclose(terms[key], jnp.mean(expected), rtol=1e-4)
    cut = denoising.loss_terms(
      objective, target + error, target, scales, batch, max_x0_factor=0.0
    )
    assert cut['x0_mse'] == 0


def test_a_bad_objective_is_an_error():
  with pytest.raises(ValueError, match="'foo' is none of noise"):
    make_phase(objective='foo')


def test_calibration_standardises_the_labels():
  phase, batch = make_phase(), make_batch()
  _, state, _ = trained()
  mean, logvar = phase._posterior(FROZEN, batch)
  stats = state['latent_stats']
  np.testing.assert_allclose(stats['mean'], mean.mean((0, 1, 2, 3)), atol=1e-5)
  variance = jnp.var(mean, axis=(0, 1, 2, 3)) + np.exp(-6.0)
  np.testing.assert_allclose(stats['std'], jnp.sqrt(variance), rtol=1e-4)
  # Padding does not count.
  batch['frame_mask'] = batch['frame_mask'].at[1].set(0)
  batch['video'] = batch['video'].at[1].set(9)
  masked = phase.calibrate(state, FROZEN, [batch])['latent_stats']
  np.testing.assert_allclose(masked['mean'], mean[0].mean((0, 1, 2)), atol=1e-5)
  assert phase.calibrate(state, FROZEN, []) is state


@functools.cache
def compiled_loss():
  return jax.jit(functools.partial(make_phase().loss_fn, train=False))


def loss(batch):
  params, state, _ = trained()
  return compiled_loss()(params, state, FROZEN, batch, jax.random.key(5))[0]


def test_cached_latents_give_the_loss_of_the_frames():
  phase, batch = make_phase(), make_batch()
  mean, logvar = phase._posterior(FROZEN, batch)
  cached = {k: x for k, x in batch.items() if k != 'video'}
  cached |= dict(z_mean=mean, z_logvar=logvar)
  np.testing.assert_allclose(loss(cached), loss(batch), rtol=1e-4)
  features = jax.vmap(functools.partial(phase.encode_source, FROZEN))
  cached |= dict(source_features=features(batch['source']))
  np.testing.assert_allclose(loss(cached), loss(batch), rtol=1e-4)


def test_frames_outside_of_the_mask_do_not_count():
  batch = make_batch()
  batch['frame_mask'] = batch['frame_mask'].at[:, 4:].set(0)
  other = dict(batch)
  names = 'video', 'audio_emb', 'pose', 'blink', 'mouth_box', 'opening'
  for name in names:
    other[name] = batch[name].at[:, 4:].set(0.7)
  np.testing.assert_allclose(loss(other), loss(batch), rtol=1e-4)
  nothing = batch | dict(frame_mask=jnp.zeros_like(batch['frame_mask']))
  assert loss(nothing) == 0


def test_levels_are_one_per_clip_or_one_per_frame():
  rng = jax.random.key(0)
  clip = denoising.draw_levels(rng, (8, 5), 1000, False)
  assert np.all(clip == clip[:, :1]) and len(np.unique(clip)) == 8
  frame = denoising.draw_levels(rng, (8, 5), 1000, True)
  assert len(np.unique(frame)) > 30
  for t in (clip, frame):
    assert t.dtype == jnp.int32 and t.min() >= 0 and t.max() < 1000


@pytest.mark.parametrize(
  'options',
  [
    dict(sampler='ddim', eta=0.5, guidance_scale=2.0),
    pytest.param(dict(sampler='dpm++'), marks=pytest.mark.slow),
  ],
)
def test_a_bucketed_sample_equals_the_exact_length(options):
  params, state, _ = trained()
  batch, rng = make_batch(batch=1), jax.random.key(3)
  run = jax.jit(functools.partial(make_phase().sample, steps=3, **options))
  exact = run(params, state, **conditions(batch), rng=rng)
  longer = run(params, state, **conditions(batch, 16), rng=rng)
  assert exact.shape == (1, LENGTH, 4, 4, 4) and np.isfinite(exact).all()
  # Sums are taken in another order; z has a deviation of about 1.
  np.testing.assert_allclose(longer[:, :LENGTH], exact, rtol=1e-3, atol=1e-3)


def test_what_was_sampled_is_smoothed_but_not_what_is_heard():
  phase = dataclasses.replace(make_phase(opening=True), smoothing=1.0)
  stats = dict(mean=jnp.full(4, 5.0), std=jnp.full(4, 3.0))
  mask = jnp.ones((1, LENGTH)).at[:, -2:].set(0)
  x, opened = jax.random.normal(jax.random.key(0), (2, 1, LENGTH, 4, 4, 4))
  state = sampling.start(x)
  finish = jax.jit(functools.partial(phase.finish, {'latent_stats': stats}))
  smooth = smoothing.over_time(x, mask, 1.0)
  assert np.std(smooth[:, :-2]) < 0.7 * np.std(x[:, :-2])
  found = finish(state, mask, opened)
  np.testing.assert_allclose(found, (smooth + opened) * 3 + 5, atol=1e-5)
  np.testing.assert_allclose(finish(state, mask), smooth * 3 + 5, atol=1e-5)
  rough = make_phase(opening=True).finish({'latent_stats': stats}, state, mask)
  np.testing.assert_allclose(rough, x * 3 + 5, atol=1e-5)


class Knowing(nn.Module):
  """A denoiser that knows the sample: all latents are 2."""

  objective: str
  opening: bool = False

  def condition(self, *args):
    return {}

  def __call__(self, xt, t, cond, *, null_cond=None, frame_mask=None):
    objective = objectives.make_objective(self.objective)
    alpha, sigma = noise_schedule.scales(objective.schedule, t, xt)
    noise = (xt - alpha * 2.0) / sigma
    return objective.target(2.0 * jnp.ones_like(xt), noise, alpha, sigma)


@pytest.mark.parametrize('sampler', ['ddim', 'dpm++'])
@pytest.mark.parametrize('objective', objectives.OBJECTIVES)
def test_a_sample_is_what_the_objective_predicts(objective, sampler):
  phase = make_phase(objective=objective)
  phase = dataclasses.replace(phase, denoiser=Knowing(objective))
  stats = dict(mean=jnp.full(4, 5.0), std=jnp.full(4, 3.0))
  z = phase.sample(
    {},
    {'latent_stats': stats},
    jax.random.key(0),
    **conditions(make_batch()),
    sampler=sampler,
    steps=4,
  )
  # In the LMAE's units. Rounding, of what is divided by alpha near 1 last.
  np.testing.assert_allclose(z, 5.0 + 3.0 * 2.0, atol=2e-4)


@pytest.mark.parametrize('objective,eta', [('noise', 1.0), ('flow', 0.0)])
def test_each_objective_has_its_own_noise_on_the_way(
  objective, eta, monkeypatch
):
  used = []
  monkeypatch.setattr(
    diffusion.sampling, 'advance', lambda *_, eta, **__: used.append(eta)
  )
  phase = make_phase(objective=objective)
  phase = dataclasses.replace(phase, denoiser=Knowing(objective))
  known = conditions(make_batch())
  for given in (None, 0.5):
    phase.advance({}, None, jax.random.key(0), eta=given, **known)
  assert used == [eta, 0.5]


def test_an_unknown_sampler_is_named():
  params, state, _ = trained()
  known = conditions(make_batch())
  with pytest.raises(ValueError, match='euler'):
    make_phase().sample(
      params, state, **known, rng=jax.random.key(0), sampler='euler'
    )


def test_predict_returns_a_clip_and_pictures():
  params, state, _ = trained()
  phase, batch = make_phase(), make_batch()
  outputs = jax.jit(phase.predict)(
    params, state, FROZEN, batch, jax.random.key(0)
  )
  assert outputs['z'].shape == (2, LENGTH, 4, 4, 4)
  assert outputs['prediction'].shape == batch['video'].shape
  # Pieces of time are put together in their order.
  upsampled = FakeLMAE().apply(
    {'params': {'gain': 1.0}}, outputs['z'], method='decode'
  )
  np.testing.assert_allclose(outputs['dynamics'], upsampled, rtol=1e-5)
  pictures = phase.pictures(outputs, batch)
  assert set(pictures) == {'source', 'clip', 'flow', 'occlusion'}
  above, below = np.split(np.asarray(pictures['clip']), 2, axis=2)
  np.testing.assert_array_equal(above, batch['video'])
  np.testing.assert_array_equal(below, outputs['prediction'])


@functools.cache
def label_of(keys):
  """z_label that `predict` returns of a batch with these entries."""
  params, state, _ = trained()
  phase, batch = make_phase(), make_batch()
  mean, logvar = phase._posterior(FROZEN, batch)
  batch |= dict(z_mean=mean, z_logvar=logvar)
  batch = {k: x for k, x in batch.items() if k in keys or k not in LABELLED}
  outputs = jax.jit(phase.predict)(
    params, state, FROZEN, batch, jax.random.key(0)
  )
  assert phase.pictures(outputs, batch)['clip'].shape[2] == SIZE * (
    2 if 'video' in keys else 1
  )
  return outputs.get('z_label'), mean, logvar


LABELLED = ('video', 'z_mean', 'z_logvar')


def test_predict_draws_the_labels_where_they_are_known():
  """From frames or from cached latents, the same."""
  label, mean, logvar = label_of(('video',))
  cached, *_ = label_of(('z_mean', 'z_logvar'))
  assert label_of(())[0] is None
  assert label.shape == mean.shape
  # Six deviations: of 2 * LENGTH * 64 draws none is farther.
  assert np.all(np.abs(label - mean) < 6 * np.exp(0.5 * logvar) + 1e-5)
  np.testing.assert_allclose(label, cached, rtol=1e-4, atol=1e-5)


def test_phase_is_hashable_and_immutable():
  phase = make_phase()
  with pytest.raises(dataclasses.FrozenInstanceError):
    phase.clip = 1.0


def make_record(name, count, seed=0):
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 255, (count, SIZE, SIZE, 3), np.uint8)
  frames = [records.encode_jpeg(x) for x in images]
  points = np.float32(rng.uniform(size=(count, 8, 2)))
  return dict(id=name, frames=frames, landmarks=points)


def test_latents_of_a_dataset_are_written_once(tmp_path, monkeypatch):
  monkeypatch.setattr(latents, 'PIECE', 4)
  phase = make_phase()
  clips = [make_record('a', 9), make_record('b', 2, seed=1)]
  args = phase, FROZEN, clips, tmp_path / 'z', SIZE
  assert latents.write_latents(*args, num_sources=3) == 2
  assert latents.write_latents(*args, num_sources=3) == 0
  with np.load(tmp_path / 'z' / 'a.npz') as stored:
    assert stored['source_index'].tolist() == [0, 3, 6]
    assert stored['mean'].shape == stored['logvar'].shape == (3, 9, 4, 4, 4)
    assert stored['mean'].dtype == np.float16
    assert stored['features'].shape[:1] == (3,)
    # A source's own frame does not move.
    for j, frame in enumerate((0, 3, 6)):
      assert np.abs(stored['mean'][j, frame]).max() < 1e-6
      assert np.abs(stored['mean'][j, 8]).max() > 1e-3
  with np.load(tmp_path / 'z' / 'b.npz') as stored:
    assert stored['source_index'].tolist() == [0, 1]
    assert stored['mean'].shape == (2, 2, 4, 4, 4)

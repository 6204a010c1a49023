"""The U-Net and its diffusion equal the public PyTorch modules."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import dawn_pose, dawn_unet
from mdcf_jax.models import denoiser
from mdcf_jax.ops import (
  attention,
  convolution,
  noise_schedule,
  objectives,
  sampling,
)
from tests.parity import (
  assert_equal,
  channels_last,
  convert,
  load,
  state_dict,
)

pytestmark = pytest.mark.parity

WINDOW = 3
SPLIT = (1024, 1030)  # Of the condition: sound, pose, blink.


def streams_of(cond):
  """Sound, pose in our order, blink."""
  audio, pose, blink = jnp.split(cond, SPLIT, axis=-1)
  return [audio, pose[..., list(dawn_pose.ORDER)], blink]


class Reference:
  """The fixture's U-Net with our code."""

  def __init__(self):
    self.arrays = load('unet3d')
    given = state_dict(self.arrays, 'diffusion/denoise_fn.')
    given |= state_dict(load('face_loc_encoder'), 'diffusion/face_encoder.')
    model, self.variables = convert(dawn_unet, given)
    self.model = model['denoiser']

  def denoiser(self, window):
    return denoiser.Denoiser(**self.model | dict(window=window))

  @functools.cache  # noqa: B019
  def compiled(self, window):
    """One program per window: (outputs, intermediate values) of a condition.

    The fixture's static channels differ from frame to frame, so the U-Net
    inside of the denoiser is called.
    """
    x = channels_last(self.arrays['in/x'])
    kernel = self.variables['params']['static_conv']['kernel']
    static = jax.vmap(lambda f: convolution.conv2d(f, kernel, 1, 3))(x[..., 3:])
    t = jnp.broadcast_to(self.arrays['in/time'][:, None], x.shape[:2])
    module = self.denoiser(window)

    def apply(cond):
      return module.apply(
        self.variables,
        x[..., :3],
        t,
        static,
        streams_of(cond),
        method=lambda module, *args: module.unet(*args),
        capture_intermediates=True,
        mutable=['intermediates'],
      )

    return static, jax.jit(apply)

  def __call__(self, window, null=False):
    cond = self.arrays['in/cond'] * (0 if null else 1)
    return self.compiled(window)[1](cond)[0]


@pytest.fixture(scope='module')
def reference():
  return Reference()


def test_the_constructors_arguments_are_found(reference):
  meta, model = reference.arrays['meta'], reference.model
  assert model['dim'] == meta['dim']
  assert model['dim_mults'] == tuple(meta['dim_mults'])
  kernel = reference.variables['params']['static_conv']['kernel']
  assert kernel.shape[2] == meta['fea'] + 16


@pytest.mark.parametrize(
  'name, window, null',
  [
    ('train', None, False),
    ('masked', WINDOW, False),
    ('masked_null', WINDOW, True),
    ('local', WINDOW, False),
  ],
)
def test_outputs(reference, name, window, null):
  ours = reference(window, null)
  assert_equal(ours, channels_last(reference.arrays[f'out/{name}']))


def test_guidance(reference):
  null, cond = reference(WINDOW, null=True), reference(WINDOW)
  guided = null + 2.0 * (cond - null)
  theirs = channels_last(reference.arrays['out/masked_cfg2'])
  assert_equal(guided, theirs)


def test_intermediate_values(reference):
  static, apply = reference.compiled(WINDOW)
  _, state = apply(reference.arrays['in/cond'])
  found = state['intermediates']['unet']
  pairs = dict(
    time_emb='time_1',
    init_conv='init_conv',
    init_temporal_attn='init_temporal',
    down0_block1='down_0_block_0',
    down0_spatial_attn='down_0_pixels',
    down0_temporal_attn='down_0_temporal',
    down0_downsample='down_0_half',
  )
  for theirs, ours in pairs.items():
    expected = reference.arrays[f'out/mid/{theirs}']
    value = found[ours]['__call__'][0]
    if theirs == 'time_emb':
      value = value[:, 0]  # One level per clip.
    else:
      expected = channels_last(expected)
      value = value.reshape(expected.shape)
    if theirs == 'init_conv':
      value = value + static  # The other part of it.
    assert_equal(value, expected, theirs)


def test_relative_bias(reference):
  table = reference.variables['params']['unet']['relative_bias']
  expected = reference.arrays['out/mid/rel_pos_bias']
  frames = np.arange(expected.shape[-1])
  offsets = frames - frames[:, None]
  ours = attention.relative_bias(table, offsets)
  # There the window is part of it, as a very small number.
  inside = np.abs(offsets) <= WINDOW
  assert np.array_equal(expected > -1e7, np.broadcast_to(inside, ours.shape))
  assert_equal(ours[:, inside], expected[:, inside])


def test_face_box_encoder(reference):
  arrays = load('face_loc_encoder')
  ours = reference.denoiser(None).apply(
    reference.variables,
    channels_last(arrays['in/mask']),
    method=lambda module, mask: module.face_encoder(mask),
  )
  assert_equal(ours, channels_last(arrays['out/emb']))


class Diffusion:
  """The fixture of the diffusion; its weights are those of the U-Net."""

  def __init__(self, reference):
    self.arrays, self.reference = load('diffusion'), reference
    params = reference.variables['params']
    image = [
      channels_last(self.arrays[f'in/{name}']) for name in ('fea', 'box')
    ]
    static = jnp.concatenate(image, axis=-1)
    static = convolution.conv2d(static, params['static_conv']['kernel'], 1, 3)
    streams = streams_of(self.arrays['in/cond'])
    self.cond = dict(zip(denoiser.STREAMS, streams), static=static[:, None])
    self.objective = objectives.make_objective('noise')
    self.schedule = self.objective.schedule

  def __getitem__(self, name):
    x = self.arrays[name]
    return channels_last(x) if x.ndim == 5 else x

  def denoise(self, xt, t, window):
    module = self.reference.denoiser(window)
    return module.apply(self.reference.variables, xt, t, self.cond)


@pytest.fixture(scope='module')
def diffusion(reference):
  return Diffusion(reference)


def test_constants(diffusion):
  kept, noise = (x**2 for x in diffusion.schedule)
  before = np.append(1.0, kept[:-1])
  betas = 1 - kept / before
  variance = betas * (1 - before) / noise
  constants = dict(
    betas=betas,
    alphas_cumprod=kept,
    alphas_cumprod_prev=before,
    sqrt_alphas_cumprod=diffusion.schedule.alpha,
    sqrt_one_minus_alphas_cumprod=diffusion.schedule.sigma,
    log_one_minus_alphas_cumprod=np.log(noise),
    sqrt_recip_alphas_cumprod=kept**-0.5,
    sqrt_recipm1_alphas_cumprod=(noise / kept) ** 0.5,
    posterior_variance=variance,
    # The first variance is zero.
    posterior_log_variance_clipped=np.log(np.maximum(variance, 1e-20)),
    posterior_mean_coef1=betas * before**0.5 / noise,
    posterior_mean_coef2=(1 - before) * (1 - betas) ** 0.5 / noise,
  )
  found = 0
  for key, expected in diffusion.arrays.items():
    if key.startswith('out/const/'):
      name = key.removeprefix('out/const/')
      ours = np.float32(constants[name])
      # Both are float64 rounded to float32 at the end.
      np.testing.assert_allclose(ours, expected, rtol=1e-6, err_msg=name)
      found += 1
  assert found == 12


def test_training_step(diffusion):
  """Noising, the error of every element, and what it says of x0."""
  x0, noise, t = (diffusion[f'in/{name}'] for name in ('x0', 'noise', 't'))
  t = jnp.broadcast_to(t[:, None], x0.shape[:2])
  xt = noise_schedule.q_sample(diffusion.schedule, x0, t, noise)
  assert_equal(xt, diffusion['out/q_sample'], 'q_sample')
  # The public one trains without a window; the fixture was made with it.
  noise_pred = jax.jit(functools.partial(diffusion.denoise, window=WINDOW))(
    xt, t
  )
  error = jnp.square(noise - noise_pred)
  assert_equal(error, diffusion['out/loss_elementwise'], 'loss')
  scales = noise_schedule.scales(diffusion.schedule, t, x0)
  clean = diffusion.objective.to_x0(xt, noise_pred, *scales)
  clean = sampling.dynamic_threshold(clean, jnp.ones(t.shape))
  assert_equal(clean, diffusion['out/pred_x0_thresholded'], 'x0')


def test_levels_of_ddim(diffusion):
  for name, steps in (('ddim_times', 4), ('ddim_times_20', 20)):
    levels = sampling.reference_levels(steps)
    theirs = diffusion[f'out/{name}']
    assert np.array_equal([*levels, 0], theirs), name


def test_ddim(diffusion, monkeypatch):
  """With the noise that the public code drew."""
  meta, shape = diffusion.arrays['meta'], diffusion['in/x0'].shape
  steps, rng = meta['steps'], jax.random.key(0)
  keys = jnp.stack([jax.random.fold_in(rng, i) for i in range(steps)])
  drawn = [diffusion[f'in/ddim_noise/{i}'] for i in range(steps)]
  # The first is the start, and the last step adds none.
  given = jnp.stack([*drawn[1:], jnp.zeros(shape)])
  monkeypatch.setattr(
    sampling, 'frame_noise', lambda key, _: given[jnp.argmax(keys == key)]
  )
  threshold = functools.partial(
    sampling.dynamic_threshold,
    frame_mask=jnp.ones(shape[:2]),
    quantile=meta['percentile'],
  )
  state = sampling.ddim(
    functools.partial(diffusion.denoise, window=WINDOW),
    sampling.start(drawn[0]),
    rng,
    diffusion.objective,
    levels=sampling.reference_levels(steps),
    eta=meta['eta'],
    clip=threshold,
    reference_alphas=True,
  )
  assert_equal(state.xt, diffusion['out/ddim'])


def test_a_frame_can_lack_its_conditions(reference, diffusion):
  """The public null is drawn for every frame: zeros in its three streams."""
  x0 = diffusion['in/x0']
  t = jnp.full(x0.shape[:2], 100)
  module = reference.denoiser(WINDOW)

  @jax.jit
  def apply(cond, hidden):
    return module.apply(reference.variables, x0, t, cond, null_cond=hidden)

  hidden = jnp.arange(10)[None] % 3 == 0
  ours = apply(diffusion.cond, hidden)
  cond = {
    name: x * ~hidden[..., None] if name in denoiser.STREAMS else x
    for name, x in diffusion.cond.items()
  }
  seen = jnp.zeros_like(hidden)
  assert_equal(ours, apply(cond, seen))
  assert np.abs(apply(diffusion.cond, seen) - ours).max() > 0.01

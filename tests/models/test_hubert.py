"""HuBERT against stored outputs of the public one, and against itself."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import hubert as names
from mdcf_jax.convert import tensors as tensors_lib
from mdcf_jax.errors import InputError
from mdcf_jax.models import hubert
from mdcf_jax.models.hubert import HUBERT_SIZES, HuBERT

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'hubert.npz'
KINDS = ('group', 'layer')


def tiny(norm, **attributes):
  """Attributes of the tiny models in the golden file."""
  return dict(
    width=16,
    num_layers=2,
    num_heads=2,
    ff_width=32,
    conv_width=8,
    conv_norm=norm,
    conv_bias=norm == 'layer',
    pre_norm=norm == 'layer',
    position_kernel=16,
    position_groups=4,
  ) | dict(attributes)


def stored(norm):
  """Public weights, waveform and output `[1, S, D]`."""
  with np.load(GOLDEN, allow_pickle=False) as file:
    prefix = f'{norm}/weights/'
    weights = {
      key.removeprefix(prefix): file[key]
      for key in file
      if key.startswith(prefix)
    }
    return weights, file['waveform'], file[f'{norm}/out']


def convert(weights, config):
  module = HuBERT(**config)
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 400)))
  return tensors_lib.apply(
    names.prepare(weights), names.table(config), shapes, names.DEAD
  )


def load(norm):
  weights, waveform, out = stored(norm)
  return convert(weights, tiny(norm)), waveform[None], out


def run(norm, variables, waveform, num_samples=None, **attributes):
  module = HuBERT(**tiny(norm, **attributes))
  return np.asarray(apply(module, variables, waveform, num_samples))


@functools.partial(jax.jit, static_argnums=0)
def apply(module, *args):
  """Compiled once for equal modules, in whatever test."""
  return module.apply(*args)


def assert_equal(ours, theirs):
  """Float32 rounding through a deep network, relative to the largest value."""
  assert ours.shape == theirs.shape
  scale = np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def speech(seconds, seed=0):
  """Noise whose loudness and colour change: `[1, samples]`."""
  rng = np.random.RandomState(seed)
  n = int(16000 * seconds)
  x = np.convolve(rng.randn(n), np.ones(8) / 8, 'same')
  loudness = 1.2 + np.sin(2 * np.pi * np.arange(n) / 3700)
  return (0.1 * loudness * x)[None].astype(np.float32)


@pytest.mark.parametrize('norm', KINDS)
def test_equals_the_public_model(norm):
  variables, waveform, expected = load(norm)
  assert_equal(run(norm, variables, waveform), expected)


@pytest.mark.parametrize('norm', KINDS)
def test_loudness_and_offset_are_normalised_away(norm):
  variables, waveform, expected = load(norm)
  assert_equal(run(norm, variables, 0.5 * waveform - 0.3), expected)


@pytest.mark.parametrize('norm', KINDS)
def test_pieces_equal_the_whole(norm):
  """Convolutions and attention, cut anywhere, give what they give uncut."""
  variables, *_ = load(norm)
  waveform = speech(2.03)
  whole = run(norm, variables, waveform, window=None)
  assert whole.shape == (1, 101, 16)
  for block, scores in ((7, 2 * 101 * 9), (50, 1)):
    pieces = run(
      norm,
      variables,
      waveform,
      window=None,
      conv_block=block,
      max_scores=scores,
    )
    assert_equal(pieces, whole)


@pytest.mark.parametrize('norm', KINDS)
def test_a_window_is_cut_into_pieces_as_well(norm):
  variables, *_ = load(norm)
  waveform = speech(2.03)
  masked = run(norm, variables, waveform, window=6)
  assert_equal(
    run(norm, variables, waveform, window=6, max_scores=2 * 10 * 22), masked
  )
  whole = run(norm, variables, waveform, window=None)
  assert_equal(run(norm, variables, waveform, window=100), whole)
  assert np.abs(masked - whole).max() > 1e-3


@pytest.mark.parametrize('norm', KINDS)
def test_padding_changes_nothing(norm):
  """A batch of different lengths gives what each gives alone."""
  variables, *_ = load(norm)
  long, short = speech(1.0), speech(0.515, seed=1)
  batch = np.full((2, 20000), 7, np.float32)
  batch[0, :16000], batch[1, :8240] = long, short
  out = run(
    norm,
    variables,
    batch,
    np.array([16000, 8240]),
    conv_block=9,
    max_scores=1000,
  )
  assert_equal(out[:1, :49], run(norm, variables, long))
  assert_equal(out[1:, :25], run(norm, variables, short))
  assert not out[0, 49:].any() and not out[1, 25:].any()


def test_bfloat16_is_near():
  for norm in KINDS:
    variables, waveform, expected = load(norm)
    out = run(norm, variables, waveform, dtype=jnp.bfloat16)
    assert out.dtype == np.float32
    # Eight bits of mantissa through nine layers.
    assert np.abs(out - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
  'name,count', [('hubert-base', 94_371_712), ('hubert-large', 315_438_720)]
)
def test_parameters_of_the_public_sizes(name, count):
  """As `HubertModel` counts, less the mask and the weight norm's lengths."""
  waveform = jax.ShapeDtypeStruct((1, 16000), jnp.float32)
  module = HuBERT(**HUBERT_SIZES[name])
  variables = jax.eval_shape(module.init, jax.random.key(0), waveform)
  width = HUBERT_SIZES[name]['width']
  sizes = [x.size for x in jax.tree.leaves(variables)]
  assert sum(sizes) + width + 128 == count
  out = jax.eval_shape(module.apply, variables, waveform)
  assert out.shape == (1, 49, width)


@pytest.mark.parametrize('window', [None, hubert.WINDOW])
def test_an_hour_fits_into_memory(window):
  """Five arrays of its vectors, with however many layers."""
  config = HUBERT_SIZES['hubert-large'] | dict(num_layers=3, window=window)
  waveform = jax.ShapeDtypeStruct((1, 16000 * 3600), jnp.float32)
  module = HuBERT(**config)
  variables = jax.eval_shape(module.init, jax.random.key(0), waveform)
  program = jax.jit(module.apply).lower(variables, waveform).compile()
  size = program.memory_analysis().temp_size_in_bytes
  assert size < 5 * 4 * 180_000 * config['width']


@pytest.mark.parametrize(
  'samples,frames', [(400, 1), (719, 1), (720, 2), (16000, 49), (320000, 999)]
)
def test_number_of_vectors(samples, frames):
  assert hubert.count_frames(samples) == frames


def test_short_waveforms_are_errors():
  variables, *_ = load('group')
  with pytest.raises(ValueError, match='399 samples'):
    run('group', variables, np.zeros((1, 399), np.float32))


def test_frame_rate_keeps_both_ends():
  x = np.arange(10, dtype=np.float32)[:, None] * np.ones(3, np.float32)
  half = hubert.to_frame_rate(x, 4)
  assert half.shape == (4, 3) and half.dtype == np.float32
  np.testing.assert_allclose(half[:, 0], [0, 3, 6, 9])
  np.testing.assert_allclose(hubert.to_frame_rate(x, 10), x)
  np.testing.assert_allclose(hubert.to_frame_rate(x[:1], 3), x[[0, 0, 0]])
  np.testing.assert_allclose(hubert.to_frame_rate(x, 1), x[:1])


@pytest.mark.parametrize('norm', KINDS)
def test_all_spellings_of_the_names(norm):
  """A prefix, a head, and the older names of the weight norm."""
  weights, waveform, expected = stored(norm)
  new = 'parametrizations.weight.original'
  old = {
    'hubert.'
    + k.replace(f'{new}0', 'weight_g').replace(f'{new}1', 'weight_v'): x
    for k, x in weights.items()
  }
  old['lm_head.weight'] = np.zeros((32, 16), np.float32)
  assert sum(k.endswith(('weight_g', 'weight_v')) for k in old) == 2
  variables = convert(old, tiny(norm))
  assert_equal(run(norm, variables, waveform[None]), expected)


def test_wrong_tensors_are_errors():
  weights, *_ = stored('layer')
  config = tiny('layer')
  name = 'encoder.layers.1.attention.k_proj.bias'
  with pytest.raises(InputError, match=f'missing.*{name}'):
    convert({k: v for k, v in weights.items() if k != name}, config)
  with pytest.raises(InputError, match='unknown.*encoder.foo'):
    convert(weights | {'encoder.foo': np.zeros(3)}, config)
  with pytest.raises(InputError, match=f'misshaped.*{name}'):
    convert(weights | {name: np.zeros(3)}, config)
  with pytest.raises(InputError, match=f'finite.*{name}'):
    convert(weights | {name: np.full(16, np.nan)}, config)
  gain = 'encoder.pos_conv_embed.conv.parametrizations.weight.original0'
  with pytest.raises(InputError, match='weight norm'):
    convert(weights | {gain: np.zeros((1, 1, 15))}, config)


def test_size_is_found_by_the_width():
  for name, size in HUBERT_SIZES.items():
    bias = {'encoder.layer_norm.bias': np.zeros(size['width'])}
    assert names.find_size(bias) == name
  with pytest.raises(InputError, match=r'\(16,\)'):
    names.find_size(names.prepare(stored('group')[0]))
  with pytest.raises(InputError, match='missing'):
    names.find_size({})

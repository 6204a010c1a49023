"""HuBERT equals transformers' HubertModel, with the same random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.convert import hubert as names
from mdcf_jax.convert import tensors
from mdcf_jax.models import hubert
from mdcf_jax.models.hubert import HUBERT_SIZES, HuBERT
from tests.models.test_hubert import assert_equal, speech, tiny

torch = pytest.importorskip('torch', reason='no torch: make parity')
pytest.importorskip('transformers', reason='no transformers: make parity')

from tests import torch_models  # noqa: E402

pytestmark = pytest.mark.parity
SIZES = {
  'hubert-base': dict(
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
  ),
  'hubert-large': dict(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
  ),
}


def outputs(model, waveform):
  """Of the public model after its own input normalisation."""
  from transformers import Wav2Vec2FeatureExtractor

  extract = Wav2Vec2FeatureExtractor(do_normalize=True)
  values = extract(list(waveform), sampling_rate=16000, return_tensors='pt')
  with torch.no_grad():
    return model(values.input_values).last_hidden_state.numpy()


def convert(model, config):
  weights = {k: x.numpy() for k, x in model.state_dict().items()}
  waveform = jnp.zeros((1, 400))
  shapes = jax.eval_shape(HuBERT(**config).init, jax.random.key(0), waveform)
  return tensors.apply(
    names.prepare(weights), names.table(config), shapes, names.DEAD
  )


@pytest.mark.parametrize('norm', ['group', 'layer'])
@pytest.mark.parametrize('seconds', [0.03, 1.234, 3])
def test_small_models(norm, seconds):
  model = torch_models.hubert(norm, **torch_models.TINY_HUBERT)
  waveform = np.concatenate([speech(seconds), 0.1 + speech(seconds, 1)])
  variables = convert(model, tiny(norm))
  ours = jax.jit(HuBERT(**tiny(norm)).apply)(variables, waveform)
  assert_equal(ours, outputs(model, waveform))


@pytest.mark.slow
@pytest.mark.parametrize('name', list(SIZES))
def test_public_sizes(name):
  """2.5 s of sound; then the same in pieces, at the end of a longer array."""
  config = HUBERT_SIZES[name]
  model = torch_models.hubert(config['conv_norm'], **SIZES[name])
  count = sum(x.numel() for x in model.parameters())
  waveform = speech(2.5)
  expected = outputs(model, waveform)
  variables = convert(model, config)
  del model
  sizes = [x.size for x in jax.tree.leaves(variables)]
  # The mask of pre-training, and the lengths of the weight norm.
  assert sum(sizes) + config['width'] + 128 == count
  ours = jax.jit(HuBERT(**config).apply)(variables, waveform)
  report(name, ours, expected)
  assert_equal(ours, expected)
  padded = np.pad(waveform, ((0, 0), (0, 8000)))
  module = HuBERT(**config, conv_block=40, max_scores=16 * 150 * 40)
  ours = jax.jit(module.apply)(variables, padded, np.array([40000]))
  assert_equal(ours[:, : expected.shape[1]], expected)


def report(name, ours, theirs):
  """What `pytest -s` shows."""
  error = np.abs(ours - theirs).max()
  print(f'{name}: largest error {error:.1e} of {np.abs(theirs).max():.1f}')


@pytest.mark.parametrize('length,frames', [(49, 25), (99, 50), (7, 30), (1, 2)])
def test_frame_rate_is_interpolated_as_by_the_reference(length, frames):
  x = np.random.RandomState(0).randn(length, 4).astype(np.float32)
  theirs = torch.nn.functional.interpolate(
    torch.from_numpy(x.T[None]), frames, mode='linear', align_corners=True
  )
  ours = hubert.to_frame_rate(x, frames)
  np.testing.assert_allclose(ours, theirs[0].numpy().T, rtol=1e-4, atol=1e-5)

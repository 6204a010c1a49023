"""Audio features by their names, and HuBERT's from files."""

import jax
import numpy as np
import pytest

from mdcf_jax import speech, weights
from mdcf_jax.data import mel, records
from mdcf_jax.errors import InputError
from mdcf_jax.models import hubert

TINY = dict(
  num_layers=1,
  num_heads=2,
  ff_width=8,
  conv_width=8,
  conv_norm='layer',
  conv_bias=True,
  pre_norm=True,
  position_kernel=4,
  position_groups=2,
)
WAVEFORM = np.sin(np.arange(16000) ** 1.3).astype(np.float32)


@pytest.fixture
def tiny_hubert(monkeypatch, tmp_path):
  """Folder with a small HuBERT that is as wide as 'hubert-base'."""
  sizes = {
    'hubert-base': dict(TINY, width=records.AUDIO_ENCODERS['hubert-base'])
  }
  monkeypatch.setattr(hubert, 'HUBERT_SIZES', sizes)
  module = hubert.HuBERT(**sizes['hubert-base'])
  shapes = jax.eval_shape(
    module.init, jax.random.key(0), np.zeros((1, 400), np.float32)
  )
  rng = np.random.RandomState(0)
  variables = jax.tree.map(
    lambda x: 0.1 * rng.randn(*x.shape).astype(np.float32), shapes
  )
  weights.save(tmp_path, 'hubert', variables, 'float32')
  return tmp_path


def test_the_table_has_the_widths_of_the_models():
  assert records.AUDIO_ENCODERS['mel'] == mel.FEATURES
  widths = {k: size['width'] for k, size in hubert.HUBERT_SIZES.items()}
  assert records.AUDIO_ENCODERS == {'mel': mel.FEATURES} | widths


def test_mel_needs_no_weights():
  encoder = speech.open_encoder('mel')
  np.testing.assert_array_equal(
    encoder.encode(WAVEFORM, 25), mel.log_mel(WAVEFORM, 25)
  )


def test_features_of_hubert_have_a_row_per_frame(tiny_hubert):
  for path in (tiny_hubert, tiny_hubert / speech.FILE_NAME):
    encoder = speech.open_hubert(path)
    assert encoder.name == 'hubert-base'
  for samples, frames in ((16000, 25), (15999, 40), (399, 1), (1, 2)):
    features = encoder.encode(WAVEFORM[:samples], frames)
    assert features.shape == (frames, 768) and features.dtype == np.float32
    assert np.isfinite(features).all()
  holes = WAVEFORM.copy()
  holes[5000:5100] = np.nan
  filled = np.where(np.isnan(holes), 0, holes)
  np.testing.assert_array_equal(
    encoder.encode(holes, 25), encoder.encode(filled, 25)
  )


def test_pieces_are_cut_out_of_the_whole(tiny_hubert):
  encoder = speech.open_hubert(tiny_hubert)
  cut = speech.of_pieces(WAVEFORM, str(tiny_hubert))
  pieces = [
    cut(WAVEFORM[:6400], slice(0, 10)),
    cut(WAVEFORM[6400:], slice(10, 27)),
  ]
  rows = [piece['hubert'] for piece in pieces]
  whole = encoder.encode(WAVEFORM, 25)
  assert rows[0].dtype == np.float16 and len(rows[1]) == 17
  np.testing.assert_allclose(np.concatenate(rows)[:25], whole, atol=2e-3)
  np.testing.assert_array_equal(rows[1][-1], rows[1][-3])  # After the end.
  nothing = speech.of_pieces(WAVEFORM[:0], str(tiny_hubert))
  silence = nothing(WAVEFORM[:0], slice(0, 10))
  assert silence['hubert'].shape == (0, 768)
  assert silence['mel'].shape == (0, 320)


def test_pieces_of_mel_are_by_themselves():
  cut = speech.of_pieces(WAVEFORM, None)
  piece = WAVEFORM[6400:12800]
  expected = mel.log_mel(piece, 10).astype(np.float16)
  found = cut(piece, slice(10, 20))
  assert set(found) == {'mel'}
  np.testing.assert_array_equal(found['mel'], expected)


def test_other_weights_are_other_work(tiny_hubert):
  assert speech.describe(None) == {}
  before = speech.describe(str(tiny_hubert))
  assert before['audio_encoder'] == 'hubert-base'
  path = tiny_hubert / speech.FILE_NAME
  weights.save(tiny_hubert, 'hubert', weights.load(tiny_hubert, 'hubert'))
  assert path.exists() and speech.describe(str(tiny_hubert)) != before


def test_wrong_weights_are_errors(tiny_hubert):
  with pytest.raises(InputError, match="'foo' is none of: mel, hubert-base"):
    speech.open_encoder('foo')
  with pytest.raises(InputError, match='nowhere: no such weights'):
    speech.open_encoder('mel', 'nowhere')
  with pytest.raises(InputError, match='hubert-large need its weights'):
    speech.open_encoder('hubert-large')
  with pytest.raises(InputError, match='is hubert-base; features of hubert-l'):
    speech.open_encoder('hubert-large', tiny_hubert)
  with pytest.raises(InputError, match='mdcf convert hubert'):
    speech.open_hubert(tiny_hubert / 'nowhere')
  variables = weights.load(tiny_hubert, 'hubert')
  path = tiny_hubert / 'short.safetensors'
  del variables['params']['layer_0']
  weights.save(tiny_hubert, 'short', variables)
  with pytest.raises(InputError, match='lacks tensor params/layer_0'):
    speech.open_hubert(path)
  weights.save(tiny_hubert, 'other', {'params': {'a': np.zeros(3)}})
  with pytest.raises(InputError, match='is not HuBERT'):
    speech.open_hubert(tiny_hubert / 'other.safetensors')

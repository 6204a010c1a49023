"""`mdcf convert`: public tensors in, a folder of weights out."""

import importlib
import json

import numpy as np
import pytest
import safetensors.numpy

from mdcf_jax import weights
from mdcf_jax.cli import convert
from mdcf_jax.cli.main import main
from mdcf_jax.convert import dawn_lfg, raft, tensors
from mdcf_jax.errors import InputError
from mdcf_jax.evaluation import networks
from mdcf_jax.metrics.protocol import v1
from tests.convert import public
from tests.random_tensors import random_tensors


def save(path, given):
  """Writes the file that somebody has."""
  if path.suffix == '.npz':
    np.savez(path, **given)
  else:
    given = {name: np.ascontiguousarray(x) for name, x in given.items()}
    safetensors.numpy.save_file(given, path)
  return str(path)


@pytest.fixture
def lfg(tmp_path):
  return save(tmp_path / 'lfg.npz', public.lfg())


def test_files_add_up_to_a_folder(tmp_path, lfg, capsys):
  folder = tmp_path / 'dawn'
  unet = save(tmp_path / 'unet.safetensors', public.unet())
  pose = save(tmp_path / 'pose.npz', public.pbnet(6))
  blink = save(tmp_path / 'blink.npz', public.pbnet(2))
  for kind, *paths in (
    ('dawn-lfg', lfg),
    ('dawn-unet', unet),
    ('dawn-pbnet', blink, pose),
  ):
    assert main(['convert', kind, *paths, str(folder)]) == 0
    words = capsys.readouterr().out
    assert kind in words and 'parameters used' in words
  names = sorted(path.name for path in folder.iterdir())
  assert names == [
    'config.json',
    'diffusion.safetensors',
    'fde.safetensors',
    'pbnet.safetensors',
  ]
  config = weights.load_config(folder)
  assert set(config['phases']) == {'fde', 'diffusion', 'pbnet'}
  assert config['audio_encoder'] == 'mel'  # These hear 320 numbers a frame.
  assert set(config['model']) >= {'fde', 'denoiser', 'pbnet'}
  assert set(config['model']['pbnet']) == {'pose', 'blink'}
  given = dawn_lfg.prepare(public.lfg())
  found = dawn_lfg.describe(given)
  loaded = weights.load(folder, 'fde', found.shapes)
  expected = tensors.apply(given, found.table, found.shapes, dawn_lfg.DEAD)
  kernel = expected['params']['image_generator']['final']['kernel']
  np.testing.assert_array_equal(
    loaded['params']['image_generator']['final']['kernel'], kernel
  )
  assert main(['info', str(folder)]) == 0


def test_a_file_is_replaced_and_texts_are_kept(tmp_path, lfg):
  folder = tmp_path / 'dawn'
  assert main(['convert', 'dawn-lfg', lfg, str(folder)]) == 0
  (folder / 'README.md').write_text('mine')
  again = save(tmp_path / 'again.npz', public.lfg(draw=public.random(9)))
  before = (folder / 'fde.safetensors').read_bytes()
  assert main(['convert', 'dawn-lfg', again, str(folder)]) == 0
  assert (folder / 'fde.safetensors').read_bytes() != before
  assert (folder / 'README.md').read_text() == 'mine'
  assert not list(tmp_path.glob('.*'))  # Nothing half-written is left.


def refused(capsys, *argv):
  """The one line of a command that ends with code 2."""
  capsys.readouterr()
  assert main(['convert', *map(str, argv)]) == 2
  captured = capsys.readouterr()
  assert captured.err.startswith('mdcf: error: ')
  assert captured.err.count('\n') == 1 and not captured.out
  return captured.err


def test_something_else_is_not_overwritten(tmp_path, lfg, capsys):
  folder = tmp_path / 'photos'
  folder.mkdir()
  (folder / 'me.jpg').write_text('a picture')
  words = refused(capsys, 'dawn-lfg', lfg, folder)
  assert 'stays as it is' in words
  assert [path.name for path in folder.iterdir()] == ['me.jpg']


@pytest.mark.parametrize(
  'name, content, words',
  [
    ('a.safetensors', b'', 'cannot be read'),
    ('a.safetensors', b'\xff' * 40, 'cannot be read'),
    ('a.npz', b'PK\x03\x04 and no more', 'cannot be read'),
    ('a.pth', b'\x80\x02}q\x00.', 'scripts/pth_to_safetensors.py'),
  ],
)
def test_a_bad_file_is_one_line(tmp_path, capsys, name, content, words):
  path = tmp_path / name
  path.write_bytes(content)
  assert words in refused(capsys, 'dawn-lfg', path, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_bad_tensors_are_one_line(tmp_path, capsys):
  out, name = tmp_path / 'out', 'generator.first.conv.bias'
  for i, (x, problem) in enumerate(
    (
      (np.zeros(3, np.float32), 'misshaped tensors'),
      (np.full(4, np.nan, np.float32), 'not finite'),
      (np.full(4, np.inf, np.float32), 'not finite'),
    )
  ):
    path = save(tmp_path / f'{i}.safetensors', public.lfg() | {name: x})
    words = refused(capsys, 'dawn-lfg', path, out)
    assert problem in words and name in words and path in words
  path = save(tmp_path / 'more.npz', public.lfg() | {'else': np.zeros(2)})
  assert 'unknown tensors (1): else' in refused(capsys, 'dawn-lfg', path, out)
  assert not out.exists()


def test_a_truncated_file_is_one_line(tmp_path, capsys, lfg):
  path = tmp_path / 'cut.safetensors'
  whole = safetensors.numpy.save(
    {k: np.ascontiguousarray(x) for k, x in public.lfg().items()}
  )
  path.write_bytes(whole[:-100])
  words = refused(capsys, 'dawn-lfg', path, tmp_path / 'out')
  assert f'{path} cannot be read' in words


def test_models_that_do_not_belong_together_are_refused(tmp_path, capsys, lfg):
  folder = tmp_path / 'dawn'
  unet = save(tmp_path / 'unet.npz', public.unet())
  assert main(['convert', 'dawn-unet', unet, str(folder)]) == 0
  both = save(tmp_path / 'both.npz', public.pbnet(8, audio_features=1024))
  words = refused(capsys, 'dawn-pbnet', both, folder)
  assert 'has diffusion for mel; this is for hubert-large' in words
  words = refused(capsys, 'dawn-lfg', lfg, folder, '--resolution', 128)
  assert 'is for 256 pixels, not 128' in words
  pose = save(tmp_path / 'pose.npz', public.pbnet(6))
  words = refused(capsys, 'dawn-pbnet', pose, pose, tmp_path / 'out')
  assert 'not of pose and pose' in words
  config = json.loads((folder / 'config.json').read_text())
  assert list(config['phases']) == ['diffusion']


def test_trained_weights_are_left_alone(tmp_path, capsys, lfg, tiny_weights):
  words = refused(capsys, 'dawn-lfg', lfg, tiny_weights, '--resolution', 64)
  assert 'was trained with another fde' in words
  for size in (0, 99999):
    words = refused(
      capsys, 'dawn-lfg', lfg, tmp_path / 'out', '--resolution', size
    )
    assert f'resolution {size} is not in' in words


def test_parts_of_one_model_are_joined(tmp_path, capsys):
  given = public.lfg()
  names = sorted(given)
  halves = [names[::2], names[1::2]]
  paths = [
    save(tmp_path / f'{i}.npz', {name: given[name] for name in half})
    for i, half in enumerate(halves)
  ]
  assert main(['convert', 'dawn-lfg', *paths, str(tmp_path / 'out')]) == 0
  words = refused(capsys, 'dawn-lfg', paths[0], paths[0], tmp_path / 'out2')
  assert 'is in two of the files' in words


@pytest.mark.parametrize(
  'kind, parameters, features',
  [
    # Without the mask's vector and the magnitudes of a weight norm.
    ('hubert', 94_371_712 - 768 - 128, 768),
    # Of the sixteen convolutions the last three come after relu5_1.
    ('vgg19', 20_024_384 - 3 * 2_359_808, 0),
  ],
)
def test_other_models_are_described(kind, parameters, features):
  """Their tables fill their modules, at full size."""
  module = importlib.import_module(f'mdcf_jax.convert.{kind}')
  norm = {'encoder.layer_norm.bias': np.zeros(768, np.float32)}
  found = convert._describe(kind, module, norm)
  given = public.state_dict(found.table, found.shapes, public.zeros)
  variables = tensors.apply(given, found.table, found.shapes, module.DEAD)
  assert public.count(variables) == parameters
  assert found.audio_features == features


def test_networks_of_metrics_have_their_own_folder(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  given = random_tensors(raft.table('small'), raft.shapes('small'))
  path = save(tmp_path / 'raft.npz', given)
  assert main(['convert', 'raft', path]) == 0
  assert main(['convert', 'raft', path, str(tmp_path / 'other')]) == 0
  assert '990,162 parameters used' in capsys.readouterr().out
  folder = tmp_path / 'cache' / 'mdcf_jax' / 'metrics'
  assert [x.name for x in folder.iterdir()] == ['raft.safetensors']
  found = networks.Networks(v1)
  described = found.describe('raft')
  assert described['model'] == {'size': 'small'}
  assert len(described['source']['raft.npz']) == 64
  expected = tensors.apply(given, raft.table('small'), raft.shapes('small'))
  loaded = found.variables('raft')
  np.testing.assert_array_equal(
    loaded['params']['fnet']['stem']['kernel'],
    expected['params']['fnet']['stem']['kernel'],
  )
  for name in ('inception', 'lpips'):
    with pytest.raises(InputError, match=f'no {name} weights'):
      found.describe(name)


def test_another_variant_is_not_that_of_the_protocol(tmp_path):
  for model in ({'size': 'large'}, {}):
    networks.save(tmp_path, 'raft', {'params': {}}, {'model': model})
    with pytest.raises(InputError, match="v1 has 'small'"):
      networks.Networks(v1, tmp_path).describe('raft')
  networks.save(tmp_path, 'i3d', {'params': {}}, {})
  with pytest.raises(InputError, match='no network of'):
    networks.Networks(v1, tmp_path).describe('i3d')
  (tmp_path / 's3fd.safetensors').write_bytes(b'something else')
  with pytest.raises(InputError, match='damaged'):
    networks.Networks(v1, tmp_path).describe('s3fd')


def test_an_output_is_needed_for_what_generates(tmp_path, lfg, capsys):
  assert main(['convert', 'dawn-lfg', lfg]) == 2
  assert 'required: output' in capsys.readouterr().err

"""Programs are read without this package, and do what it does."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from mdcf_jax import InputError, weights
from mdcf_jax.cli.main import main
from mdcf_jax.clips import Clip
from mdcf_jax.export import write as exporting
from mdcf_jax.pipeline import Pipeline
from mdcf_jax.stages import Options
from tests.tiny_model import write_tiny_weights

STEPS = 2


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> pathlib.Path:
  """With an opening, so that no artefact is left out."""
  folder = tmp_path_factory.mktemp('weights') / 'small'
  return write_tiny_weights(folder, opening=True)


@pytest.fixture(scope='module')
def exported(small, tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('exported') / 'new'
  options = Options(steps=STEPS)
  return exporting.write(small, folder, options=options)


@pytest.fixture(scope='module')
def pipe(small) -> Pipeline:
  return Pipeline.from_pretrained(small, dtype='float32')


def given(seeds: list[int], frames: int) -> dict[str, np.ndarray]:
  """Clips of noise, `[len(seeds), ...]`."""
  rng = np.random.default_rng(frames)
  count = len(seeds)

  def draw(*shape):
    return 0.3 * rng.standard_normal((count, *shape)).astype(np.float32)

  pose = draw(6) * np.float32([10, 10, 10, 0.1, 0.1, 0.1])
  return dict(
    image=rng.integers(0, 256, (count, 64, 64, 3), np.uint8),
    audio_emb=draw(frames, 320),
    source_pose=pose,
    pose=pose[:, None] + 0.1 * draw(frames, 6),
    source_blink=0.3 + 0.1 * draw(2),
    blink=0.3 + 0.1 * draw(frames, 2),
    face_box=np.tile(np.float32([0.2, 0.15, 0.8, 0.9]), (count, 1)),
    frame_mask=np.ones((count, frames), np.float32),
    seed=np.array(seeds, np.uint32),
  )


def by_pipeline(pipe: Pipeline, arrays) -> np.ndarray:
  """What the package makes of each clip, `[B, T, R, R, 3]`."""
  made = []
  for i, seed in enumerate(arrays['seed']):
    clip = {k: x[i : i + 1] for k, x in arrays.items()}
    image, _ = clip.pop('image')[0], clip.pop('seed')
    frames = clip['frame_mask'].shape[1]
    clip = Clip(frames, image, clip, int(seed), Options(steps=STEPS))
    made.append(np.stack(list(pipe.generate([clip])[0])))
  return np.stack(made)


def code_of_the_page(repository) -> str:
  """The part of docs/export.md that needs no mdcf_jax."""
  page = (repository / 'docs' / 'export.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
  return code


@pytest.mark.slow
def test_the_page_makes_what_the_package_makes(
  exported, pipe, repository, tmp_path
):
  """In a process in which the package is not to be had, for two sizes."""
  sizes = {'one': given([7], 5), 'two': given([0, 2**31], 21)}
  for name, arrays in sizes.items():
    np.savez(tmp_path / f'{name}.npz', **arrays)
  code = (
    "import sys\nsys.modules['mdcf_jax'] = sys.modules['flax'] = None\n"
    f'{code_of_the_page(repository)}\n'
    f'for name in {list(sizes)}:\n'
    f"  with np.load(f'{tmp_path}/{{name}}.npz') as file:\n"
    f'    frames = generate({str(exported)!r}, dict(file))\n'
    f"  np.save(f'{tmp_path}/{{name}}.npy', frames)\n"
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=tmp_path)
  for name, arrays in sizes.items():
    found = np.load(tmp_path / f'{name}.npy')
    expected = by_pipeline(pipe, arrays)
    assert found.shape == expected.shape and expected.std() > 1
    # Summed in another order; rounding to uint8 may flip.
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_manifest_is_true(exported, pipe):
  about = json.loads((exported / 'manifest.json').read_text())
  assert about['platforms'] == ['cpu', 'cuda', 'tpu']
  assert about['steps'] == STEPS and about['resolution'] == 64
  names = ['encoder', 'speech', 'start', 'denoiser', 'latents', 'decoder']
  assert list(about['artefacts']) == names
  files = {'manifest.json'}
  for name, entry in about['artefacts'].items():
    for kind in ('program', 'weights'):
      path = exported / entry[kind]['file']
      assert exporting._file(path) == entry[kind]
      files.add(path.name)
    made = export.deserialize(
      bytearray((exported / f'{name}.stablehlo').read_bytes())
    )
    assert made.platforms == ('cpu', 'cuda', 'tpu')
    version = made.calling_convention_version
    assert version == entry['calling_convention_version']
    _, inputs = jax.tree.unflatten(made.in_tree, made.in_avals)[0]
    assert {k: exporting._words(x) for k, x in inputs.items()} == (
      entry['inputs']
    )
  assert {path.name for path in exported.iterdir()} == files
  frames = about['artefacts']['decoder']['outputs']['frames']
  assert frames == dict(shape=['b', 't', 64, 64, 3], dtype='uint8')
  # What only training needs is not there: the decoder sees no regions.
  assert (
    b'region_predictor' not in (exported / 'decoder.safetensors').read_bytes()
  )


def test_programs_tell_nothing_of_who_wrote_them(exported, repository):
  for path in exported.glob('*.stablehlo'):
    content = path.read_bytes()
    assert str(repository).encode() not in content and b'.py' not in content


@pytest.mark.slow
@pytest.mark.parametrize('batch, frames', [(1, 3), (2, 50)])
def test_a_decoder_of_any_number(exported, pipe, repository, batch, frames):
  scope = {}
  exec(code_of_the_page(repository), scope)
  arrays = given(list(range(batch)), frames)
  stages, variables = pipe._stages, pipe.variables
  rng = np.random.default_rng(0)
  shape = (batch, frames, 2, 2, pipe.lmae.latent_channels)
  z = rng.standard_normal(shape).astype(np.float32)
  known = arrays | scope['load'](exported, 'encoder')(arrays) | dict(z=z)
  found = np.asarray(scope['load'](exported, 'decoder')(known)['frames'])
  for i in range(batch):
    features, face = stages.encode(
      variables, arrays['image'][i][None]
    ).function(variables['fde'], arrays['image'][i][None])
    source = {'source_blink': arrays['source_blink'][i][None]}
    eyes = stages.eyes(face, source, arrays['blink'][i, :3])
    call = stages.decode(variables, features, z[i, :3], eyes)
    expected = np.asarray(call.function(*call.args)).astype(int)
    assert np.abs(found[i, :3] - expected).max() <= 1
  assert found.shape == (batch, frames, 64, 64, 3)


def test_other_folders_stay_as_they_are(small, tmp_path, capsys, monkeypatch):
  notes = tmp_path / 'notes'
  notes.mkdir()
  (notes / 'a.txt').write_text('mine')
  command = ['export', '--weights', str(small), '--output']
  for words, reason in (
    ([str(notes)], 'is no export'),
    ([str(notes / 'a.txt')], 'is no folder'),
    ([str(small)], 'is no export'),
    ([str(tmp_path / 'new'), '--platforms', 'abacus'], "'abacus' is none of"),
    ([str(tmp_path / 'new'), '--frames', '0'], 'frames 0 is less than 1'),
    ([str(tmp_path / 'new'), '--resolution', '100'], 'multiple of 64'),
    ([str(tmp_path / 'new'), '--steps', '0'], 'steps 0'),
  ):
    assert main([*command, *words]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count('\n') == 1

  def fail(*_):
    raise InputError('half-way')

  old = tmp_path / 'old'
  old.mkdir()
  (old / 'manifest.json').write_text('{}')
  monkeypatch.setattr(exporting, '_write_one', fail)
  assert main([*command, str(old)]) == 2
  assert [path.name for path in tmp_path.glob('*old*')] == ['old']
  assert (old / 'manifest.json').read_text() == '{}'
  assert not (tmp_path / 'new').exists()


@pytest.mark.slow
def test_attention_over_all_frames_needs_their_number(small, tmp_path):
  """Head motion comes with it."""
  config = weights.load_config(small)
  config['model']['denoiser'] = config['model']['denoiser'] | {'window': None}
  folder = tmp_path / 'all'
  for path in small.glob('*.safetensors'):
    folder.mkdir(exist_ok=True)
    (folder / path.name).write_bytes(path.read_bytes())
  weights.save_config(folder, config)
  with pytest.raises(InputError, match='give --frames') as error:
    exporting.write(folder, tmp_path / 'new', platforms=['cpu'])
  assert '\n' not in str(error.value)
  made = exporting.write(folder, tmp_path / 'new', platforms=['cpu'], frames=9)
  about = json.loads((made / 'manifest.json').read_text())
  assert about['artefacts']['motion']['outputs'] == {
    'pose': dict(shape=['b', 9, 6], dtype='float32'),
    'blink': dict(shape=['b', 9, 2], dtype='float32'),
  }

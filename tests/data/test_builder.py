"""Records to array_record and back, without TensorFlow."""

import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mdcf_jax.data import builder, records, synthetic
from mdcf_jax.errors import InputError


@pytest.fixture(scope='module')
def clips():
  loud = [synthetic.make_clip(seed, 6 + seed, 32) for seed in range(3)]
  silent = synthetic.make_clip(9, 5, 32) | {
    'mel': np.zeros((0, 320), np.float16),
    'waveform': np.zeros(0, np.int16),
  }
  return [*loud, silent]


@pytest.fixture(scope='module')
def dataset(clips, tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  paths = []
  for clip in clips:
    paths.append(folder / f'{clip["id"]}.npz')
    records.save(paths[-1], clip)
  builder.build({'train': paths[:3], 'val': paths[3:]}, folder / 'set')
  return folder / 'set'


def _assert_equal(found, expected):
  assert set(found) == set(expected)
  for key, value in expected.items():
    if isinstance(value, np.ndarray):
      assert found[key].dtype == value.dtype
      np.testing.assert_array_equal(found[key], value)
    elif isinstance(value, float):
      # Stored in 32 bits; unknown figures are NaN.
      assert math.isclose(found[key], value, rel_tol=1e-6) or (
        math.isnan(found[key]) and math.isnan(value)
      ), key
    else:
      assert found[key] == value, key


def test_npz_round_trip(clips, tmp_path):
  for clip in clips:
    records.save(tmp_path / 'a.npz', clip)
    _assert_equal(records.load(tmp_path / 'a.npz'), clip)
  assert [path.name for path in tmp_path.iterdir()] == ['a.npz']


def test_dataset_round_trip(clips, dataset):
  expected = {clip['id']: clip for clip in clips}
  for split, count in (('train', 3), ('val', 1)):
    source = builder.open_source(dataset, split)
    assert len(source) == count
    for index in reversed(range(count)):  # Random access.
      record = records.from_source(source[index])
      _assert_equal(record, expected[record['id']])


def test_index_has_the_order_of_the_source(dataset):
  source = builder.open_source(dataset, 'train')
  index = builder.read_index(dataset, 'train')
  assert [info.id.encode() for info in index] == [
    source[i]['id'] for i in range(len(source))
  ]
  assert [info.has_audio for info in index] == [True] * 3
  assert not builder.read_index(dataset, 'val')[0].has_audio


def test_only_a_sure_lag_counts():
  for score, lag in ((0.5, -5.0), (0.3, 0.0), (float('nan'), 0.0)):
    assert records.sure_lag({'lag': -5.0, 'lag_score': score}) == lag


def test_dataset_without_an_index_is_read(dataset, tmp_path):
  copy = shutil.copytree(dataset, tmp_path / 'copy')
  next(copy.rglob(builder.INDEX)).unlink()
  expected = builder.read_index(dataset, 'train')
  assert builder.read_index(copy, 'train') == expected


def test_tfds_reads_it_by_name(dataset):
  import tensorflow_datasets as tfds

  source = tfds.data_source('talking_heads', split='val', data_dir=str(dataset))
  assert len(source) == 1


def test_tensorflow_is_never_imported(dataset):
  code = (
    'import sys\n'
    'from mdcf_jax.data import builder, pipeline\n'
    f'source = builder.open_source({str(dataset)!r}, "train")\n'
    'source[0]\n'
    'assert "tensorflow" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
  assert 'tensorflow' not in sys.modules


def test_errors_name_the_folder(dataset, tmp_path):
  with pytest.raises(InputError, match='no such folder'):
    builder.open_source(tmp_path / 'absent', 'train')
  with pytest.raises(InputError, match='not a prepared dataset'):
    builder.open_source(tmp_path, 'train')
  with pytest.raises(InputError, match="no split 'test'; it has train, val"):
    builder.open_source(dataset, 'test')
  with pytest.raises(InputError, match='no clips'):
    builder.build({'train': []}, tmp_path)


def test_broken_records_are_refused(clips, tmp_path):
  with pytest.raises(InputError, match='7 rows of pose for 6 frames'):
    records.validate(clips[0] | {'pose': np.zeros((7, 6), np.float32)})
  with pytest.raises(InputError, match='blink is float64'):
    records.validate(clips[0] | {'blink': np.zeros((6, 2))})
  (tmp_path / 'a.npz').write_bytes(b'PK no zip')
  with pytest.raises(InputError, match='not a prepared clip'):
    records.load(tmp_path / 'a.npz')


def _cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
  'name,damage',
  [
    ('dataset_info.json', lambda path: path.write_text('{}')),
    ('dataset_info.json', lambda path: path.write_text('x')),
    ('index.json', lambda path: path.write_text('{')),
    ('index.json', lambda path: path.write_text('{}')),
    ('index.json', lambda path: path.write_text('{"train": [{"a": 1}]}')),
    ('talking_heads-train.array_record', _cut),
    ('talking_heads-train.array_record', lambda path: path.unlink()),
  ],
)
def test_damaged_files_are_named(dataset, tmp_path, name, damage):
  from configs import base
  from mdcf_jax.data import pipeline

  copy = shutil.copytree(dataset, tmp_path / 'copy')
  damage(next(copy.rglob(f'{name}*')))
  config = base.get_config('fde', 'tiny')
  config.data.dir = str(copy)
  with pytest.raises(InputError, match=name) as error:
    stream = pipeline.create_dataset(
      config, 'train', process_index=0, process_count=1
    )
    next(stream)
  assert '\n' not in str(error.value)


def _build(folder, clips, **kwargs):
  paths = [folder / f'{i}.npz' for i in range(len(clips))]
  for path, clip in zip(paths, clips):
    records.save(path, clip)
  return builder.build({'train': paths}, folder / 'set', **kwargs)


def test_one_dataset_serves_every_encoder_it_has(clips, tmp_path):
  from configs import base
  from mdcf_jax.data import pipeline

  hubert = np.arange(6 * 768).reshape(6, 768).astype(np.float16)
  _build(tmp_path, [clips[0] | {'hubert': hubert}])
  config = base.get_config('pbnet', 'tiny')
  config.data.dir, config.data.num_frames = str(tmp_path / 'set'), 6
  config.batch_size, config.data.audio_jitter = 2, 0.0

  def heard(audio_encoder):
    config.audio_encoder = audio_encoder
    stream = pipeline.create_dataset(
      config, 'train', process_index=0, process_count=1
    )
    return next(stream)['audio_emb']

  found = builder.audio_encoders(tmp_path / 'set')
  assert found == ('mel', 'hubert-base')
  np.testing.assert_array_equal(heard('hubert-base')[0], hubert)
  np.testing.assert_array_equal(heard('mel')[1], clips[0]['mel'])
  with pytest.raises(InputError, match='mel, hubert-base; .* is hubert-large'):
    heard('hubert-large')


def test_some_clips_without_hubert_are_an_error(clips, tmp_path):
  with_hubert = clips[0] | {'hubert': np.ones((6, 768), np.float16)}
  with pytest.raises(InputError, match=r'no features of HuBERT.*have 768'):
    _build(tmp_path, [with_hubert, clips[1]])
  with_hubert['hubert'] = np.ones((6, 7), np.float16)
  with pytest.raises(InputError, match=r'hubert is float16 \(6, 7\)'):
    records.save(tmp_path / 'b.npz', with_hubert)


@pytest.mark.parametrize('name', sorted(builder.BUILDERS))
@pytest.mark.parametrize('width', [0, 1024])
def test_tfds_reads_every_builder_by_name(clips, tmp_path, name, width):
  import tensorflow_datasets as tfds

  hubert = {'hubert': np.ones((6, width), np.float16)} if width else {}
  folder = _build(tmp_path, [clips[0] | hubert], name=name)
  assert folder == tmp_path / 'set' / name / '2.0.0'
  source = tfds.data_source(name, split='train', data_dir=tmp_path / 'set')
  _assert_equal(records.from_source(source[0]), clips[0] | hubert)


def test_two_datasets_in_a_folder_must_be_named(clips, tmp_path):
  for name in ('hdtf', 'voxceleb2'):
    _build(tmp_path, clips[:1], name=name)
  with pytest.raises(InputError, match='hdtf, voxceleb2; name the folder'):
    builder.splits(tmp_path / 'set')
  assert builder.splits(tmp_path / 'set' / 'hdtf') == ['train']


def test_datasets_of_other_versions_are_refused(dataset, tmp_path):
  copy = shutil.copytree(dataset, tmp_path / 'copy')
  info = next(copy.rglob('dataset_info.json'))
  text = info.read_text()
  for version, said in (
    ('1.0.0', 'older .* prepare it again'),
    ('9.0.0', 'newer'),
  ):
    info.write_text(re.sub(r'("version": ")2\.0\.0', rf'\g<1>{version}', text))
    with pytest.raises(InputError, match=said):
      builder.open_source(copy, 'train')


def test_figures_of_quality_are_kept(clips, dataset):
  record = records.from_source(builder.open_source(dataset, 'train')[0])
  assert record['source_fps'] == 25 and np.isnan(record['lag'])
  with pytest.raises(InputError, match='no lag'):
    records.validate({k: x for k, x in clips[0].items() if k != 'lag'})

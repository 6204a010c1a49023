"""The stream of batches: repeatable, resumable, equal on any host count."""

import json
import sys

import numpy as np
import pytest

from configs import base
from mdcf_jax.data import builder, pipeline, records, synthetic
from mdcf_jax.errors import InputError

PHASES = ('fde', 'lmae', 'diffusion', 'pbnet')


def _config(phase='fde', **data):
  config = base.get_config(phase, 'tiny')
  config.batch_size, config.resolution = 8, 32
  config.data.num_frames = 6
  config.data.synthetic_clips, config.data.synthetic_frames = 4, 8
  config.data.update(data)
  return config


def _stream(config, split='train', index=0, count=1, **kwargs):
  return pipeline.create_dataset(
    config, split, process_index=index, process_count=count, **kwargs
  )


def _take(stream, count):
  return [next(stream) for _ in range(count)]


def _assert_equal(found, expected):
  assert len(found) == len(expected)
  for one, other in zip(found, expected):
    assert set(one) == set(other)
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.mark.parametrize('phase', PHASES)
def test_batches_of_each_phase(phase):
  batch = next(_stream(_config(phase)))
  assert set(batch) == {*pipeline.PHASE_KEYS[phase], 'id'}
  assert all(str(name).startswith('synthetic-') for name in batch.pop('id'))
  pair = {
    'source': (8, 32, 32, 3),
    'driving': (8, 32, 32, 3),
    'source_landmarks': (8, 8, 2),
    'driving_landmarks': (8, 8, 2),
    'mouth_box': (8, 4),
  }
  window = {
    'source': (8, 32, 32, 3),
    'source_pose': (8, 6),
    'source_blink': (8, 2),
    'source_opening': (8,),
    'source_landmarks': (8, 8, 2),
    'video': (8, 6, 32, 32, 3),
    'audio_emb': (8, 6, 320),
    'pose': (8, 6, 6),
    'blink': (8, 6, 2),
    'face_box': (8, 4),
    'mouth_box': (8, 6, 4),
    'opening': (8, 6),
    'landmarks': (8, 6, 8, 2),
    'frame_mask': (8, 6),
  }
  shapes = pair if phase in ('fde', 'lmae') else window
  for key, value in batch.items():
    assert value.dtype == np.float32
    assert value.shape == shapes[key]
    assert np.isfinite(value).all()
  for key in {'source', 'driving', 'video'} & set(batch):
    assert -1 <= batch[key].min() < -0.2 and 0.2 < batch[key].max() <= 1


@pytest.mark.parametrize('phase', PHASES)
def test_seed_and_step_decide_the_batch(phase):
  batches = _take(_stream(_config(phase)), 4)
  _assert_equal(_take(_stream(_config(phase)), 4), batches)
  threads = _config(phase, num_threads=1, prefetch=1)
  _assert_equal(_take(_stream(threads), 4), batches)
  other = next(_stream(_config(phase), seed=1))
  key = sorted(batches[0])[0]
  assert not np.array_equal(other[key], batches[0][key])


@pytest.mark.parametrize('phase', PHASES)
@pytest.mark.parametrize('count', [2, 4])
def test_any_number_of_hosts_draws_the_same_samples(count, phase):
  whole = _take(_stream(_config(phase)), 3)
  hosts = [
    _take(_stream(_config(phase), index=i, count=count), 3)
    for i in range(count)
  ]
  for step in range(3):
    for key, expected in whole[step].items():
      joined = np.concatenate([host[step][key] for host in hosts])
      np.testing.assert_array_equal(joined, expected)


@pytest.mark.parametrize(
  'phase,threads',
  [('fde', 0), ('fde', 1), ('fde', 4), ('lmae', 4), ('diffusion', 4)]
  + [('pbnet', 4)],
)
def test_state_is_restored_exactly(phase, threads):
  """In the middle of an epoch of 5 clips, with samples decoded ahead."""
  config = _config(phase, synthetic_clips=5, num_threads=threads)
  stream = _stream(config)
  _take(stream, 3)
  state = json.loads(json.dumps(stream.get_state()))  # As checkpoints do.
  expected = _take(stream, 4)
  fresh = _stream(config)
  fresh.set_state(state)
  assert fresh.get_state() == state
  _assert_equal(_take(fresh, 4), expected)
  used = _stream(_config(phase, synthetic_clips=5, num_threads=2))
  _take(used, 5)
  used.set_state(state)
  _assert_equal(_take(used, 4), expected)


@pytest.mark.parametrize('before,after', [(1, 2), (2, 4), (4, 1), (2, 2)])
def test_other_numbers_of_hosts_go_on_from_a_state(before, after):
  config = _config(synthetic_clips=5)
  whole = _take(_stream(config), 5)
  stopped = _stream(config, index=before - 1, count=before)
  _take(stopped, 3)
  state = stopped.get_state()
  for index in range(after):
    host = _stream(config, index=index, count=after)
    host.set_state(state)
    size = config.batch_size // after
    mine = slice(index * size, (index + 1) * size)
    parts = [{k: x[mine] for k, x in b.items()} for b in whole[3:]]
    _assert_equal(_take(host, 2), parts)


def test_hosts_begin_with_a_whole_batch():
  """After 12 samples, with batches of 8 now: four are left out, none twice."""
  config = _config()
  expected = _take(_stream(config), 3)[2]
  for index, half in enumerate((slice(0, 4), slice(4, 8))):
    host = _stream(config, index=index, count=2)
    host.set_state({'samples': 12})
    _assert_equal([next(host)], [{k: x[half] for k, x in expected.items()}])


def test_states_of_earlier_versions_are_understood():
  config = _config()
  expected = _take(_stream(config), 3)[2]
  stream = _stream(config)
  stream.set_state({'next_index': 16})
  _assert_equal([next(stream)], [expected])


@pytest.mark.parametrize('phase', ['diffusion', 'pbnet'])
def test_lengths_of_windows_are_drawn_for_each(phase):
  config = _config(phase, min_frames=3, num_frames=6)
  batches = _take(_stream(config), 4)
  lengths = np.concatenate([b['frame_mask'].sum(axis=1) for b in batches])
  assert set(lengths) == {3, 4, 5, 6}
  _assert_equal(_take(_stream(config), 4), batches)
  # The same ones on two hosts, each with its half of the batch.
  hosts = [next(_stream(config, index=i, count=2)) for i in range(2)]
  for half, host in zip((slice(0, 4), slice(4, 8)), hosts):
    _assert_equal([host], [{k: x[half] for k, x in batches[0].items()}])


def test_identities_are_groups():
  infos = [
    builder.ClipInfo(str(i), 'a' if i else 'b', 9, True) for i in range(9)
  ]
  groups = pipeline.group_clips(_config(), infos)
  assert sorted(len(group) for group in groups) == [1, 8]
  config = _config(balance_identities=False)
  assert len(pipeline.group_clips(config, infos)) == 9


@pytest.mark.parametrize('balance,share', [(True, 0.5), (False, 0.1)])
def test_one_person_does_not_fill_the_set(tmp_path, balance, share):
  """Of two people, one has nine clips of ten; blinks tell who it is."""
  paths = []
  for seed in range(10):
    clip = synthetic.make_clip(seed, 6, 32, identity=min(seed, 1))
    clip['blink'][:] = clip['identity'].endswith('0')
    paths.append(tmp_path / f'{seed}.npz')
    records.save(paths[-1], clip)
  builder.build({'train': paths}, tmp_path / 'set')
  config = _config(
    'pbnet', dir=str(tmp_path / 'set'), balance_identities=balance
  )
  config.batch_size = 20  # A whole number of epochs: exact, not on average.
  batches = _take(_stream(config), 3)
  found = np.concatenate([batch['blink'][:, 0, 0] for batch in batches])
  assert found.mean() == pytest.approx(share)


def test_voices_are_changed_in_training_alone():
  for split, same in (('train', False), ('val', True)):
    changed, plain = (
      next(_stream(_config('pbnet', audio_jitter=jitter), split=split))
      for jitter in (1.0, 0.0)
    )
    np.testing.assert_array_equal(changed['pose'][:, 0], plain['pose'][:, 0])
    assert np.array_equal(changed['audio_emb'], plain['audio_emb']) == same


def test_clips_without_sound_are_for_pairs_only():
  infos = [
    builder.ClipInfo('1', 'a', 9, False),
    builder.ClipInfo('2', 'b', 9, True),
  ]
  assert len(pipeline.group_clips(_config('lmae'), infos)) == 2
  groups = pipeline.group_clips(_config('pbnet'), infos)
  assert [group.tolist() for group in groups] == [[1]]
  with pytest.raises(InputError, match='no clip with sound'):
    pipeline.group_clips(_config('diffusion'), infos[:1])


def test_clips_with_late_sound_can_be_left_out():
  lags = 0.0, 6.0, -3.0
  infos = [builder.ClipInfo(str(x), 'a', 9, True, x) for x in lags]
  for max_lag, kept in ((15.0, [0, 1, 2]), (4.0, [0, 2]), (0.0, [0])):
    (group,) = pipeline.group_clips(_config('pbnet', max_lag=max_lag), infos)
    assert group.tolist() == kept
  (group,) = pipeline.group_clips(_config('fde', max_lag=0.0), infos)
  assert group.tolist() == [0, 1, 2]


def test_validation_is_not_augmented_and_has_other_people():
  config = _config(flip=True, min_zoom=0.3, color_jitter=0.9)
  plain = _config(flip=False, min_zoom=1.0, color_jitter=0.0, swap=False)
  _assert_equal(
    _take(_stream(config, 'val'), 2), _take(_stream(plain, 'val'), 2)
  )
  seeds = {
    record['identity']
    for split in ('train', 'val')
    for record in pipeline.SyntheticClips(split, 3, 2, 32)
  }
  assert len(seeds) == 6


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  folder = tmp_path_factory.mktemp('prepared')
  paths = []
  for seed in range(3):
    paths.append(folder / f'{seed}.npz')
    records.save(paths[-1], synthetic.make_clip(seed, 8, 64))
  builder.build({'train': paths}, folder / 'set')
  return str(folder / 'set')


def test_prepared_data_and_its_memory(prepared):
  config = _config(dir=prepared, cache_gb=0.0)
  batches = _take(_stream(config), 3)
  config.data.cache_gb = 1.0
  _assert_equal(_take(_stream(config), 3), batches)
  with pytest.raises(InputError, match="no split 'val'"):
    _stream(config, 'val')


def test_memory_of_read_clips_is_bounded(prepared):
  source = builder.open_source(prepared, 'train')
  size = sum(map(len, source[0]['frames']))
  clips = pipeline.CachedClips(source, int(1.5 * size))
  for index in (0, 1, 2, 0):
    assert clips[index]['id'] == source[index]['id'].decode()
  assert clips._size <= 1.5 * size


def test_cached_latents(prepared, tmp_path):
  for info in builder.read_index(prepared, 'train'):
    np.savez(
      tmp_path / f'{info.id}.npz',
      source_index=np.array([0, 7]),
      mean=np.ones((2, 8, 1, 1, 4), np.float16),
      logvar=np.zeros((2, 8, 1, 1, 4), np.float16),
      features=np.zeros((2, 8, 8, 3), np.float16),
    )
  config = _config('diffusion', dir=prepared, latents=str(tmp_path))
  batch = next(_stream(config))
  assert 'video' not in batch
  assert batch['z_mean'].shape == batch['z_logvar'].shape == (8, 6, 1, 1, 4)
  assert batch['source'].shape == (8, 32, 32, 3)


def test_clips_of_the_diffusion_can_be_seen_and_heard(tmp_path):
  """Also where latents stand for the frames in training."""
  config = _config('diffusion')
  assert 'waveform' not in next(_stream(config, 'val'))
  batch = next(_stream(config, 'val', to_show=True))
  assert batch['waveform'].shape == (8, 6 * 640)
  assert batch['waveform'].any(axis=1).all()
  clip = pipeline.SyntheticClips('val', 1, 8, 32)[0]
  np.savez(
    tmp_path / f'{clip["id"]}.npz',
    source_index=np.array([0]),
    mean=np.ones((1, 8, 1, 1, 4), np.float16),
    logvar=np.zeros((1, 8, 1, 1, 4), np.float16),
    features=np.zeros((1, 8, 8, 3), np.float16),
  )
  config.data.latents = str(tmp_path)
  cached = next(_stream(config, 'val', to_show=True))
  assert 'z_mean' in cached
  for key in ('video', 'waveform', 'pose'):
    np.testing.assert_array_equal(cached[key], batch[key])


def test_keys_choose_arrays():
  batch = next(_stream(_config(keys=('source', 'driving'))))
  assert set(batch) == {'source', 'driving', 'id'}
  with pytest.raises(InputError, match='fde has no video'):
    _stream(_config(keys=('source', 'video')))


def test_bad_values_are_refused():
  for data in ({'source': 'last'}, {'min_zoom': 0.0}, {'min_zoom': 2.0}):
    with pytest.raises(InputError, match='config.data'):
      _stream(_config(**data))
  with pytest.raises(InputError, match='no such folder'):
    _stream(_config(dir='/absent'))


def test_no_tensorflow():
  assert 'tensorflow' not in sys.modules

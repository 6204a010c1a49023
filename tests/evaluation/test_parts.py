"""Shares of clips that merge, the cache, and clips of any length."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.evaluation import clips, report, run
from mdcf_jax.evaluation.sets import Statistics
from mdcf_jax.media import video
from tests.evaluation import small
from tests.metrics import pictures

NAMES = ['fid', 'kid', 'fvd16', 'psnr', 'face', 'landmarks']


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
  small.stand_in(monkeypatch)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Five clips of both sides."""
  folder = tmp_path_factory.mktemp('clips')
  for i in range(5):
    frames = small.lit(small.flicker(32, seed=i))
    small.write(folder / 'real' / f'{i}.mp4', frames)
    small.write(folder / 'fake' / f'{i}.mp4', pictures.blur(frames, 1))
  return folder / 'real', folder / 'fake'


@pytest.fixture(scope='module')
def whole(folders, tmp_path_factory):
  with pytest.MonkeyPatch.context() as monkeypatch:
    small.stand_in(monkeypatch)
    cache = tmp_path_factory.mktemp('cache')
    part = small.evaluate(*folders, NAMES, cache=cache)
  return report.make(part, small.PROTOCOL), cache


def test_merged_shares_are_the_whole(tmp_path, folders, whole):
  parts = []
  for i in (2, 0, 1):
    part = small.evaluate(*folders, NAMES, shard=(i, 3), cache=whole[1])
    run.save(part, tmp_path / f'{i}.npz')
    parts.append(run.load(tmp_path / f'{i}.npz', small.PROTOCOL))
  parts[0].header['hardware'] = ['another machine']
  found = report.make(run.merge(parts), small.PROTOCOL)
  assert found['clips'] == whole[0]['clips']
  assert found['curves'] == whole[0]['curves']
  assert set(found['hardware']) == {'another machine', *whole[0]['hardware']}
  for name, score in whole[0]['scores'].items():
    other = found['scores'][name]
    # Sums in another order, in float64: of numbers to 255 squared.
    assert other['value'] == pytest.approx(score['value'], rel=1e-9, abs=1e-7)
    assert other['count'] == score['count']
  with pytest.raises(InputError, match='each is needed, once'):
    run.merge(parts[:2])
  with pytest.raises(InputError, match='each is needed, once'):
    run.merge([*parts[:2], parts[0]])
  other = dataclasses.replace(parts[1], header=parts[1].header | {'weights': 1})
  with pytest.raises(InputError, match='weights differ'):
    run.merge([parts[0], other, parts[2]])
  with pytest.raises(InputError, match='another protocol'):
    changed = dataclasses.replace(small.PROTOCOL, skip=0)
    run.load(tmp_path / '0.npz', changed)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 not much'])
def test_what_is_no_part_is_one_line(tmp_path, content):
  path = tmp_path / 'part.npz'
  path.write_bytes(content)
  with pytest.raises(InputError, match='part.npz cannot be read'):
    run.load(path, small.PROTOCOL)


def test_the_cache_saves_decoding(folders, whole, monkeypatch):
  expected, cache = whole

  def refuse(*args, **options):
    raise AssertionError('decoded')

  monkeypatch.setattr(video, 'iter_frames', refuse)
  again = report.make(
    small.evaluate(*folders, NAMES, cache=cache), small.PROTOCOL
  )
  assert json.dumps(again) == json.dumps(expected)
  with pytest.raises(AssertionError, match='decoded'):
    networks = small.StandIns()
    monkeypatch.setattr(networks, 'key', lambda name: 'other weights')
    small.evaluate(*folders, NAMES, cache=cache, networks=networks)


def test_a_damaged_cache_is_measured_again(folders, whole, tmp_path):
  small.evaluate(*folders, ['psnr'], cache=tmp_path)
  stored = sorted(tmp_path.rglob('*.npz'))
  assert stored and not list(tmp_path.rglob('*.part'))
  for path in stored:
    path.write_bytes(path.read_bytes()[:50])
  part = small.evaluate(*folders, ['psnr'], cache=tmp_path)
  found = report.make(part, small.PROTOCOL)['scores']['psnr']
  assert found == whole[0]['scores']['psnr']


def test_a_sample_does_not_depend_on_the_order():
  rng = np.random.default_rng(0)
  given = [(f'clip {i}', rng.normal(size=(20, 3))) for i in range(4)]
  whole = Statistics()
  for name, x in given:
    whole = Statistics.merge(whole, Statistics.of(name, x, 30), 30)
  pairs = [
    Statistics.merge(*(Statistics.of(*x, 30) for x in some), 30)
    for some in (given[2:], given[:2])
  ]
  other = Statistics.merge(*pairs, 30)
  assert len(whole.sample) == 30 and whole.count == other.count == 80
  np.testing.assert_array_equal(whole.sample, other.sample)


def test_long_clips_are_not_held_in_memory():
  """1500 frames of 18 MB through parts of 32 frames."""
  frame = np.zeros((64, 64, 3), np.uint8)
  tracemalloc.start()
  try:
    frames = clips.spool((frame + i % 9 for i in range(1500)), 64)
    assert frames.shape == (1500, 64, 64, 3) and frames[8, 0, 0, 0] == 8
    count = 0
    for (part,) in clips.chunks(frames, skip=1, overlap=1):
      count += len(part) - 1
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert count == 1498 and peak < 2e6


def test_names_of_clips(tmp_path):
  frames = pictures.frames(2, 16)
  for name in ('a/x.mp4', 'y.mkv', '.hidden/z.mp4'):
    small.write(tmp_path / 'real' / name, frames)
  small.write(tmp_path / 'fake' / 'a' / 'x.mkv', frames)
  (tmp_path / 'fake' / 'a' / 'x.wav').write_bytes(b'beside it')
  items = clips.find_items(tmp_path / 'real', tmp_path / 'fake', True)
  assert [(x.name, bool(x.real), bool(x.fake)) for x in items] == [
    ('a/x', True, True),
    ('y', True, False),
  ]
  small.write(tmp_path / 'fake' / 'a' / 'x.mp4', frames)
  with pytest.raises(InputError, match='have one name'):
    clips.find_items(tmp_path / 'real', tmp_path / 'fake', True)
  small.write(tmp_path / 'other' / 'q.mp4', frames)
  with pytest.raises(InputError, match='--unpaired'):
    clips.find_items(tmp_path / 'real', tmp_path / 'other', True)
  with pytest.raises(InputError, match='no such folder'):
    clips.find_items(tmp_path / 'none', tmp_path / 'other', True)
  (tmp_path / 'void').mkdir()
  with pytest.raises(InputError, match='no clips'):
    clips.find_items(tmp_path / 'void', tmp_path / 'other', True)


def test_curves_are_the_scores_of_frames(whole):
  """Clips are equally long, so the mean of a curve is the score."""
  found, _ = whole
  for name, skipped in (('psnr', 1), ('lmd', 0), ('mouth_lmd_aligned', 0)):
    curve = found['curves']['fake'][name]
    assert curve['count'] == [0] * skipped + [5] * (32 - skipped)
    assert curve['mean'][:skipped] == [None] * skipped
    mean = np.mean(curve['mean'][skipped:])
    # Numbers of frames are kept to five digits.
    score = found['scores'][name]['value']
    assert mean == pytest.approx(score, rel=1e-4, abs=1e-6)
  assert not any(
    'series' in key for row in found['clips'].values() for key in row
  )

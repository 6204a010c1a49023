"""Mean and spread of pose and blink, clip after clip."""

import dataclasses
import json

import numpy as np
import pytest

from mdcf_jax.data import builder, records, statistics, synthetic
from mdcf_jax.errors import InputError


def _record(rng, count, found=1.0):
  offset = 1000 * rng.standard_normal(6)  # A person's own pose.
  return {
    'pose': np.float32(offset + rng.standard_normal((count, 6))),
    'blink': np.float32(0.3 + 0.1 * rng.standard_normal((count, 2))),
    'detected': rng.random(count) < found,
  }


def test_clip_after_clip_is_the_whole():
  rng = np.random.default_rng(0)
  clips = [_record(rng, count, 0.7) for count in (5, 400, 1, 90)]
  clips.append(_record(rng, 8, 0.0))  # No face at all.
  found = statistics.Accumulator()
  for clip in clips:
    found.add(clip)
  result = found.result()
  for name in ('pose', 'blink'):
    parts = [np.float64(c[name][c['detected']]) for c in clips]
    parts = [x for x in parts if len(x)]
    joined, moments = np.concatenate(parts), getattr(result, name)
    assert result.num_frames == len(joined)
    # float64 on both sides, of numbers near 1000.
    np.testing.assert_allclose(moments.mean, joined.mean(0), rtol=1e-9)
    np.testing.assert_allclose(moments.std, joined.std(0), rtol=1e-9)
    # The mean over all pairs of frames of a clip, as its name says.
    pairs = [np.square(x[:, None] - x).mean((0, 1)) for x in parts]
    weights = [len(x) for x in parts]
    expected = np.sqrt(np.average(pairs, axis=0, weights=weights))
    np.testing.assert_allclose(moments.change, expected, rtol=1e-6)


def test_nothing_added_is_nothing():
  assert statistics.Accumulator().result() is None


def test_json_round_trip():
  found = statistics.Accumulator()
  found.add(_record(np.random.default_rng(1), 9))
  stored = json.loads(json.dumps(dataclasses.asdict(found.result())))
  assert statistics.from_json(stored) == found.result()
  stored['pose']['mean'].pop()
  with pytest.raises(ValueError, match='six'):
    statistics.from_json(stored)


def test_datasets_keep_those_of_their_training_clips(tmp_path):
  paths, expected = {}, statistics.Accumulator()
  for split, seeds in (('train', range(3)), ('val', range(3, 5))):
    paths[split] = [tmp_path / f'{seed}.npz' for seed in seeds]
    for seed, path in zip(seeds, paths[split]):
      clip = synthetic.make_clip(seed, 6, 32)
      clip['detected'][seed] = False
      records.save(path, clip)
  for path in paths['train']:
    expected.add(records.load(path))
  folder = builder.build(paths, tmp_path / 'set')
  assert builder.read_statistics(folder) == expected.result()
  (folder / builder.STATISTICS).write_text('{"pose": {}}')
  with pytest.raises(InputError, match=r'statistics\.json'):
    builder.read_statistics(folder)
  (folder / builder.STATISTICS).unlink()  # Then the clips are read for them.
  again = builder.read_statistics(tmp_path / 'set')
  # Stored in another order.
  np.testing.assert_allclose(
    again.pose.change, expected.result().pose.change, rtol=1e-9
  )
  assert again.num_frames == 3 * 5


def test_a_set_without_faces_has_none(tmp_path):
  clip = synthetic.make_clip(0, 6, 32)
  records.save(tmp_path / 'a.npz', clip | {'detected': np.zeros(6, bool)})
  folder = builder.build({'train': [tmp_path / 'a.npz']}, tmp_path / 'set')
  with pytest.raises(InputError, match='no frame with a face'):
    builder.read_statistics(folder)

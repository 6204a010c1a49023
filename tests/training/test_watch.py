"""Lines, scalars and pictures of a run."""

import json

import numpy as np
import pytest

from mdcf_jax.training import watch


@pytest.mark.parametrize(
  'seconds,text',
  [(0, '0s'), (59.9, '59s'), (200, '3m20s'), (18120, '5h02m'), (-1, '0s')],
)
def test_durations(seconds, text):
  assert watch.duration(seconds) == text


def test_montage_has_a_row_per_example():
  pictures = np.linspace(-2, 2, 2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
  picture = watch.montage(pictures)
  assert picture.shape == (8, 5, 3)
  assert picture.dtype == np.uint8
  assert picture.min() == 0 and picture.max() == 255


@pytest.mark.parametrize('frames,columns', [(3, 3), (20, 8)])
def test_montage_of_clips_shows_some_frames(frames, columns):
  clips = np.zeros((2, frames, 4, 5, 3))
  clips[:, -1] = 1  # The last frame is always shown.
  picture = watch.montage(clips)
  assert picture.shape == (8, 5 * columns, 3)
  assert picture[0, -1, 0] == 255 and picture[0, 0, 0] == 128


@pytest.mark.parametrize('channels', [1, 2])
def test_motion_is_drawn(channels):
  picture = watch.montage(np.zeros((2, 4, 4, channels)))
  assert picture.shape == (8, 4, 3)
  assert picture.dtype == np.uint8


def test_clock_leaves_pauses_out(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(watch.time, 'perf_counter', lambda: now[0])
  clock = watch.Clock(0, 100)
  now[0] = 60.0
  clock.pause(1)
  assert clock.lap(1)['steps_per_second'] == 0  # And no division by it.
  clock.wait(1.0)
  now[0] = 64.0
  lap = clock.lap(21)
  assert lap == dict(
    steps_per_second=5.0, data_wait=0.25, seconds_left=(100 - 21) / 5
  )


def test_scalars_are_lines_of_json(tmp_path):
  for step in (1, 2):  # A resumed run adds to the file.
    with watch.Watch(tmp_path) as run:
      run.scalars(step, {'train/loss': np.float32(0.5)})
  lines = (tmp_path / 'scalars.jsonl').read_text().splitlines()
  assert [json.loads(x) for x in lines] == [
    {'step': 1, 'train/loss': 0.5},
    {'step': 2, 'train/loss': 0.5},
  ]


def test_other_processes_write_nothing(tmp_path):
  with watch.Watch(tmp_path, enabled=False) as run:
    run.scalars(1, {'train/loss': 0.5})
    run.pictures(1, {'image': np.zeros((1, 4, 4, 3))})
  assert not list(tmp_path.iterdir())

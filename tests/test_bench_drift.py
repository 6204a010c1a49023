"""Windows of a long video, of frames that pass by once."""

import dataclasses

import numpy as np
import pytest

from bench import drift
from mdcf_jax.errors import InputError
from tests.metrics import face_tracks, pictures


def test_frames_pass_by_once_and_few_are_kept():
  alive = []

  def frames():
    for i in range(10):
      alive.append(i)
      yield np.full((2, 2, 3), i, np.uint8)

  found = drift.windows(frames(), 4)
  first, some = next(found)
  assert (first, len(some), len(alive)) == (0, 4, 4)
  rest = [(first, len(some), int(some[0, 0, 0, 0])) for first, some in found]
  assert rest == [(4, 4, 4), (8, 2, 8)]


def meter(monkeypatch, model, track=None):
  def find():
    if model is None:
      raise InputError('no model')
    return model

  monkeypatch.setattr(drift.landmarker, 'find_model', find)
  if track:
    monkeypatch.setattr(drift.faces, 'track_faces', track)
  return drift.Meter(np.zeros((32, 32, 3), np.uint8), None)


def test_blur_is_seen_and_what_is_missing_is_blank(monkeypatch):
  measure = meter(monkeypatch, None)
  assert 'faces not computed: no model' in measure.notes
  frames = pictures.frames(8, 32)
  windows = [measure(0, frames), measure(8, pictures.blur(frames, 2))]
  first, second = drift.rows(windows)
  assert first[0] == '0-7' and first[2] == '1.00'
  assert float(second[2]) < 0.5
  assert first[3] == first[4] == first[7] == ''


def test_a_face_that_changes_its_shape_is_seen(monkeypatch):
  """Turned and moved it is the same face; wider it is not."""
  still = face_tracks.track(np.full(8, 0.05))
  shapes = [still.landmarks, still.landmarks * 0.8 + 0.1]
  wide = still.landmarks.copy()
  cheeks = np.setdiff1d(drift.STILL, drift.landmarks.STEADY)
  wide[:, cheeks, 0] += 0.05 * (wide[:, cheeks, 0] - 0.5)
  shapes.append(wide)
  tracks = iter([dataclasses.replace(still, landmarks=x) for x in shapes])
  measure = meter(monkeypatch, 'a model', lambda *_: next(tracks))
  frames = pictures.frames(8, 32)
  rows = drift.rows([measure(8 * i, frames) for i in range(3)])
  moved = [float(row[4]) for row in rows]
  assert moved[0] == 0 and moved[1] == pytest.approx(0, abs=1e-4)
  assert moved[2] > 0.001


def test_recordings_are_repeated(monkeypatch):
  pieces = {'a': np.ones(100), 'b': np.zeros(60)}
  monkeypatch.setattr(drift.audio, 'read_audio', pieces.__getitem__)
  found = drift.speech(['a', 'b'], 1)
  assert len(found) == drift.SAMPLES
  np.testing.assert_array_equal(found[:320], np.tile(found[:160], 2))
  assert found[:160].sum() == 100

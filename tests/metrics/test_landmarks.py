"""Scores of moving faces: known answers, lost frames, and a real clip."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from mdcf_jax.errors import NoFace, NoScore
from mdcf_jax.media import faces
from mdcf_jax.metrics import landmarks, sharpness
from tests.metrics import face_tracks

SHARED = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared'))
FACE_MODEL = SHARED / 'weights' / faces.MODEL_NAME
REAL = SHARED / 'realset' / 'av' / 'hdtfradio13_01.mp4'  # Of the split val.


def speech(num=100, seed=0):
  """Openings of a mouth that speaks."""
  return 0.05 + 0.02 * np.random.default_rng(seed).normal(size=num)


def eyes(num, shut):
  """`[num]` aspect ratios, 0.05 in the frames `shut`."""
  series = np.full(num, 0.3)
  for first, last in shut:
    series[first:last] = 0.05
  return series


def moved(points, turn=0.3, scale=1.2, shift=(0.05, -0.1)):
  """Points `[..., 2]` turned, grown and shifted."""
  turn = scale * np.array(
    [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
  )
  return points @ turn.T + shift


def test_points_are_those_of_mediapipe():
  vision = pytest.importorskip(
    'mediapipe.tasks.python.vision', reason='needs the extra [faces]'
  )
  known = vision.FaceLandmarksConnections
  ends = {i for c in known.FACE_LANDMARKS_LIPS for i in (c.start, c.end)}
  assert set(landmarks.LIPS) == ends and len(landmarks.LIPS) == len(ends)
  nose = {i for c in known.FACE_LANDMARKS_NOSE for i in (c.start, c.end)}
  assert set(landmarks.STEADY[4:]) < nose
  for corners, eye in zip(
    landmarks.EYES,
    (known.FACE_LANDMARKS_RIGHT_EYE, known.FACE_LANDMARKS_LEFT_EYE),
  ):
    assert set(corners) < {i for c in eye for i in (c.start, c.end)}


def test_distance_of_a_shift():
  truth = np.tile(face_tracks.face_points(), (5, 1, 1))
  scores = landmarks.landmark_distances(truth + (0.03, 0.04), truth)
  assert set(scores) == set(landmarks.DISTANCES)
  expected = 0.05 / face_tracks.EYE_DISTANCE
  np.testing.assert_allclose(
    [scores['lmd'], scores['mouth_lmd']], expected, rtol=1e-12
  )
  aligned = scores['lmd_aligned'], scores['mouth_lmd_aligned']
  np.testing.assert_allclose(aligned, 0, atol=1e-12)  # float64 rounding.


def test_aligned_distance_knows_no_similarity_but_the_mouth():
  truth = np.tile(face_tracks.face_points(), (4, 1, 1))
  spoken = truth.copy()
  spoken[:, list(landmarks.LIPS), 1] += 0.02
  scores = landmarks.landmark_distances(moved(spoken), truth)
  expected = 0.02 / face_tracks.EYE_DISTANCE
  assert scores['mouth_lmd_aligned'] == pytest.approx(expected)
  share = len(landmarks.LIPS) / 478
  assert scores['lmd_aligned'] == pytest.approx(share * expected)
  assert scores['lmd'] > 10 * scores['lmd_aligned']


def test_distance_in_a_wide_picture():
  """Half as wide in units of a picture that is twice as wide."""
  truth = np.tile(face_tracks.face_points(), (4, 1, 1))
  pred = moved(truth) + 0.01 * np.random.default_rng(0).normal(size=truth.shape)
  square = landmarks.landmark_distances(pred, truth)
  wide = landmarks.landmark_distances(
    pred * (0.5, 1), truth * (0.5, 1), aspect=2.0
  )
  for name, value in square.items():
    assert wide[name] == pytest.approx(value)


def test_distances_grow_with_noise_and_ignore_depth_and_lost_frames():
  truth = np.tile(face_tracks.face_points(), (6, 1, 1))
  noise = np.random.default_rng(0).normal(size=truth.shape)
  rows = []
  for size in (0, 1e-3, 1e-2, 1e-1):
    pred = truth + size * noise
    rows.append(landmarks.landmark_distances(pred, truth))
    deep = np.concatenate([pred, noise[..., :1]], axis=-1)
    assert landmarks.landmark_distances(deep, truth) == rows[-1]
  for name in landmarks.DISTANCES:
    series = [row[name] for row in rows]
    assert series[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(series) > 0).all()
  lost = truth + (0.03, 0.04)
  lost[[0, 3]] = np.nan
  scores = landmarks.landmark_distances(lost, truth)
  assert scores['lmd'] == pytest.approx(0.05 / face_tracks.EYE_DISTANCE)
  with pytest.raises(NoScore, match='6 frames'):
    landmarks.landmark_distances(np.full_like(truth, np.nan), truth)


@pytest.mark.parametrize('lag', [-4, 0, 3])
def test_lag_of_the_mouth(lag):
  series = speech(140)
  truth, late = series[20:120], series[20 - lag : 120 - lag]
  scores = landmarks.compare(
    face_tracks.track(late), face_tracks.track(truth)
  ).values
  assert scores['mouth_lag'] == lag
  # Not 1 exactly: the ends are smoothed over fewer frames.
  assert scores['mouth_correlation'] > 0.99


def test_lost_frames_do_not_shift_the_mouth():
  """A tenth is lost, whatever the track holds there."""
  series = speech(140)
  detected = np.arange(100) % 10 != 4
  late = series[17:117].copy()
  late[~detected] = 5.0
  found = landmarks.compare(
    face_tracks.track(late, detected=detected),
    face_tracks.track(series[20:120]),
  )
  assert (found.frames, found.faces) == (100, 90)
  assert found.values['mouth_lag'] == 3
  # Around what is lost, white noise is smoothed over two frames, not three.
  assert found.values['mouth_correlation'] > 0.85
  assert found.values['mouth_spread_ratio'] == pytest.approx(1, abs=0.2)


def test_spread_of_a_mouth_that_moves_half_as_much():
  found = landmarks.compare(
    face_tracks.track(0.5 * speech()), face_tracks.track(speech())
  )
  # float32 landmarks.
  assert found.values['mouth_spread_ratio'] == pytest.approx(0.5, rel=1e-4)
  assert found.values['mouth_correlation'] == pytest.approx(1, abs=1e-6)


def test_silence():
  """A mouth that is still follows nothing; nothing follows a still mouth."""
  still, speaks = face_tracks.track(np.zeros(60)), face_tracks.track(speech(60))
  assert landmarks.describe(still).values['mouth_spread'] == 0
  # The opening's own spread, in float32.
  assert landmarks.describe(speaks).values['mouth_spread'] == pytest.approx(
    speech(60).std(), rel=1e-4
  )
  found = landmarks.compare(still, speaks)
  assert found.values['mouth_correlation'] == 0
  assert found.values['mouth_spread_ratio'] == 0
  assert found.missing['mouth_lag'] == 'the mouth does not move'
  found = landmarks.compare(speaks, still)
  for name in ('mouth_correlation', 'mouth_lag', 'mouth_spread_ratio'):
    assert found.missing[name] == 'the true mouth does not move'
  assert set(found.values) == set(landmarks.DISTANCES)


@pytest.mark.parametrize(
  ('shut', 'count'),
  [
    ([], 0),
    ([(20, 24)], 1),
    ([(20, 21), (40, 43), (90, 95)], 3),
    ([(0, 4), (50, 53)], 1),  # Already shut when the clip begins.
    ([(50, 53), (97, 100)], 2),  # Shut when it ends.
    ([(20, 50)], 0),  # Longer than a second.
    ([(70, 100)], 0),  # Likewise, and never opened again.
  ],
)
def test_blinks_are_counted(shut, count):
  series = eyes(100, shut)
  # Eyes that are narrow, and noise of a fortieth, are no reason to count.
  noise = 1 + np.random.default_rng(0).normal(size=100) / 40
  for factor in (1, 0.6):
    blink = (factor * series * noise)[:, None] * (1.1, 0.9)
    assert landmarks.count_blinks(blink) == (count, 4.0)
  found = landmarks.describe(face_tracks.track(speech(), blink=series)).values
  assert found['blink_rate'] == pytest.approx(15 * count)  # In 4 seconds.
  assert (found['blinks'], found['blink_seconds']) == (count, 4.0)


def test_half_open_eyes_neither_end_a_blink_nor_begin_one():
  series = eyes(100, [(20, 22), (24, 26)])
  series[22:24] = 0.21  # Between the thresholds: 0.18 and 0.24.
  series[60:63] = 0.21
  assert landmarks.count_blinks(np.stack([series, series], 1)).count == 1
  series[22:24] = 0.25
  assert landmarks.count_blinks(np.stack([series, series], 1)).count == 2


def test_a_face_lost_during_a_blink():
  series = np.tile(eyes(100, [(20, 24)])[:, None], (1, 2))
  series[[22, 70, 71]] = np.nan
  assert landmarks.count_blinks(series) == (1, 97 / 25)
  assert landmarks.count_blinks(series, fps=50).per_minute == pytest.approx(
    60 * 50 / 97
  )


def test_variance_and_range_of_the_head():
  time = np.arange(100) * 2 * np.pi / 50  # Two whole waves.
  pose = np.stack([10 * np.sin(time), 4 * np.cos(time), 5 + 0 * time], axis=1)
  track = face_tracks.track(speech(), pose)
  scores = landmarks.describe(track).values
  # float32 angles; the sine's top lies between two frames.
  assert scores['pose_variance'] == pytest.approx((50 + 8) / 3, rel=1e-5)
  assert scores['yaw_range'] == pytest.approx(20, rel=1e-2)
  assert scores['pitch_range'] == pytest.approx(8, rel=1e-2)
  assert scores['roll_range'] == 0
  half = face_tracks.track(speech(), pose / 2 + (0, 0, 170))
  found = landmarks.compare(half, track).values
  assert found['pose_variance_ratio'] == pytest.approx(0.25, rel=1e-4)
  # 179 and -179 degrees are 2 apart.
  pose[:, 2] = np.where(np.arange(100) % 2, 179, -179)
  assert landmarks.head_motion(pose)['roll_range'] == pytest.approx(2)


def test_lost_frames_enter_no_score():
  detected = np.arange(100) >= 20
  pose = np.random.default_rng(0).normal(size=(100, 3))
  wild = np.where(detected[:, None], pose, 80)
  blink = np.where(detected, eyes(100, [(50, 53)]), 0.05)
  track = face_tracks.track(speech(), wild, blink, detected)
  found = landmarks.describe(track)
  assert (found.frames, found.faces) == (100, 80)
  assert found.values['face_share'] == 0.8
  assert found.values['blink_seconds'] == 80 / 25
  assert found.values['blinks'] == 1
  # float32 angles.
  expected = pose[20:].var(axis=0).mean()
  assert found.values['pose_variance'] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('faces_seen', [0, 1, 12])
def test_short_clips_have_a_reason_for_every_score(faces_seen):
  """One frame has distances, and no rhythm."""
  track = face_tracks.track(speech(20), detected=np.arange(20) < faces_seen)
  found = landmarks.describe(track)
  assert found.values == {'face_share': faces_seen / 20}
  assert len(found.missing) == 8
  assert set(found.missing.values()) == {
    f'{faces_seen} of 20 frames have a face, 13 are needed'
  }
  found = landmarks.compare(track, face_tracks.track(speech(20)))
  assert set(found.values) == set(landmarks.DISTANCES if faces_seen else ())
  for name in ('mouth_lag', 'mouth_correlation', 'pose_variance_ratio'):
    assert '\n' not in found.missing[name]
  assert found.faces == faces_seen


def test_a_clip_of_one_frame_and_of_none():
  for num in (0, 1):
    track = face_tracks.track(speech(num))
    assert len(landmarks.describe(track).missing) == 8
    found = landmarks.compare(track, track)
    assert len(found.values) == 4 * num and found.frames == num


@pytest.fixture(scope='module')
def real_clip():
  """Frames and face of four seconds of a real person."""
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  if not (FACE_MODEL.exists() and REAL.exists()):
    pytest.skip(f'no real clips or face model in {SHARED} (MDCF_TEST_DATA)')
  from mdcf_jax.media import video

  frames = np.stack(list(video.iter_frames(REAL, 25, max_frames=60)))
  return frames, faces.track_faces(frames, FACE_MODEL, max_faces=1)


def test_a_real_clip_is_like_itself(real_clip):
  frames, track = real_clip
  found = landmarks.compare(track, track)
  assert not found.missing and found.faces == 60
  for name in landmarks.DISTANCES:
    assert found.values[name] == pytest.approx(0, abs=1e-12)
  for name, best in (
    ('mouth_correlation', 1),
    ('mouth_lag', 0),
    ('mouth_spread_ratio', 1),
    ('pose_variance_ratio', 1),
  ):
    assert found.values[name] == pytest.approx(best)
  detail = sharpness.compare(frames, frames, track.face_box, track.face_box)
  ratios = [x for name, x in detail.values.items() if 'ratio' in name]
  assert len(ratios) == 4 and ratios == [1] * 4
  # And it is a person: two blinks, in frames 9 and 28, and all is finite.
  alone = landmarks.describe(track)
  assert alone.values['blinks'] == 2 and alone.values['face_share'] == 1
  assert all(np.isfinite(list(alone.values.values())))

  # Any other order of the frames is further away.
  other = dataclasses.replace(
    track, **{k: v[::-1] for k, v in vars(track).items()}
  )
  worse = landmarks.compare(other, track).values
  assert min(worse[name] for name in landmarks.DISTANCES) > 0.01
  assert worse['mouth_correlation'] < 0.9


def test_no_face_is_told_apart():
  """Whoever scores many clips goes on, and stops for a missing model."""
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  if not FACE_MODEL.exists():
    pytest.skip(f'no face model in {SHARED} (MDCF_TEST_DATA)')
  with pytest.raises(NoFace, match='no face found in a.mp4'):
    faces.track_faces(
      np.zeros((2, 64, 64, 3), np.uint8), FACE_MODEL, name='a.mp4'
    )

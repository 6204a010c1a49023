"""Synthetic clips: a drawn talking head with speech-like sound.

They need no files, so tests and a first training run on them. Because every
picture is computed from a `State`, pose, blink, mouth, boxes, landmarks and the
optical flow between any two states (`talking_head.flow`) are exact.
"""

import os
import pathlib
import tempfile
from typing import Any

import numpy as np

from mdcf_jax.data import mel, records, talking_head
from mdcf_jax.data.talking_head import Identity, State


def make_identity(seed: int) -> Identity:
  """Draws a head."""
  rng = np.random.default_rng([seed, 1])
  tone = rng.uniform(0.35, 0.95)
  skin = tone * np.array([1.0, 0.78, 0.64]) + rng.uniform(-0.04, 0.04, 3)
  hair = rng.uniform(0.05, 0.5) * rng.uniform([1, 0.6, 0.2], [1, 0.9, 0.8])
  waves = np.concatenate(
    [
      rng.uniform(-9, 9, (4, 2)),
      rng.uniform(0, 6.28, (4, 1)),
      rng.uniform(0.01, 0.035, (4, 1)),
    ],
    axis=1,
  )
  values = dict(
    skin=np.clip(skin, 0, 1),
    hair=hair,
    lips=np.clip(skin * [0.95, 0.55, 0.6], 0, 1),
    iris=rng.uniform([0.1, 0.15, 0.1], [0.45, 0.5, 0.7]),
    shirt=rng.uniform(0.05, 0.9, 3),
    wall=rng.uniform(0.1, 0.9, (2, 3)),
    waves=waves,
  )
  return Identity(
    **{key: np.float32(value) for key, value in values.items()},
    width=rng.uniform(0.68, 0.82),
    mouth_width=rng.uniform(0.28, 0.4),
    hairline=rng.uniform(-0.78, -0.6),
    pitch_hz=rng.uniform(90, 220),
  )


def make_motion(seed: int, num_frames: int, pitch_hz: float = 120.0):
  """Draws speech, and a head that speaks it.

  Returns:
    (State of `num_frames`, waveform `[640 * num_frames]` float32).
  """
  rng = np.random.default_rng([seed, 2])
  waveform, loudness = babble(rng, num_frames, pitch_hz)
  time = np.arange(num_frames) / records.FPS
  center = np.array([0, 0, 0, 0, -0.02, np.log(0.52)])
  center += rng.uniform(-1, 1, 6) * [5, 3, 2, 0.08, 0.05, 0.12]
  reach = np.array([13, 6, 5, 0.07, 0.04, 0.05])
  # Slow swings of several periods: smooth, and never the same twice.
  rate = rng.uniform(0.1, 0.7, (3, 6))
  phase = rng.uniform(0, 2 * np.pi, (3, 6))
  swing = np.sin(2 * np.pi * rate * time[:, None, None] + phase).mean(1)
  pose = center + 1.4 * reach * swing
  pose[:, 1] -= 2.5 * loudness  # Nods with stressed syllables.
  blink = np.full((num_frames, 2), rng.uniform(0.26, 0.34))
  start = rng.uniform(0, 2)
  while start < time[-1]:
    closed = np.clip(1.6 - np.abs(time - start) / 0.08, 0, 1)
    blink *= (1 - 0.85 * closed)[:, None]
    start += rng.uniform(1.2, 4)
  state = State(np.float32(pose), np.float32(blink), np.float32(loudness))
  return state, waveform


def make_clip(
  seed: int, num_frames: int, resolution: int, identity: int | None = None
) -> dict[str, Any]:
  """Draws a clip and returns its record, see `records`.

  Args:
    seed: of the motion and the speech.
    num_frames: T.
    resolution: side of the frames in pixels.
    identity: seed of the head; by default that of the motion.
  """
  person = seed if identity is None else identity
  head = make_identity(person)
  state, waveform = make_motion(seed, num_frames, head.pitch_hz)
  frames = talking_head.render(head, state, resolution)
  face_box = face_boxes(head, state)
  heights = resolution * (face_box[:, 3] - face_box[:, 1])
  return records.unknown_quality() | {
    'frames': [records.encode_jpeg(frame) for frame in frames],
    'waveform': np.round(waveform * 32767).astype(np.int16),
    'mel': mel.log_mel(waveform, num_frames).astype(np.float16),
    'pose': state.pose,
    'blink': state.blink,
    'face_box': face_box,
    'mouth_box': mouth_boxes(head, state),
    'landmarks': talking_head.landmarks(head, state),
    'detected': np.ones(num_frames, bool),
    'id': f'synthetic-{person:05d}-{seed:05d}',
    'identity': f'synthetic-{person:05d}',
    'source': 'synthetic',
    'fps': records.FPS,
    'source_fps': records.FPS,
    'face_pixels': float(np.median(heights)),
  }


def write_dataset(
  folder: str | os.PathLike,
  *,
  num_train: int = 8,
  num_val: int = 2,
  num_frames: int = 50,
  resolution: int = 64,
) -> pathlib.Path:
  """Writes drawn clips as `mdcf prepare` writes those of videos.

  What there is found by looking at faces is known here, so no MediaPipe.

  Args:
    folder: of the dataset, for `config.data.dir`.
    num_train, num_val: clips of each split; every one has a head of its own.
    num_frames, resolution: of each clip.

  Returns:
    The folder that holds the files.

  Raises:
    InputError: no clips are asked for.
  """
  from mdcf_jax.data import builder  # Slow to import; most need only clips.

  with tempfile.TemporaryDirectory() as work:
    paths = []
    for seed in range(num_train + num_val):
      paths.append(pathlib.Path(work, f'{seed}.npz'))
      records.save(paths[-1], make_clip(seed, num_frames, resolution))
    clips = {'train': paths[:num_train], 'val': paths[num_train:]}
    return builder.build(clips, folder)


def face_boxes(head: Identity, state: State) -> np.ndarray:
  """Boxes `[T, 4]` in [0, 1] around the face's ellipse."""
  roll, size = np.deg2rad(state.pose[:, 2]), np.exp(state.pose[:, 5])
  wide = size * np.hypot(head.width * np.cos(roll), np.sin(roll))
  high = size * np.hypot(head.width * np.sin(roll), np.cos(roll))
  reach = np.stack([wide, high], axis=1)
  center = state.pose[:, 3:5]
  box = np.concatenate([center - reach, center + reach], axis=1)
  return np.float32(np.clip(box / 2 + 0.5, 0, 1))


def mouth_boxes(head: Identity, state: State) -> np.ndarray:
  """Boxes `[T, 4]` in [0, 1] around the lips, a quarter wider than they."""
  lips = talking_head.landmarks(head, state)[:, :4]
  low, high = lips.min(1), lips.max(1)
  margin = 0.25 * (high - low)[:, :1]
  box = np.concatenate([low - margin, high + margin], axis=1)
  return np.float32(np.clip(box, 0, 1))


def babble(
  rng: np.random.Generator, num_frames: int, pitch_hz: float = 120.0
) -> tuple[np.ndarray, np.ndarray]:
  """Draws syllables: a harmonic voice through formants, and hiss between.

  Returns:
    (waveform `[640 * num_frames]` float32 in [-1, 1] at 16 kHz, loudness
    `[num_frames]` in [0, 1], which the mouth follows).
  """
  num_samples = records.SAMPLES_PER_FRAME * num_frames
  time = np.arange(num_samples, dtype=np.float32) / mel.SAMPLE_RATE
  voice = np.zeros(num_samples, np.float32)  # Loudness of the vowels.
  hiss = np.zeros(num_samples, np.float32)
  formants = np.zeros((2, num_samples), np.float32)
  start, end = rng.uniform(0.05, 0.4), 0.0
  while end < time[-1]:
    length = rng.uniform(0.12, 0.3)
    end = start + length
    span = slice(*(np.array([start, end]) * mel.SAMPLE_RATE).astype(int))
    place = (time[span] - start) / length
    voice[span] = rng.uniform(0.4, 1) * np.sin(np.pi * place) ** 2
    formants[:, span] = rng.uniform([[300], [900]], [[800], [2300]])
    if rng.random() < 0.4:
      hiss[span] = 0.15 * np.clip(1 - place / 0.3, 0, 1)
    pause = rng.uniform(0.3, 0.9) if rng.random() < 0.15 else 0.02
    start = end + pause
  sung = pitch_hz * (
    1 + 0.12 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * time)
  )
  phase = 2 * np.pi * np.cumsum(sung) / mel.SAMPLE_RATE
  sound = np.zeros(num_samples, np.float32)
  for k in range(1, int(3500 / pitch_hz)):
    peaks = np.exp(-np.square((k * pitch_hz - formants) / 150)).sum(0)
    sound += np.float32(1 / k + peaks) * np.sin(k * phase)
  sound = voice * sound / 4 + hiss * rng.standard_normal(num_samples) / 3
  sound = sound + 1e-4 * rng.standard_normal(num_samples)
  loudness = voice.reshape(num_frames, -1).mean(axis=1)
  return np.float32(np.clip(sound, -1, 1)), np.float32(loudness)

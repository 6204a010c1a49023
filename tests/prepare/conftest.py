"""Drawn videos, and a face in each of their frames without MediaPipe."""

import numpy as np
import pytest

from mdcf_jax.data import synthetic, talking_head
from mdcf_jax.errors import InputError


@pytest.fixture
def drawn_faces(monkeypatch):
  """Every frame that is not black has a face; no MediaPipe."""
  from mdcf_jax.media import faces

  def track_faces(frames, model_path=None, *, name='the video', **_):
    num = len(frames)
    if not frames.any():
      raise InputError(f'no face found in {name} ({num} frames searched)')
    box = np.tile(np.float32([0.2, 0.2, 0.8, 0.8]), (num, 1))
    return faces.FaceTrack(
      pose=np.zeros((num, 6), np.float32),
      blink=np.full((num, 2), 0.3, np.float32),
      face_box=box,
      mouth_box=box,
      landmarks=np.full((num, 478, 2), 0.5, np.float32),
      detected=np.ones(num, bool),
    )

  monkeypatch.setattr(faces, 'track_faces', track_faces)


@pytest.fixture
def write_video():
  """`(path, num_frames, sound=True, black=False) -> waveform`."""
  from mdcf_jax.media import video

  def write(path, num_frames, *, sound=True, black=False):
    head = synthetic.make_identity(1)
    state, waveform = synthetic.make_motion(1, num_frames)
    frames = talking_head.render(head, state, 64) * np.uint8(not black)
    sound = waveform if sound else None
    with video.VideoWriter(
      path, 64, fps=25, waveform=sound, mark=False, sign=False
    ) as writer:
      for frame in frames:
        writer.write(frame)
    return waveform

  return write

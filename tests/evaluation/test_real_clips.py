"""Real clips, the real detector of faces, and real weights of RAFT."""

import json

import numpy as np
import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.media import video
from tests.evaluation import small

CLIP = 'realset/av/meadm026_00.mp4'
LATE = 3


@pytest.mark.slow
def test_a_late_clip_and_an_equal_one(test_data, tmp_path, monkeypatch):
  pytest.importorskip('mediapipe')
  path, raft = test_data / CLIP, test_data / 'weights' / 'raft-small.npz'
  model = test_data / 'weights' / 'face_landmarker.task'
  if not (path.exists() and raft.exists() and model.exists()):
    pytest.skip(f'{CLIP} or weights are missing')
  monkeypatch.setenv('MDCF_FACE_MODEL', str(model))
  networks = str(tmp_path / 'networks')
  assert main(['convert', 'raft', str(raft), networks]) == 0
  frames = video.read_video(path, max_frames=60).frames
  late = np.concatenate([np.repeat(frames[:1], LATE, 0), frames[:-LATE]])
  for name, given in dict(equal=frames, late=late).items():
    small.write(tmp_path / 'real' / f'{name}.mp4', frames)
    small.write(tmp_path / 'fake' / f'{name}.mp4', given)
  output = tmp_path / 'scores.json'
  folders = ['--real', str(tmp_path / 'real'), '--fake', str(tmp_path / 'fake')]
  more = ['--networks', networks, '--output', str(output), '--metrics']
  names = ['landmarks', 'face', 'psnr', 'flow_raft-small_ratio']
  assert main(['evaluate', *folders, *more, *names]) == 0
  report = json.loads(output.read_text())
  rows = {k: v['fake_scores'] for k, v in report['clips'].items()}
  assert rows['equal']['mouth_lag'] == 0 and rows['late']['mouth_lag'] == LATE
  assert rows['equal']['psnr'] == 100 and rows['late']['psnr'] < 50
  assert rows['equal']['lmd'] == 0 and rows['late']['lmd'] > 0
  assert rows['equal']['mouth_correlation'] == pytest.approx(1)
  assert rows['late']['mouth_correlation'] > 0.9
  assert rows['equal']['flow_smoothness_ratio_raft-small'] == 1
  # The first frames stand still, the rest moves as before.
  assert 0.5 < rows['late']['flow_smoothness_ratio_raft-small'] < 1.1

"""Scores of equal, spoiled and shifted clips, and clips that have none."""

import shutil

import numpy as np
import pytest

from mdcf_jax.evaluation import report
from tests.evaluation import small
from tests.metrics import pictures

PICTURES = ['fid', 'kid', 'fvd16', 'psnr', 'ssim', 'detail']


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
  small.stand_in(monkeypatch)


def scores(real, fake, names, **options):
  part = small.evaluate(real, fake, names, **options)
  return report.make(part, small.PROTOCOL)


@pytest.fixture(scope='module')
def real(tmp_path_factory):
  """Three clips of 34 frames."""
  folder = tmp_path_factory.mktemp('real')
  for i in range(3):
    small.write(folder / f'{i}.mp4', pictures.frames(34, small.SIZE, seed=i))
  return folder


def test_a_set_and_itself_have_the_best_scores(real):
  found = scores(real, real, PICTURES)
  best = dict(fid=0, fvd16=0, psnr=100, ssim=1, high_frequency_ratio=1)
  for name, value in best.items():
    # Traces of roots of covariances: eigenvalues to 1e-15, of numbers to 255.
    assert found['scores'][name]['value'] == pytest.approx(value, abs=1e-6)
  assert found['scores']['kid']['value'] <= 0  # Unbiased: the pairs i, i count.
  assert found['scores']['fid']['count'] == {'real': 99, 'fake': 99}
  assert found['scores']['fvd16']['count'] == {'real': 6, 'fake': 6}
  assert found['sets']['fake'] == {'clips': 3, 'frames': 102}
  assert not found['no_score'] and not found['failed']


@pytest.mark.parametrize('spoil', ['blur', 'noise', 'jpeg'])
def test_more_distortion_is_worse(tmp_path, real, spoil):
  by_level = []
  for level in (0, 1, 4):
    for i in range(3):
      frames = pictures.frames(34, small.SIZE, seed=i)
      if spoil == 'jpeg':
        frames = small.jpeg(frames, 90 // level) if level else frames
      elif level:
        frames = getattr(pictures, spoil)(frames, level)
      small.write(tmp_path / f'{level}' / f'{i}.mp4', frames)
    by_level.append(scores(real, tmp_path / f'{level}', PICTURES)['scores'])
  values = {k: [x[k]['value'] for x in by_level] for k in by_level[0]}
  signs = dict(fid=1, fvd16=1, psnr=-1, ssim=-1)
  if spoil == 'jpeg':  # Blocks move the stand-in features up and down.
    assert min(values['fid'][1:]) > 10 * values['fid'][0]
    del signs['fid'], signs['fvd16']
  for name, sign in signs.items():
    assert np.all(np.diff(values[name]) * sign > 0), (name, values[name])
  if spoil == 'blur':
    assert np.all(np.diff(values['high_frequency_ratio']) < 0)
  if spoil == 'noise':
    assert np.all(np.diff(values['high_frequency_ratio']) > 0)


def test_shaking_and_freezing_are_seen_in_the_flow(tmp_path):
  pytest.importorskip('cv2')
  frames = pictures.frames(40, small.SIZE)
  small.write(tmp_path / 'real' / 'a.mp4', frames)
  rng = np.random.default_rng(0)
  found = []
  for pixels in (0, 1, 2, 4):
    moved = [
      np.roll(x, rng.integers(-pixels, pixels + 1, 2), (0, 1)) for x in frames
    ]
    folder = tmp_path / f'{pixels}'
    small.write(folder / 'a.mp4', np.stack(moved))
    if not pixels:  # x264 does not repeat itself with pictures this small.
      shutil.copy(tmp_path / 'real' / 'a.mp4', folder / 'a.mp4')
    names = ['flow_farneback', 'flow_farneback_ratio']
    found.append(scores(tmp_path / 'real', folder, names)['scores'])
  jitter = [x['flow_jitter_farneback']['value'] for x in found]
  assert np.all(np.diff(jitter) > 0)
  # Nothing was changed.
  assert found[0]['flow_jitter_ratio_farneback']['value'] == 1
  still = np.repeat(frames[:1], 40, axis=0)
  small.write(tmp_path / 'still' / 'a.mp4', still)
  frozen = scores(tmp_path / 'real', tmp_path / 'still', names)['scores']
  assert frozen['flow_smoothness_ratio_farneback']['value'] < 0.1


@pytest.mark.parametrize('late', [-3, 0, 4])
def test_a_shift_of_the_sound_is_found_exactly(tmp_path, late):
  light = small.flicker(60)
  frames, heard = small.lit(light), np.roll(light, late)
  small.write(tmp_path / 'real' / 'a.mp4', frames, small.sound(light))
  small.write(tmp_path / 'fake' / 'a.mp4', frames, small.sound(heard))
  found = scores(tmp_path / 'real', tmp_path / 'fake', ['lse_fixed'])['scores']
  # A positive offset: the sound comes first.
  assert found['offset_fixed']['value'] == -late
  assert found['offset_fixed']['real']['value'] == 0
  other = small.sound(small.flicker(60, seed=5))
  small.write(tmp_path / 'other' / 'a.mp4', frames, other)
  wrong = scores(tmp_path / 'real', tmp_path / 'other', ['lse_fixed'])['scores']
  assert wrong['lse_d_fixed']['value'] > 1.2 * found['lse_d_fixed']['value']
  assert wrong['lse_c_fixed']['value'] < 0.8 * found['lse_c_fixed']['value']


@pytest.mark.parametrize('late', [-2, 0, 3])
def test_a_late_mouth_is_found_exactly(tmp_path, late):
  light = small.flicker(60)
  small.write(tmp_path / 'real' / 'a.mp4', small.lit(light))
  small.write(tmp_path / 'fake' / 'a.mp4', small.lit(np.roll(light, late)))
  found = scores(tmp_path / 'real', tmp_path / 'fake', ['landmarks', 'face'])
  assert found['scores']['mouth_lag']['value'] == late
  assert found['scores']['mouth_correlation']['value'] > 0.8
  assert found['scores']['blink_rate']['value'] == 0
  still = np.repeat(small.lit(light[:1]), 60, axis=0)
  small.write(tmp_path / 'still' / 'a.mp4', still)
  frozen = scores(tmp_path / 'real', tmp_path / 'still', ['landmarks'])
  # The encoder changes a still picture by less than a level of grey.
  assert frozen['scores']['mouth_spread_ratio']['value'] < 0.02


def test_what_is_missing_is_said_and_stops_nothing(tmp_path, caplog):
  frames = pictures.frames(40, small.SIZE)
  voice = small.sound(small.flicker(40))
  for name in ('good', 'mute', 'silent', 'one', 'short', 'broken', 'empty'):
    small.write(tmp_path / 'real' / f'{name}.mp4', frames, voice)
  fake = tmp_path / 'fake'
  small.write(fake / 'good.mp4', frames, voice)
  small.write(fake / 'mute.mp4', frames)
  small.write(fake / 'silent.mp4', frames, np.zeros_like(voice))
  small.write(fake / 'one.mp4', frames[:1], voice[: small.SAMPLES])
  large = np.repeat(np.repeat(frames[:20], 2, axis=1), 2, axis=2)
  small.write(fake / 'short.mp4', large, voice[: 20 * small.SAMPLES])
  (fake / 'broken.mp4').write_bytes(b'no video' * 100)
  (fake / 'empty.mp4').write_bytes(b'')
  small.write(fake / 'extra.mp4', frames, voice)
  names = ['fid', 'fvd32', 'psnr', 'lse_fixed', 'flow_farneback', 'face']
  found = scores(tmp_path / 'real', fake, names)
  assert set(found['failed']) == {'broken', 'empty'}
  assert found['sets'] == {
    'real': {'clips': 7, 'frames': 280},
    'fake': {'clips': 6, 'frames': 181},
  }
  count = {k: v['count'] for k, v in found['scores'].items()}
  assert count['psnr'] == 4  # Not of the one frame, nor of the extra clip.
  assert count['lse_c_fixed'] == 3 and count['face_share'] == 6
  assert count['fvd32']['fake'] == 4  # None of 20 frames and of one.
  reasons = found['no_score']['lse_c_fixed']
  assert reasons['clips'] == 3
  assert any('no sound' in x for x in reasons['reasons'])
  rows = found['clips']
  assert '1 frames' in rows['one']['fake_missing']['psnr']
  assert 'fake_scores' not in rows['broken']
  assert rows['short']['fake_scores']['psnr'] > 20  # Brought to one size.
  text = caplog.text
  for name in ('mute', 'silent', 'one', 'broken', 'empty'):
    assert name in text


def test_numbers_that_are_none_enter_no_mean(real, monkeypatch):
  from mdcf_jax.metrics import sharpness

  values = iter([1.0] * 100)
  monkeypatch.setattr(
    sharpness, 'laplacian_variance', lambda x: next(values, np.nan)
  )
  found = scores(real, real, ['detail'])
  score = found['scores']['laplacian_ratio_frame']
  assert score == {'value': 1.0, 'count': 1, 'better': 'one'}  # No interval.
  assert found['no_score']['laplacian_ratio_frame']['clips'] == 2


def test_sets_without_pairs(real):
  found = scores(real, real, [*PICTURES, 'csim', 'face'], paired=False)
  assert set(found['skipped']) == {'psnr', 'ssim', 'detail'}
  assert found['scores']['fid']['value'] == pytest.approx(0, abs=1e-6)
  assert 'no true clip' in str(found['no_score']['csim'])
  assert set(found['clips']) == {
    f'{side}/{i}' for side in ('real', 'fake') for i in range(3)
  }


def test_a_missing_network_skips_its_metrics_alone(real):
  networks = small.StandIns()
  networks.missing = ('inception',)
  found = scores(real, real, ['fid', 'kid', 'psnr'], networks=networks)
  assert found['skipped'] == dict.fromkeys(
    ['fid', 'kid'], 'no inception weights'
  )
  assert set(found['scores']) == {'psnr'}

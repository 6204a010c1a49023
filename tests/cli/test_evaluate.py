"""`mdcf evaluate`: folders in, one report out, one line for what is wrong."""

import json

import numpy as np
import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.metrics.protocol import v1
from tests.evaluation import small
from tests.metrics import pictures

NAMES = ['psnr', 'detail']


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Two true clips of six frames, and spoiled ones."""
  folder = tmp_path_factory.mktemp('clips')
  for i in range(2):
    frames = pictures.frames(6, small.SIZE, seed=i)
    small.write(folder / 'real' / f'{i}.mp4', frames)
    small.write(folder / 'fake' / f'{i}.mp4', pictures.blur(frames, 2))
  return str(folder / 'real'), str(folder / 'fake')


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
  """No network is there, whoever runs the tests."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.delenv('MDCF_FACE_MODEL', raising=False)


def command(folders, output, *more, names=NAMES):
  real, fake = folders
  given = ['--real', real, '--fake', fake, '--output', str(output)]
  return main(['evaluate', *given, '--metrics', *names, *more])


def test_a_report_has_what_it_takes_to_believe_it(tmp_path, folders, capsys):
  output = tmp_path / 'out' / 'scores.json'
  assert command(folders, output) == 0
  text = capsys.readouterr().out
  report = json.loads(output.read_text())
  assert report['protocol']['hash'] == v1.hash and v1.hash in text
  assert report['paired'] and report['versions']['jax']
  assert report['sets']['fake'] == {'clips': 2, 'frames': 12}
  score = report['scores']['psnr']
  assert score['low'] <= score['value'] <= score['high'] < 100
  assert score['count'] == 2 and score['better'] == 'higher'
  assert 'psnr' in text and f'{score["value"]:.4g}' in text
  rows = [report['clips'][name] for name in ('0', '1')]
  values = [row['fake_scores']['psnr'] for row in rows]
  assert np.mean(values) == pytest.approx(score['value'])
  assert all(len(row['sides']['real']['sha256']) == 64 for row in rows)
  assert [x.name for x in output.parent.iterdir()] == ['scores.json']


def test_what_has_no_network_is_skipped_with_a_line(
  tmp_path, folders, capfd, caplog
):
  output = tmp_path / 'scores.json'
  names = ['fid', 'fvd16', 'lse_exact', 'csim', 'lpips', 'face', 'psnr']
  assert command(folders, output, names=names) == 0
  report = json.loads(output.read_text())
  assert set(report['skipped']) == set(names) - {'psnr'}
  assert 'no inception weights' in report['skipped']['fid']
  assert 'mdcf download faces' in report['skipped']['face']
  assert '--arcface' in report['skipped']['csim']
  for name in report['skipped']:
    assert f'{name} is skipped' in caplog.text
  assert set(report['scores']) == {'psnr'}


def test_shares_are_merged(tmp_path, folders):
  whole, merged = tmp_path / 'whole.json', tmp_path / 'merged.json'
  cache = ['--cache', str(tmp_path / 'results')]
  assert command(folders, whole, *cache) == 0
  parts = [str(tmp_path / f'{i}.npz') for i in range(2)]
  for i, part in enumerate(parts):
    assert command(folders, part, *cache, '--shard', f'{i}/2') == 0
  more = ['--merge', *parts, '--output', str(merged)]
  assert main(['evaluate', *more]) == 0
  assert json.loads(merged.read_text()) == json.loads(whole.read_text())
  assert main(['evaluate', *more[:2], *more[3:]]) == 2


@pytest.mark.parametrize(
  'given, words',
  [
    (['--metrics', 'beauty'], "no metric 'beauty'"),
    (['--metrics', 'fid'], 'nothing can be measured'),
    (['--shard', '2/2'], '--shard'),
    (['--protocol', 'v9'], 'v1'),
    (['--output', 'scores.txt'], 'ends in none of'),
    (['--shard', '0/2'], 'ends in none of: .npz'),
    (['--real', 'nowhere'], 'no such folder'),
    (['--merge', 'part.npz'], 'parts alone'),
  ],
)
def test_bad_input_is_one_line(tmp_path, folders, capsys, given, words):
  real, fake = folders
  output = str(tmp_path / 'scores.json')
  arguments = ['--real', real, '--fake', fake, '--output', output, *given]
  if 'part' in words:
    arguments = [x.replace('part.npz', output) for x in arguments]
  if '.npz' in words or given[0] != '--shard':
    pass
  else:
    arguments[5] = str(tmp_path / 'part.npz')
  assert main(['evaluate', *arguments]) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith('mdcf: error:') and words in error
  assert not list(tmp_path.glob('*.json'))


def test_nothing_to_score_is_an_error(tmp_path, folders, capsys):
  fake = tmp_path / 'fake'
  for i in range(2):
    fake.mkdir(exist_ok=True)
    (fake / f'{i}.mp4').write_bytes(b'no video at all')
  output = tmp_path / 'scores.json'
  assert command((folders[0], str(fake)), output) == 2
  assert 'nothing could be scored: 0:' in capsys.readouterr().err
  assert not output.exists()

"""`mdcf prepare`: its options, its errors, and real clips."""

import csv
import os
import pathlib
import shutil

import pytest

from mdcf_jax.cli import main
from mdcf_jax.data import builder, records

SHARED = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared'))
FACE_MODEL = SHARED / 'weights' / 'face_landmarker.task'
REAL = SHARED / 'realset'
needs_real_clips = pytest.mark.skipif(
  not (FACE_MODEL.exists() and REAL.exists()),
  reason=f'no real clips or face model in {SHARED} (MDCF_TEST_DATA)',
)


def _run(*args):
  return main.main(['prepare', *map(str, args)])


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (['--videos', 'absent'], 'no such folder'),
    (['--videos', '.'], 'no videos'),
    (['folder', '--videos', '.'], 'no videos'),
    (['--manifest', 'absent.csv'], 'not a readable CSV'),
    ([], 'either --videos DIR or --manifest FILE'),
    (['--videos', '.', '--resolution', '100'], 'multiple of 32'),
    (['--videos', '.', '--val_fraction', '1'], 'not in'),
    (['--videos', '.', '--workers', '0'], '--workers 0 is not in'),
    (['--videos', '.', '--min_seconds', '21'], '--min_seconds 21.0 is not'),
    (['--videos', '.', '--min_seconds', 'nan'], '--min_seconds nan is not'),
    (['--videos', '.', '--lists', '.'], '--lists is for mdcf prepare hdtf'),
    (['--videos', '.', '--crop', 'window'], 'folder has face and none'),
    (['hdtf', '--videos', '.'], 'give --lists DIR'),
    (['hdtf', '--videos', '.', '--lists', 'absent'], 'absent'),
    (['hdtf', '--videos', '.', '--lists', '.'], 'list'),
    (['hdtf', '--manifest', 'm.csv'], '--manifest is for mdcf prepare folder'),
    (['voxceleb2'], 'give --videos DIR'),
    (['voxceleb2', '--videos', '.'], 'no '),
    (['lrs3', '--videos', '.'], 'invalid choice'),
  ],
)
def test_bad_arguments_are_one_line(
  tmp_path, monkeypatch, capsys, args, message
):
  monkeypatch.chdir(tmp_path)
  assert _run(*args, '--output', 'out') == 2
  said = capsys.readouterr().err.strip()
  assert said.startswith('mdcf: error: ') and message in said
  assert '\n' not in said
  assert not list(tmp_path.iterdir())


def test_a_bad_face_model_is_one_line(tmp_path, capfd):
  (tmp_path / 'a.mp4').touch()
  args = ('--output', tmp_path / 'out', '--face_model', tmp_path / 'absent')
  assert _run('--videos', tmp_path, *args) == 2
  said = capfd.readouterr().err.strip()
  assert said.startswith('mdcf: error: ') and said.count('\n') == 0
  assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


def test_output_is_not_overwritten(tmp_path, capsys):
  (tmp_path / 'videos').mkdir()
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'mine.txt').touch()
  assert _run('--videos', tmp_path, '--output', tmp_path / 'out') == 2
  assert 'not an empty folder' in capsys.readouterr().err


def test_missing_weights_of_hubert_are_said_first(tmp_path, capsys):
  (tmp_path / 'videos').mkdir()
  (tmp_path / 'videos' / 'a.mp4').write_bytes(b'')
  code = _run(
    *('--videos', tmp_path / 'videos', '--output', tmp_path / 'out'),
    *('--hubert', tmp_path / 'nowhere'),
  )
  assert code == 2 and 'nowhere: no such weights' in capsys.readouterr().err
  assert not (tmp_path / 'out').exists()


@needs_real_clips
def test_real_clips_become_a_dataset(tmp_path, capfd, monkeypatch):
  monkeypatch.setenv('MDCF_FACE_MODEL', str(FACE_MODEL.resolve()))
  videos = tmp_path / 'my videos'
  videos.mkdir()
  with open(REAL / 'manifest.csv') as f:
    rows = [row for row in csv.DictReader(f) if row['subset'] == 'av']
  short = sorted(rows, key=lambda row: float(row['duration']))[:2]
  for row in short:
    shutil.copy(REAL / row['file'], videos)
  (videos / 'broken.mp4').write_bytes(b'not a video' * 1000)
  output = tmp_path / 'set'
  args = ('--videos', videos, '--output', output, '--resolution', 64)
  assert _run(*args, '--workers', 1) == 0
  said = capfd.readouterr().err
  assert 'broken.mp4' in said and 'Traceback' not in said
  assert len(builder.read_index(output, 'train')) == 1
  record = records.from_source(builder.open_source(output, 'val')[0])
  records.validate(record)
  assert records.has_audio(record) and record['detected'].mean() > 0.9
  assert record['face_pixels'] > 100 and record['sharpness'] > 0
  assert sorted(p.name for p in tmp_path.iterdir()) == ['my videos', 'set']

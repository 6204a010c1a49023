"""`mdcf prepare`: from files to a dataset, whole or not at all."""

import errno
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from mdcf_jax.cli import main, prepare
from mdcf_jax.data import builder, clips, records, synthetic
from mdcf_jax.errors import InputError

SHARED = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared'))
FACE_MODEL = SHARED / 'weights' / 'face_landmarker.task'
REAL = SHARED / 'realset'
needs_real_clips = pytest.mark.skipif(
  not (FACE_MODEL.exists() and REAL.exists()),
  reason=f'no real clips or face model in {SHARED} (MDCF_TEST_DATA)',
)


def _run(*args):
  return main.main(['prepare', *map(str, args)])


@pytest.fixture
def drawn_faces(monkeypatch):
  """Every frame has a face that moves; no MediaPipe."""
  from mdcf_jax.media import faces

  def track_faces(frames, model_path=None, *, name='the video'):
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


def _write_video(path, num_frames, *, sound=True, black=False):
  from mdcf_jax.data import talking_head
  from mdcf_jax.media import video

  head = synthetic.make_identity(1)
  state, waveform = synthetic.make_motion(1, num_frames)
  frames = talking_head.render(head, state, 64) * np.uint8(not black)
  with video.VideoWriter(
    path, 64, fps=25, waveform=waveform if sound else None
  ) as writer:
    for frame in frames:
      writer.write(frame)
  return waveform


def _clip(path):
  return clips.Clip(str(path), path.name, 'anna', '')


def test_a_video_becomes_a_record(drawn_faces, tmp_path):
  waveform = _write_video(tmp_path / 'a.mp4', 20)
  clip = _clip(tmp_path / 'a.mp4')
  assert prepare.prepare_clip(clip, tmp_path, 32, None) is None
  record = records.load(tmp_path / f'{clip.id}.npz')
  assert len(record['frames']) == 20 and record['identity'] == 'anna'
  assert records.decode_jpeg(record['frames'][0]).shape == (32, 32, 3)
  assert len(record['waveform']) == 20 * records.SAMPLES_PER_FRAME
  # AAC changes the samples a little; another offset would change all.
  sound = record['waveform'] / 32767
  assert np.corrcoef(sound, waveform)[0, 1] > 0.9


def test_a_wav_beside_the_video_is_its_sound(drawn_faces, tmp_path):
  import wave

  _write_video(tmp_path / 'a.mp4', 12, sound=False)
  samples = np.random.default_rng(0).integers(-9000, 9000, 5000, np.int16)
  with wave.open(str(tmp_path / 'a.wav'), 'wb') as f:
    f.setparams((1, 2, 16000, 0, 'NONE', ''))
    f.writeframes(samples.tobytes())
  clip = _clip(tmp_path / 'a.mp4')
  assert prepare.prepare_clip(clip, tmp_path, 32, None) is None
  record = records.load(tmp_path / f'{clip.id}.npz')
  assert np.abs(record['waveform'][:5000] - samples.astype(int)).max() <= 1
  assert not record['waveform'][5000:].any()


def test_a_silent_video_is_kept(drawn_faces, tmp_path):
  _write_video(tmp_path / 'a.mp4', 12, sound=False)
  clip = _clip(tmp_path / 'a.mp4')
  assert prepare.prepare_clip(clip, tmp_path, 32, None) is None
  assert not records.has_audio(records.load(tmp_path / f'{clip.id}.npz'))


def test_a_long_video_becomes_several_records(
  drawn_faces, tmp_path, monkeypatch
):
  monkeypatch.setattr(prepare, 'MAX_FRAMES', 15)
  waveform = _write_video(tmp_path / 'a.mp4', 35)  # 15, 15, and 5: too few.
  clip = _clip(tmp_path / 'a.mp4')
  assert prepare.prepare_clip(clip, tmp_path, 32, None) is None
  names = (f'{clip.id}.npz', f'{clip.id}.1.npz', f'{clip.id}.2.npz')
  assert [(tmp_path / name).exists() for name in names] == [True, True, False]
  second = records.load(tmp_path / names[1])
  start = 15 * records.SAMPLES_PER_FRAME
  expected = waveform[start : start + len(second['waveform'])]
  assert np.corrcoef(second['waveform'], expected)[0, 1] > 0.9


def test_another_video_of_the_same_name_is_done_anew(drawn_faces, tmp_path):
  folders = [tmp_path / name for name in ('a', 'b', 'work')]
  for folder in folders:
    folder.mkdir()
  *videos, work = folders
  _write_video(videos[0] / 'x.mp4', 12)
  _write_video(videos[1] / 'x.mp4', 14)

  def length(folder, identity='anna'):
    path = folder / 'x.mp4'
    clip = clips.Clip(str(path), path.name, identity, '')
    assert prepare.prepare_clip(clip, work, 32, None) is None
    (stored,) = work.glob('*.npz')
    record = records.load(stored)
    assert record['identity'] == identity
    return len(record['frames']), stored.stat().st_mtime_ns

  first = length(videos[0])
  assert length(videos[0]) == first
  assert length(videos[1])[0] == 14
  shutil.copy(videos[0] / 'x.mp4', videos[1])
  assert length(videos[1])[0] == 12
  assert length(videos[1], 'ben')[0] == 12


@pytest.fixture
def one_process(drawn_faces, monkeypatch):
  """Clips are prepared in the test's own process."""

  def prepare_all(found, folder, args):
    return {
      clip.id: prepare.prepare_clip(clip, folder, args.resolution, None)
      for clip in found
    }

  monkeypatch.setattr(prepare, '_prepare_all', prepare_all)


@pytest.mark.parametrize('output', ['new', 'empty', 'link', '.', 'new/er'])
def test_outputs(one_process, tmp_path, monkeypatch, output):
  """Absent, empty, a link, the working directory: all hold the dataset."""
  (tmp_path / 'videos').mkdir()
  _write_video(tmp_path / 'videos' / 'a.mp4', 12)
  inside, temporary = tmp_path / 'inside', tmp_path / 'temporary'
  for folder in (inside, temporary, inside / 'empty', inside / 'target'):
    folder.mkdir(exist_ok=True)
  monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
  if output == '.':
    inside = inside / 'empty'
  elif output == 'link':
    (inside / 'link').symlink_to('target')
  monkeypatch.chdir(inside)
  assert _run('--videos', tmp_path / 'videos', '--output', output) == 0
  assert len(builder.read_index(output, 'train')) == 1
  assert (pathlib.Path(output) / 'clips.csv').is_file()
  assert os.path.samefile(os.getcwd(), inside)
  assert not list(temporary.iterdir())
  assert not list(tmp_path.rglob('*.work'))


def test_two_runs_do_not_share_their_work(one_process, tmp_path, capsys):
  _write_video(tmp_path / 'a.mp4', 12)
  args = '--videos', tmp_path, '--output', tmp_path / 'data', '--workers', 1
  with prepare._locked(tmp_path / 'data.work', tmp_path / 'data'):
    assert _run(*args) == 2
  assert 'another run' in capsys.readouterr().err
  assert _run(*args) == 0 and not list(tmp_path.glob('*.work'))


def test_a_broken_work_folder_is_made_anew(one_process, tmp_path):
  """What a power failure left, and clips of nobody knows which settings."""
  _write_video(tmp_path / 'a.mp4', 12)
  clips = tmp_path / 'data.work' / 'clips'
  clips.mkdir(parents=True)
  args = '--videos', tmp_path, '--output', tmp_path / 'data', '--workers', 1
  (clips / 'old.json').write_text('{}')
  with prepare._work_folder(tmp_path / 'data', 64, {}) as work:
    assert not list((work / 'clips').iterdir())
    (clips / 'kept.json').touch()
  with prepare._work_folder(tmp_path / 'data', 64, {}) as work:
    assert (work / 'clips' / 'kept.json').exists()
  (clips.parent / 'settings.json').write_bytes(b'\xff{')
  found = prepare.find_clips(tmp_path)
  (clips / f'{found[0].id}.json').touch()
  assert _run(*args) == 0


def test_file_systems_without_locks(one_process, tmp_path, monkeypatch, caplog):
  def flock(*_):
    raise OSError(errno.ENOLCK, 'no locks')

  monkeypatch.setattr(prepare.fcntl, 'flock', flock)
  _write_video(tmp_path / 'a.mp4', 12)
  assert _run('--videos', tmp_path, '--output', tmp_path / 'data') == 0
  assert 'cannot be locked' in caplog.text


def test_a_linked_work_folder_is_refused_first(one_process, tmp_path, capsys):
  _write_video(tmp_path / 'a.mp4', 12)
  (tmp_path / 'data.work').symlink_to(tmp_path)
  assert _run('--videos', tmp_path, '--output', tmp_path / 'data') == 2
  assert 'is a link' in capsys.readouterr().err


def test_nothing_stays_of_bad_videos_alone(one_process, tmp_path, capsys):
  (tmp_path / 'a.mp4').write_bytes(b'no video')
  assert _run('--videos', tmp_path, '--output', tmp_path / 'out') == 2
  assert 'none of the 1 videos' in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


def test_a_bad_face_model_is_one_line(tmp_path, capfd):
  (tmp_path / 'a.mp4').touch()
  args = ('--output', tmp_path / 'out', '--face_model', tmp_path / 'absent')
  assert _run('--videos', tmp_path, *args) == 2
  said = capfd.readouterr().err
  assert said.startswith('mdcf: error: ') and said.count('\n') == 1
  assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


_POOL = """
import concurrent.futures, multiprocessing, os, pathlib, sys, time
from mdcf_jax.cli import prepare
if __name__ == '__main__':
  pool = concurrent.futures.ProcessPoolExecutor(
    2,
    mp_context=multiprocessing.get_context('spawn'),
    initializer=prepare._start_worker,
    initargs=(pathlib.Path(sys.argv[1]),),
  )
  print(pool.submit(os.getpid).result(), flush=True)
  time.sleep(60)
"""


def test_workers_end_with_a_killed_parent(repository, tmp_path):
  script = tmp_path / 'pool.py'
  script.write_text(_POOL)
  parent = subprocess.Popen(
    [sys.executable, script, tmp_path / 'log'],
    stdout=subprocess.PIPE,
    env=os.environ | {'PYTHONPATH': str(repository)},
  )
  worker = int(parent.stdout.readline())
  parent.kill()
  parent.wait()
  # The pipe is at its end when the last process that may write to it is.
  ready, *_ = select.select([parent.stdout], [], [], 30)
  assert ready and not parent.stdout.read(), f'process {worker} goes on'


def test_bad_videos_give_their_reason(drawn_faces, tmp_path):
  (tmp_path / 'noise.mp4').write_bytes(os.urandom(5000))
  (tmp_path / 'empty.mp4').touch()
  _write_video(tmp_path / 'short.mp4', 4)
  _write_video(tmp_path / 'black.mp4', 12, black=True)
  for name, reason in (
    ('noise.mp4', 'noise.mp4'),
    ('empty.mp4', 'empty'),
    ('short.mp4', 'only 4 frames'),
    ('black.mp4', 'no face'),
    ('absent.mp4', 'absent.mp4'),
  ):
    said = prepare.prepare_clip(_clip(tmp_path / name), tmp_path, 32, None)
    assert reason in said and '\n' not in said
  assert not list(tmp_path.glob('*.npz'))


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (['--videos', 'absent'], 'no such folder'),
    (['--videos', '.'], 'no videos'),
    (['--manifest', 'absent.csv'], 'not a readable CSV'),
    ([], 'either --videos DIR or --manifest FILE'),
    (['--videos', '.', '--resolution', '100'], 'multiple of 32'),
    (['--videos', '.', '--val_fraction', '1'], 'not in'),
    (['--videos', '.', '--workers', '0'], 'less than 1'),
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


def test_output_is_not_overwritten(tmp_path, capsys):
  (tmp_path / 'videos').mkdir()
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'mine.txt').touch()
  assert _run('--videos', tmp_path, '--output', tmp_path / 'out') == 2
  assert 'not an empty folder' in capsys.readouterr().err


@needs_real_clips
def test_real_clips_become_a_dataset(tmp_path, capfd, monkeypatch):
  monkeypatch.setenv('MDCF_FACE_MODEL', str(FACE_MODEL.resolve()))
  videos = tmp_path / 'my videos'
  videos.mkdir()
  with open(REAL / 'manifest.csv') as f:
    import csv

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
  assert sorted(p.name for p in tmp_path.iterdir()) == ['my videos', 'set']


def test_features_of_hubert_are_those_of_the_whole_recording(
  drawn_faces, tmp_path, monkeypatch
):
  """Records of one video share one run over its sound."""
  from mdcf_jax import speech

  heard = []

  def encode(waveform, num_frames):
    heard.append((len(waveform), num_frames))
    rows = np.arange(num_frames, dtype=np.float32)[:, None]
    return np.repeat(rows, 768, axis=1)

  monkeypatch.setattr(
    speech, '_open_once', lambda _: speech.AudioFeatures('hubert-base', encode)
  )
  monkeypatch.setattr(prepare, 'MAX_FRAMES', 15)
  _write_video(tmp_path / 'a.mp4', 30)
  clip = _clip(tmp_path / 'a.mp4')
  assert prepare.prepare_clip(clip, tmp_path, 32, None, 'weights') is None
  assert len(heard) == 1
  second = records.load(tmp_path / f'{clip.id}.1.npz')
  assert second['mel'].shape == (15, 320)
  assert second['hubert'].shape == (15, 768)
  expected = np.minimum(np.arange(15, 30), heard[0][1] - 1)
  np.testing.assert_array_equal(second['hubert'][:, 0], expected)


def test_missing_weights_of_hubert_are_said_first(tmp_path, capsys):
  (tmp_path / 'videos').mkdir()
  (tmp_path / 'videos' / 'a.mp4').write_bytes(b'')
  code = _run(
    *('--videos', tmp_path / 'videos', '--output', tmp_path / 'out'),
    *('--hubert', tmp_path / 'nowhere'),
  )
  assert code == 2 and 'nowhere: no such weights' in capsys.readouterr().err
  assert not (tmp_path / 'out').exists()

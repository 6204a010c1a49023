"""What users get wrong: one line on stderr, exit code 2, nothing written."""

import os
import pathlib
import shutil
import subprocess
import sys
import wave

import av
import numpy as np
import pytest
from PIL import Image
from safetensors import numpy as safetensors_numpy

from mdcf_jax.cli.main import main
from mdcf_jax.media.writer import VideoWriter
from mdcf_jax.pipeline import Pipeline


def write_wav(path: pathlib.Path, samples: np.ndarray, rate=16000) -> None:
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes((samples * 32767).astype('<i2').tobytes())


def write_float_wav(path: pathlib.Path, samples: np.ndarray) -> None:
  """32-bit floating point, which may hold NaN."""
  data = samples.astype('<f4').tobytes()
  header = b'RIFF' + np.uint32(36 + len(data)).tobytes() + b'WAVEfmt '
  form = np.array([16, 0x0003 | 1 << 16], '<u4').tobytes()
  form += np.array([16000, 64000], '<u4').tobytes()
  form += np.array([4, 32], '<u2').tobytes()
  size = np.uint32(len(data)).tobytes()
  path.write_bytes(header + form + b'data' + size + data)


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
  """Compiled programs go to a folder of this test, not to the user's."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    yield


@pytest.fixture
def loaded(pipe, monkeypatch):
  """Spares tests that are not about weights loading and compiling them."""
  monkeypatch.setattr(Pipeline, 'from_pretrained', lambda *_: pipe)


@pytest.fixture(scope='module')
def pipe(tiny_weights) -> Pipeline:
  return Pipeline.from_pretrained(tiny_weights)


@pytest.fixture(scope='module')
def files(tmp_path_factory, tiny_weights) -> pathlib.Path:
  """A folder of good and bad files."""
  folder = tmp_path_factory.mktemp('files')
  rng = np.random.default_rng(0)
  noise = rng.bytes(5000)
  picture = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
  sound = 0.1 * np.sin(np.arange(6400) / 5)
  picture.save(folder / 'me.png')
  write_wav(folder / 'talk.wav', sound)
  (folder / 'folder').mkdir()
  for suffix in ('png', 'wav', 'mp4', 'npy'):
    (folder / f'empty.{suffix}').touch()
    (folder / f'random.{suffix}').write_bytes(noise)
  content = (folder / 'me.png').read_bytes()
  (folder / 'truncated.png').write_bytes(content[: len(content) // 2])
  write_wav(folder / 'nothing.wav', np.zeros(0))
  write_wav(folder / 'silence.wav', np.zeros(6400))
  write_float_wav(folder / 'nan.wav', np.full(6400, np.nan))
  Image.new('RGB', (1, 1)).save(folder / 'dot.png')
  np.save(folder / 'short.npy', np.zeros((3, 6)))
  with VideoWriter(folder / 'mute.mp4', 64) as writer:
    for _ in range(10):
      writer.write(np.zeros((64, 64, 3), np.uint8))
  with VideoWriter(folder / 'clip.mp4', 64, waveform=sound) as writer:
    for _ in range(10):
      writer.write(np.zeros((64, 64, 3), np.uint8))
  content = (folder / 'clip.mp4').read_bytes()
  (folder / 'truncated.mp4').write_bytes(content[: len(content) // 2])
  for name in ('lacking', 'extra', 'misshaped', 'damaged', 'no-config'):
    shutil.copytree(tiny_weights, folder / name)
  _spoil(folder)
  return folder


def _spoil(folder: pathlib.Path) -> None:
  """Damages the copies of the weights."""
  for name in ('lacking', 'extra', 'misshaped'):
    path = folder / name / 'lmae.safetensors'
    tensors = safetensors_numpy.load_file(path)
    key = sorted(tensors)[0]
    if name == 'extra':
      tensors['params/colour'] = np.zeros(3, np.float32)
    else:
      x = tensors.pop(key)
    if name == 'misshaped':
      tensors[key] = np.zeros((*x.shape, 2), np.float32)
    safetensors_numpy.save_file(tensors, path)
  (folder / 'damaged' / 'fde.safetensors').write_bytes(b'\x80\x04pickle')
  (folder / 'no-config' / 'config.json').unlink()


def arguments(files: pathlib.Path, output: pathlib.Path, model, **given):
  """Command line of a run that works, with some flags replaced."""
  flags = dict(
    image=files / 'me.png',
    audio=files / 'talk.wav',
    output=output,
    weights=model,
    steps=1,
  )
  flags |= given
  return ['generate', *(f'--{key}={value}' for key, value in flags.items())]


BAD = {
  'image-missing': (dict(image='no.png'), 'no such file'),
  'image-folder': (dict(image='folder'), 'directory'),
  'image-empty': (dict(image='empty.png'), 'empty'),
  'image-random': (dict(image='random.png'), 'picture'),
  'image-truncated': (dict(image='truncated.png'), 'decoded'),
  'image-dot': (dict(image='dot.png'), 'too small'),
  'image-sound': (dict(image='talk.wav'), 'picture'),
  'audio-missing': (dict(audio='no.wav'), 'no such file'),
  'audio-folder': (dict(audio='folder'), 'directory'),
  'audio-empty': (dict(audio='empty.wav'), 'empty'),
  'audio-random': (dict(audio='random.wav'), 'random.wav'),
  'audio-random-video': (dict(audio='random.mp4'), 'random.mp4'),
  'audio-truncated': (dict(audio='truncated.mp4'), 'truncated.mp4'),
  'audio-mute-video': (dict(audio='mute.mp4'), 'no audio'),
  'audio-no-samples': (dict(audio='nothing.wav'), 'no samples'),
  'audio-nan': (dict(audio='nan.wav'), 'finite'),
  'audio-picture': (dict(audio='me.png'), 'no audio'),
  'pose-missing': (dict(pose='no.npy'), 'no such file'),
  'pose-random': (dict(pose='random.npy'), 'random.npy'),
  'pose-empty': (dict(pose='empty.npy'), 'empty.npy'),
  'pose-short': (dict(pose='short.npy'), '3 rows'),
  'pose-word': (dict(pose='nod'), 'still'),
  'blink-shape': (dict(blink='short.npy'), 'shape'),
  'pose-from-missing': ({'pose-from': 'no.mp4'}, 'no such file'),
  'pose-from-sound': ({'pose-from': 'talk.wav'}, 'no video'),
  'blink-from-random': ({'blink-from': 'random.mp4'}, 'random.mp4'),
  'pose-twice': (
    {'pose-from': 'clip.mp4', 'pose': 'still'},
    'pose and pose_from are given',
  ),
  'face-and-crop': (dict(face=1, crop='0,0,32,32'), 'crop auto'),
  'crop-word': (dict(crop='face'), 'crop'),
  'crop-outside': (dict(crop='0,0,65,65'), 'outside'),
  'resolution': (dict(resolution=100), 'multiple of 64'),
  'steps': (dict(steps=0), 'steps'),
  'seed': (dict(seed=-1), 'seed'),
  'sampler': (dict(sampler='euler'), 'ddim'),
  'weights-missing': (dict(weights='no-such-folder'), 'mini'),
  'weights-no-config': (dict(weights='no-config'), 'config.json'),
  'weights-lacking': (dict(weights='lacking'), 'lacks'),
  'weights-extra': (dict(weights='extra'), 'params/colour'),
  'weights-misshaped': (dict(weights='misshaped'), 'shape'),
  'weights-damaged': (dict(weights='damaged'), 'damaged'),
}
PATHS = ('image', 'audio', 'weights', 'pose', 'blink', 'pose-from')
PATHS += ('blink-from',)


@pytest.mark.parametrize('case', BAD)
def test_bad_input(case, files, tiny_weights, tmp_path, capfd, request):
  given, reason = BAD[case]
  if 'weights' not in given:
    request.getfixturevalue('loaded')
  given = {
    key: files / value
    if key in PATHS and value not in ('nod', 'still', 'no-such-folder')
    else value
    for key, value in given.items()
  }
  output = tmp_path / 'out.mp4'
  assert main(arguments(files, output, tiny_weights, **given)) == 2
  error = capfd.readouterr().err
  assert error.count('\n') == 1, error
  assert error.startswith('mdcf: error: ')
  assert reason in error
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'output, reason',
  [
    ('folder', 'directory'),
    ('talk.txt', '.mp4'),
    ('talk.wav/out.mp4', 'cannot be written'),
    ('/proc/out.mp4', 'cannot be written'),
  ],
)
def test_output_is_checked_first(output, reason, files, capfd):
  """Before anything is read: the weights do not exist."""
  given = dict(image='no.png', audio='no.wav')
  assert main(arguments(files, files / output, 'no', **given)) == 2
  error = capfd.readouterr().err
  assert reason in error and error.count('\n') == 1


def test_failure_keeps_the_older_video(files, loaded, tmp_path):
  output = tmp_path / 'out.mp4'
  output.write_text('older')
  given = dict(audio=files / 'nan.wav')
  assert main(arguments(files, output, 'tiny', **given)) == 2
  assert output.read_text() == 'older'
  assert list(tmp_path.iterdir()) == [output]


def test_odd_names(files, loaded, tmp_path, monkeypatch, capfd):
  """Spaces, unicode, a colon, and a dash in front; relative."""
  name = '-mein Bild: 笑顔é'
  monkeypatch.chdir(tmp_path)
  shutil.copy(files / 'me.png', f'./{name}.png')
  shutil.copy(files / 'talk.wav', f'./{name}.wav')
  given = dict(image=f'{name}.png', audio=f'{name}.wav')
  output = f'{name}.mp4'
  assert main(arguments(files, output, 'tiny', **given)) == 0
  lines = capfd.readouterr().out.splitlines()
  assert lines[0] == output
  assert 'frames/s' in '\n'.join(lines)
  assert lines[-1].startswith('peak memory')
  with av.open(str(tmp_path / output)) as container:
    assert sum(1 for _ in container.decode(video=0)) == 10


@pytest.mark.parametrize('audio', ['silence.wav', 'clip.mp4'])
def test_silence_and_the_sound_of_a_video_work(audio, files, loaded, tmp_path):
  output = tmp_path / 'new folder' / 'out.mp4'
  given = dict(audio=files / audio)
  assert main(arguments(files, output, 'tiny', **given)) == 0
  with av.open(str(output)) as container:
    assert container.streams.audio


def test_pasted_back_into_an_odd_picture(files, loaded, tmp_path, capfd):
  """The video is as large as the picture, but for an odd column."""
  rng = np.random.default_rng(1)
  picture = np.full((80, 133, 3), 90, np.uint8)
  picture[8:72, 50:114] = rng.integers(60, 120, (64, 64, 3), np.uint8)
  Image.fromarray(picture).save(tmp_path / 'wide.png')
  output = tmp_path / 'out.mp4'
  given = dict(image=tmp_path / 'wide.png', crop='50,8,64,64')
  command = arguments(files, output, 'tiny', **given)
  assert main([*command, '--paste-back']) == 0
  lines = capfd.readouterr().out.splitlines()
  assert any(line.startswith('paste ') for line in lines)
  with av.open(str(output)) as container:
    frames = [x.to_ndarray(format='rgb24') for x in container.decode(video=0)]
  assert len(frames) == 10 and frames[0].shape == (80, 132, 3)
  # The mark, and H.264; random weights paint something else than 90.
  outside = np.stack(frames)[:, :, :40].astype(int) - 90
  assert np.abs(outside).mean() < 4


@pytest.mark.parametrize('case', ['image-random', 'weights-damaged'])
def test_bad_input_as_a_process(case, files, tiny_weights, tmp_path):
  """The same from outside: exit code, one line, no traceback."""
  (key, value), reason = *BAD[case][0].items(), BAD[case][1]
  command = [sys.executable, '-m', 'mdcf_jax.cli.main']
  flags = arguments(
    files, tmp_path / 'out.mp4', tiny_weights, **{key: files / value}
  )
  done = subprocess.run(command + flags, capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.count('\n') == 1 and reason in done.stderr
  assert not list(tmp_path.iterdir())


def count_frames(path: pathlib.Path) -> int:
  with av.open(str(path)) as container:
    return sum(1 for _ in container.decode(video=0))


def listed(files, folder, rows):
  """Command line of a list of (image, audio, output, steps)."""
  lines = ['image,audio,output,steps']
  lines += [f'{files / a},{files / b},{c},{d}' for a, b, c, d in rows]
  path = folder / 'jobs.csv'
  path.write_text('\n'.join(lines))
  return ['generate', f'--manifest={path}', '--steps=1', '--weights=tiny']


def test_many_at_once(files, loaded, tmp_path, capfd):
  """After a bad row the others are made, and what is there stays."""
  (tmp_path / 'older.mp4').write_text('older')
  command = listed(
    files,
    tmp_path,
    [
      ('me.png', 'talk.wav', 'one.mp4', 2),
      ('random.png', 'talk.wav', 'bad.mp4', ''),
      ('me.png', 'talk.wav', 'older.mp4', ''),
      ('me.png', 'clip.mp4', 'new/two.mp4', ''),
      ('me.png', 'talk.wav', 'none.mp4', 0),
      ('me.png', 'talk.wav', 'odd.mp4', 'many'),
    ],
  )
  assert main(command) == 2
  out, error = capfd.readouterr()
  lines = error.splitlines()
  begins = 'mdcf: error: ', '10 frames of 64 x 64: ', 'preparing programs'
  counts = [sum(line.startswith(x) for line in lines) for x in begins]
  assert counts[:2] == [3, 2] and counts[2] <= 2 and sum(counts) == len(lines)
  assert 'random.png' in error and "steps 'many'" in error
  assert out.splitlines()[-1] == '2 made, 1 there already, 3 failed'
  made = sorted(path.name for path in tmp_path.rglob('*.mp4'))
  assert made == ['older.mp4', 'one.mp4', 'two.mp4']
  assert (tmp_path / 'older.mp4').read_text() == 'older'
  for name in ('one.mp4', 'new/two.mp4'):
    assert count_frames(tmp_path / name) == 10


def test_many_together(files, loaded, tmp_path, capfd):
  """Rows of a kind share the diffusion; the others go by themselves."""
  rows = [
    ('me.png', 'talk.wav', 'one.mp4', 2),
    ('me.png', 'talk.wav', 'two.mp4', 1),
    ('random.png', 'talk.wav', 'bad.mp4', ''),
    ('me.png', 'clip.mp4', 'three.mp4', 2),
  ]
  command = listed(files, tmp_path, rows)
  assert main([*command, '--batch=4']) == 2
  out, error = capfd.readouterr()
  assert out.splitlines()[-1] == '3 made, 0 there already, 1 failed'
  assert error.count('mdcf: error: ') == 1 and 'random.png' in error
  # One line for the first and the last, which are alike.
  assert out.count('20 frames in') == 1 and out.count('10 frames in') == 1
  for name in ('one', 'two', 'three'):
    assert count_frames(tmp_path / f'{name}.mp4') == 10


def test_one_that_cannot_be_written_costs_no_other(
  files, loaded, tmp_path, capfd
):
  (tmp_path / 'file').touch()
  rows = [
    ('me.png', 'talk.wav', 'file/one.mp4', 1),
    ('me.png', 'talk.wav', 'two.mp4', 1),
  ]
  assert main([*listed(files, tmp_path, rows), '--batch=2']) == 2
  out, error = capfd.readouterr()
  assert 'one.mp4' in error and error.count('mdcf: error: ') == 1
  assert out.splitlines()[-1] == '1 made, 0 there already, 1 failed'


def test_a_list_goes_on_after_a_place_that_is_not_there(
  files, loaded, tmp_path, capfd
):
  (tmp_path / 'unmounted').symlink_to(tmp_path / 'nowhere' / 'disk')
  rows = [
    ('me.png', 'talk.wav', 'unmounted/one.mp4', 1),
    ('me.png', 'talk.wav', 'two.mp4', 1),
  ]
  assert main(listed(files, tmp_path, rows)) == 2
  out, error = capfd.readouterr()
  assert error.count('mdcf: error: ') == 1 and 'one.mp4' in error
  assert out.splitlines()[-1] == '1 made, 0 there already, 1 failed'


def test_a_list_is_made_though_nobody_reads_what_is_printed(
  files, tiny_weights, tmp_path
):
  rows = [('me.png', 'talk.wav', f'{name}.mp4', 1) for name in 'abc']
  command = listed(files, tmp_path, rows)[:-1] + [f'--weights={tiny_weights}']
  reading, writing = os.pipe()
  os.close(reading)
  done = subprocess.run(
    [sys.executable, '-m', 'mdcf_jax.cli.main', *command],
    stdout=writing,
    stderr=subprocess.PIPE,
    text=True,
  )
  os.close(writing)
  assert done.returncode == 0, done.stderr
  assert len(list(tmp_path.glob('*.mp4'))) == 3


def test_a_finished_list_needs_no_weights(files, tmp_path, capfd):
  (tmp_path / 'one.mp4').write_text('older')
  command = listed(files, tmp_path, [('me.png', 'talk.wav', 'one.mp4', '')])
  assert main(command) == 0
  assert capfd.readouterr().out == '0 made, 1 there already, 0 failed\n'


def test_bad_weights_are_told_once(files, tmp_path, capfd):
  rows = [('me.png', 'talk.wav', f'{i}.mp4', '') for i in range(3)]
  assert main(listed(files, tmp_path, rows)) == 2
  assert capfd.readouterr().err.count('\n') == 1


@pytest.mark.parametrize(
  ('flags', 'reason'),
  [
    (['--image=a.png', '--audio=a.wav'], '--output is missing'),
    (['--manifest=jobs.csv', '--image=a.png'], '--image is one of them'),
    (['--manifest=jobs.csv'], 'not a readable CSV'),
    (['--manifest=jobs.csv', '--batch=0'], '--batch 0 is less than 1'),
    (['--image=a.png', '--batch=2'], '--batch is for the videos'),
    (['--image=a.png', '--research'], '--research is of --no-mark'),
    (
      [f'--{name}=a' for name in ('image', 'audio', 'output')]
      + ['--pose-mode=absolute'],
      '--pose-mode is of --pose-from and --blink-from',
    ),
    (['--manifest=jobs.csv', '--interrupted=keep'], 'is for one video'),
  ],
)
def test_files_come_one_way_or_the_other(flags, reason, capfd):
  assert main(['generate', *flags]) == 2
  error = capfd.readouterr().err
  assert reason in error and error.count('\n') == 1


@pytest.mark.parametrize('choice', ['keep', 'remove'])
def test_interrupted(choice, files, pipe, tmp_path, monkeypatch, capfd):
  class Interrupted:
    timings = property(lambda _: pipe.timings)
    plan = property(lambda _: pipe.plan)
    prepare = pipe.prepare

    def is_ready(self, clips):
      return pipe.is_ready(clips)

    def generate(self, clips, progress):
      return tuple(self._cut(frames) for frames in pipe.generate(clips))

    def _cut(self, frames):
      for i, frame in enumerate(frames):
        if i == 7:
          raise KeyboardInterrupt
        yield frame

  monkeypatch.setattr(Pipeline, 'from_pretrained', lambda *_: Interrupted())
  output = tmp_path / 'out.mp4'
  command = arguments(files, output, 'tiny', interrupted=choice)
  assert main(command) == 130
  if choice == 'remove':
    assert not list(tmp_path.iterdir())
    return
  assert list(tmp_path.iterdir()) == [output]
  assert count_frames(output) == 7
  with av.open(str(output)) as container:
    sound = container.streams.audio[0]
    length = float(sound.duration * sound.time_base)
  assert abs(length - 7 / 25) < 0.01

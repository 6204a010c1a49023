"""Videos in and out: times, sizes, sound, and files that are no videos."""

import fractions
import logging

import av
import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio, video
from mdcf_jax.media.writer import check_output
from tests.media.signals import lag, noise


def numbered(index: int, height: int = 32, width: int = 32) -> np.ndarray:
  """A grey frame that tells its index, up to 49."""
  return np.full((height, width, 3), 4 * index + 20, np.uint8)


def number_of(frame: np.ndarray) -> int:
  return round((float(frame.mean()) - 20) / 4)


def encode(path, times, time_base, size=(32, 32), rate=30, shape=None):
  """Writes numbered frames at `times` (in units of `time_base`)."""
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=rate)
    stream.height, stream.width = size
    stream.codec_context.time_base = time_base
    stream.codec_context.max_b_frames = 0
    if shape is not None:
      stream.codec_context.sample_aspect_ratio = shape
    for index, time in enumerate(times):
      frame = av.VideoFrame.from_ndarray(numbered(index, *size))
      frame.pts, frame.time_base = time, time_base
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@pytest.mark.parametrize('rate', ['30000/1001', '24', '25', '30', '50', '12.5'])
@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_frames_are_those_of_the_time(tmp_path, rate, suffix):
  path = tmp_path / f'a.{suffix}'
  rate = fractions.Fraction(rate)
  encode(path, range(45), 1 / rate, rate=rate)
  found = [number_of(frame) for frame in video.iter_frames(path)]
  assert abs(len(found) - 45 * 25 / rate) <= 1
  # Almost half of 1/25 s later, so that they are early as often as late.
  late = fractions.Fraction(19, 1000)
  expected = [int((fractions.Fraction(k, 25) + late) * rate) for k in range(99)]
  assert found == [min(n, 44) for n in expected][: len(found)]


def test_variable_rate(tmp_path):
  """Frames shown for 1, 5, 1, 3, ... twenty-fifths of a second."""
  path = tmp_path / 'a.mp4'
  starts = np.cumsum([0, 1, 5, 1, 3, 2])
  encode(path, [int(t) for t in starts], fractions.Fraction(1, 25), rate=25)
  found = [number_of(frame) for frame in video.iter_frames(path)]
  expected = np.searchsorted(starts, np.arange(starts[-1] + 1), 'right') - 1
  assert found[: len(expected)] == expected.tolist()
  assert set(found[len(expected) :]) <= {5}


def test_late_start_is_time_zero(tmp_path):
  path = tmp_path / 'a.mkv'
  encode(path, range(10, 20), fractions.Fraction(1, 25), rate=25)
  assert len(list(video.iter_frames(path))) == 10


def test_max_frames_and_resolution(tmp_path):
  path = tmp_path / 'a.mp4'
  wide = np.zeros((64, 96, 3), np.uint8)
  wide[:, 16:80] = 200  # The centred square.
  with video.VideoWriter(path, (64, 96)) as writer:
    for _ in range(8):
      writer.write(wide)
  clip = video.read_video(path, resolution=32, max_frames=5)
  assert clip.frames.shape == (5, 32, 32, 3) and clip.waveform is None
  assert np.abs(clip.frames.astype(int) - 200).mean() < 5
  assert video.read_video(path).frames.shape == (8, 64, 96, 3)


@pytest.mark.parametrize('turn', [0, 90, 180, 270])
def test_rotation_of_a_phone(tmp_path, turn):
  """The matrix of the track says how the player turns the picture."""
  path = tmp_path / 'a.mp4'
  image = np.zeros((32, 64, 3), np.uint8)
  image[:16, :32] = 250  # The top left corner, as stored.
  with video.VideoWriter(path, (32, 64)) as writer:
    for _ in range(3):
      writer.write(image)
  cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
  matrix = np.array([cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 14], '>i4')
  matrix[[0, 1, 3, 4]] <<= 16
  matrix[8] <<= 16
  content = bytearray(path.read_bytes())
  start = content.index(b'tkhd') + 44
  content[start : start + 36] = matrix.tobytes()
  path.write_bytes(content)
  frame = next(iter(video.iter_frames(path)))
  expected = np.rot90(image, -turn // 90)  # Clockwise.
  assert frame.shape == expected.shape
  assert np.abs(frame.astype(int) - expected).mean() < 10


def test_pixels_that_are_not_square(tmp_path):
  path = tmp_path / 'a.mp4'
  encode(
    path, range(3), fractions.Fraction(1, 25), shape=fractions.Fraction(2, 1)
  )
  assert next(iter(video.iter_frames(path))).shape == (32, 64, 3)


@pytest.mark.parametrize(
  ('suffix', 'rate', 'channels', 'samples'),
  [
    ('mp4', 16000, 1, 20000),
    ('mp4', 44100, 2, 50001),
    ('mov', 8000, 1, 9000),
    ('mkv', 48000, 2, 50000),
  ],
)
def test_writer_round_trip(tmp_path, suffix, rate, channels, samples):
  """Every frame comes back, and the sound at its own time."""
  path = tmp_path / f'-my talk: é.{suffix}'
  mono = noise(samples)
  waveform = np.stack([mono] * channels, axis=1)
  count = -(-25 * samples // rate)
  with video.VideoWriter(path, 32, 25, waveform, rate) as writer:
    for index in range(count):
      writer.write(numbered(index % 40))
  assert [file.name for file in tmp_path.iterdir()] == [path.name]
  clip = video.read_video(path)
  assert [number_of(f) for f in clip.frames] == [k % 40 for k in range(count)]
  expected = audio.resample(mono, rate, 16000)
  assert lag(clip.waveform, expected) == 0
  # MP4 keeps the exact end; Matroska ends with an AAC frame.
  extra = len(clip.waveform) - len(expected)
  assert extra == 0 or (suffix == 'mkv' and 0 < extra <= 2048)
  size = len(expected)
  assert np.corrcoef(clip.waveform[:size], expected)[0, 1] > 0.95
  with av.open(str(path)) as container:
    pictures, sound = container.streams.video[0], container.streams.audio[0]
    assert pictures.codec_context.name == 'h264'
    assert pictures.codec_context.pix_fmt == 'yuv420p'
    assert pictures.average_rate == 25
    assert sound.codec_context.name == 'aac'
    assert sound.codec_context.sample_rate == rate


def test_colours_survive(tmp_path):
  path = tmp_path / 'a.mp4'
  colours = np.array([[250, 10, 10], [10, 250, 10], [20, 20, 240]], np.uint8)
  with video.VideoWriter(path, 32) as writer:
    for colour in colours:
      writer.write(np.full((32, 32, 3), colour))
  for frame, colour in zip(video.read_video(path).frames, colours):
    assert np.abs(frame.mean((0, 1)) - colour).max() < 4


def test_odd_rates_and_many_channels(tmp_path):
  path = tmp_path / 'a.mp4'
  waveform = np.repeat(noise(37800)[:, None], 6, axis=1)
  with video.VideoWriter(path, 32, 25, waveform, 37800) as writer:
    for index in range(25):
      writer.write(numbered(index))
  samples, rate = audio.read_samples(path)
  assert rate == 44100 and abs(len(samples) - 44100) <= 1


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_a_failed_run_leaves_nothing(tmp_path, error):
  path = tmp_path / 'a.mp4'
  path.write_bytes(b'an older video')
  with pytest.raises(error):
    with video.VideoWriter(path, 32, waveform=noise(4000)) as writer:
      writer.write(numbered(0))
      assert list(tmp_path.glob('.a.*.part.mp4'))
      raise error
  assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']
  assert path.read_bytes() == b'an older video'


def test_two_runs_with_one_output_do_not_disturb_each_other(tmp_path):
  path = tmp_path / 'a.mp4'
  with video.VideoWriter(path, 32) as writer:
    writer.write(numbered(0))
    with pytest.raises(RuntimeError), video.VideoWriter(path, 32) as other:
      other.write(numbered(1))
      raise RuntimeError
  assert [file.name for file in tmp_path.iterdir()] == ['a.mp4']


def test_an_input_is_not_overwritten(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a.mp4').write_bytes(b'mine')
  with pytest.raises(InputError, match='is an input as well'):
    check_output('./a.mp4', ['b.jpg', None, tmp_path / 'a.mp4'])
  check_output('c.mp4', ['a.mp4'])


def test_checking_makes_no_folders(tmp_path):
  check_output(tmp_path / 'new' / 'folder' / 'a.mp4')
  assert not list(tmp_path.iterdir())
  with video.VideoWriter(tmp_path / 'new' / 'a.mp4', 32) as writer:
    writer.write(numbered(0))
  assert (tmp_path / 'new' / 'a.mp4').is_file()


def test_bad_outputs_fail_at_once(tmp_path):
  (tmp_path / 'folder.mp4').mkdir()
  (tmp_path / 'file').write_text('')
  for name, reason in [
    ('folder.mp4', 'is a directory'),
    ('a.gif', 'ends in none of'),
    ('a', 'ends in none of'),
    ('file/a.mp4', 'cannot be written'),
    ('x' * 300 + '.mp4', 'cannot be written'),
  ]:
    with pytest.raises(InputError, match=reason):
      video.VideoWriter(tmp_path / name, 32)
  with pytest.raises(InputError, match='even'):
    video.VideoWriter(tmp_path / 'a.mp4', 33)
  with pytest.raises(InputError, match='no frames'):
    with video.VideoWriter(tmp_path / 'a.mp4', 32):
      pass
  left = sorted(file.name for file in tmp_path.iterdir())
  assert left == ['file', 'folder.mp4']


def test_full_disk_is_one_line(tmp_path, monkeypatch):
  path = tmp_path / 'a.mp4'
  with pytest.raises(InputError, match='a.mp4: cannot be written: No space'):
    with video.VideoWriter(path, 32) as writer:
      monkeypatch.setattr(
        type(writer._part), 'replace', _raise(OSError(28, 'No space left'))
      )
      writer.write(numbered(0))
  assert not list(tmp_path.iterdir())


def _raise(error):
  def function(*_):
    raise error

  return function


def test_bad_files(tmp_path):
  good = tmp_path / 'good.mkv'
  encode(good, range(5), fractions.Fraction(1, 25))
  mp4 = tmp_path / 'good.mp4'
  encode(mp4, range(45), fractions.Fraction(1, 25), size=(64, 64))
  content = mp4.read_bytes()
  (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 2])
  (tmp_path / 'empty.mp4').write_bytes(b'')
  (tmp_path / 'folder.mp4').mkdir()
  (tmp_path / 'sound.mp4').write_bytes(b'')
  for size in (10, 1000, 200000):
    noise_bytes = np.random.default_rng(size).bytes(size)
    (tmp_path / f'noise{size}.mp4').write_bytes(noise_bytes)
  with av.open(str(tmp_path / 'sound.mp4'), 'w') as container:
    stream = container.add_stream('aac', rate=16000, layout='mono')
    frame = av.AudioFrame.from_ndarray(noise(1024)[None], 'fltp', 'mono')
    frame.sample_rate, frame.pts = 16000, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  for name, reason in [
    ('missing.mp4', 'no such file'),
    ('folder.mp4', 'a directory'),
    ('empty.mp4', 'empty'),
    ('cut.mp4', 'not a video or audio file'),
    ('noise10.mp4', 'noise'),
    ('noise1000.mp4', 'noise'),
    ('noise200000.mp4', 'noise'),
    ('sound.mp4', 'no video'),
  ]:
    with pytest.raises(InputError, match=reason) as error:
      video.read_video(tmp_path / name)
    assert name in str(error.value) and '\n' not in str(error.value)


def test_truncated_video_gives_what_is_there(tmp_path, caplog):
  """The writer puts the index first, so half a file is half a video."""
  path = tmp_path / 'a.mp4'
  rng = np.random.default_rng(0)
  with video.VideoWriter(path, 64, waveform=noise(40 * 640)) as writer:
    for _ in range(40):
      writer.write(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with caplog.at_level(logging.WARNING):
    clip = video.read_video(path)
  assert 5 < len(clip.frames) < 40
  assert 'breaks off' in caplog.text


def test_a_still_before_the_video_is_not_the_video(tmp_path):
  """A cover as stream 0, and the video's own start half a second late."""
  path = tmp_path / 'a.mkv'
  late = noise(16000)
  with av.open(str(path), 'w') as container:
    cover = container.add_stream('mjpeg', rate=1)
    cover.width, cover.height, cover.pix_fmt = 96, 96, 'yuvj444p'
    stream = container.add_stream('libx264', rate=25)
    stream.width = stream.height = 32
    sound = container.add_stream('pcm_s16le', rate=16000, layout='mono')
    still = av.VideoFrame.from_ndarray(numbered(40, 96, 96))
    still.pts, still.time_base = 0, fractions.Fraction(1, 1)
    container.mux([*cover.encode(still), *cover.encode(None)])
    samples = (late[None] * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples, 's16', 'mono')
    frame.sample_rate, frame.pts = 16000, 0
    container.mux(sound.encode(frame))
    for index in range(12):
      frame = av.VideoFrame.from_ndarray(numbered(index))
      frame.pts, frame.time_base = 12 + index, fractions.Fraction(1, 25)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  found = video.read_video(path)
  assert [number_of(frame) for frame in found.frames] == list(range(12))
  assert video.probe(path).width == 32
  first = 16000 * 12 // 25
  assert np.abs(found.waveform - late[first:]).max() < 1e-3


@pytest.fixture
def jump(tmp_path):
  """50 frames of 25 a second, then, at 20,000 s, 5 more."""
  path = tmp_path / 'jump.mkv'
  times = [*range(50), *range(500000, 500005)]
  encode(path, times, fractions.Fraction(1, 25), rate=25)
  return path


def test_one_picture_for_too_long_is_an_error(jump):
  frames = video.iter_frames(jump, max_hold=0.5)
  with pytest.raises(InputError) as error:
    for count, _ in enumerate(frames, 1):
      assert count < 60
  reason = 'jump.mkv: one picture is shown for 19998.0 s at 1.9 s'
  assert str(error.value).endswith(reason)
  with pytest.raises(InputError, match=r'for 12\.0 s at 3\.0 s'):
    next(video.iter_frames(jump, start=3.0, end=15.0, max_hold=0.5))


def test_a_picture_may_be_held_that_long_in_the_stretch(jump, tmp_path):
  """What is shown outside of the stretch does not count."""
  found = list(video.iter_frames(jump, end=2.4, max_hold=0.5))
  assert [number_of(frame) for frame in found] == [*range(50), *[49] * 10]
  assert len(list(video.iter_frames(jump, max_frames=60, max_hold=0.5))) == 60
  found = list(video.iter_frames(jump, start=20000, max_hold=0.5))
  assert len(found) == 5
  slow = tmp_path / 'slow.mkv'
  encode(slow, range(5), fractions.Fraction(1, 2), rate=2)
  assert len(list(video.iter_frames(slow, max_hold=0.5))) in (62, 63)
  with pytest.raises(InputError, match=r'for 0\.5 s at 0\.0 s'):
    next(video.iter_frames(slow, max_hold=0.45))


def test_a_minute_of_one_picture_is_the_end(jump, caplog):
  count = sum(1 for _ in video.iter_frames(jump))
  assert abs(count - (50 + 60 * 25)) <= 1
  assert 'jump.mkv breaks off after 61.9' in caplog.text
  assert '(one picture is shown for 19998 s)' in caplog.text


def test_a_rate_above_twice_that_is_wanted(tmp_path):
  """The first picture that is due is not the first of the file."""
  path = tmp_path / 'a.mkv'
  encode(path, range(40), fractions.Fraction(1, 100), rate=100)
  found = [number_of(frame) for frame in video.iter_frames(path)]
  assert found == [1, 5, 9, 13, 17, 21, 25, 29, 33, 37]

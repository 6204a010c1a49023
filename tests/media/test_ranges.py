"""Stretches of videos: the frames and the sound that the whole has there."""

import fractions

import av
import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio, video
from tests.media.clips import encode, loop, number_of, numbered
from tests.media.signals import lag, noise

GOP = {'g': '30', 'keyint_min': '30', 'sc_threshold': '0'}
KINDS = {
  'mp4': ('mp4', 'libx264', GOP | {'bf': '3'}),
  'mp4 open': ('mp4', 'libx264', GOP | {'bf': '3', 'x264opts': 'open-gop'}),
  'mkv open': ('mkv', 'libx264', GOP | {'bf': '3', 'x264opts': 'open-gop'}),
  'mov': ('mov', 'libx264', GOP | {'bf': '2'}),
  'refresh': ('mp4', 'libx264', GOP | {'x264opts': 'intra-refresh'}),
  'hevc open': ('mp4', 'libx265', {'x265-params': 'keyint=30:open-gop=1'}),
  'vp9': (
    'webm',
    'libvpx-vp9',
    {'g': '30', 'deadline': 'realtime', 'cpu-used': '8'},
  ),
  'mpeg2 open': ('mkv', 'mpeg2video', {'g': '30', 'bf': '2'}),
  'mpeg4 avi': ('avi', 'mpeg4', {'g': '30', 'bf': '2'}),
  'ts': ('ts', 'libx264', GOP | {'bf': '2'}),
}
RATE = fractions.Fraction(30000, 1001)


def textured(count: int, seed: int = 0):
  """Numbered pictures with noise, which shows every wrong reference."""
  rng = np.random.default_rng(seed)
  for index in range(count):
    grain = rng.integers(-20, 20, (64, 64, 1))
    yield np.clip(numbered(index) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
  ('kind', 'first'),
  [*((kind, 0) for kind in KINDS), ('mp4', 40), ('mkv open', 40), ('ts', 40)],
)
def test_a_stretch_has_the_frames_of_the_whole(tmp_path, kind, first):
  """Bit for bit, wherever it starts; also where the file's clock is not 0."""
  suffix, codec, options = KINDS[kind]
  path = tmp_path / f'a.{suffix}'
  try:
    encode(
      path,
      textured(200),
      range(first, first + 200),
      1 / RATE,
      codec=codec,
      options=options,
    )
  except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
    pytest.skip(f'{codec} is not here: {error}')
  whole = list(video.iter_frames(path))
  for start in (0, 3, 24, 25, 26, 37, 50, 61, 74, 88, 99, 124, 159):
    stretch = video.iter_frames(
      path, start=start / 25, end=start / 25 + 0.2, fps=25
    )
    found = np.stack(list(stretch))
    np.testing.assert_array_equal(found, whole[start : start + 5])
  tail = list(video.iter_frames(path, start=150 / 25))
  assert len(tail) == len(whole) - 150


def test_a_search_saves_the_decoding(tmp_path, monkeypatch):
  """Of what comes before a stretch at most two groups are decoded."""
  path = tmp_path / 'a.mp4'
  encode(path, textured(200), range(200), 1 / RATE, options=KINDS['mp4'][2])
  decoded = []
  timed = video._timed

  def counted(stream):
    for item in timed(stream):
      decoded.append(item)
      yield item

  monkeypatch.setattr(video, '_timed', counted)
  frame = next(video.iter_frames(path, start=6))
  assert abs(number_of(frame) - 6 * RATE) <= 1
  assert len(decoded) < 62


def test_variable_rate(tmp_path):
  path = tmp_path / 'a.mkv'
  steps = np.random.default_rng(0).integers(10, 130, 150)
  times = np.cumsum([0, *steps])
  encode(path, textured(151), times.tolist(), fractions.Fraction(1, 1000))
  whole = [number_of(frame) for frame in video.iter_frames(path)]
  # Matroska's milliseconds are met without rounding.
  expected = (
    np.searchsorted(times, np.arange(len(whole)) * 40 + 19, 'right') - 1
  )
  np.testing.assert_array_equal(whole, expected)
  for start in (30, 77, 123):
    stretch = video.iter_frames(path, start=start / 25, max_frames=20)
    found = [number_of(frame) for frame in stretch]
    assert found == whole[start : start + 20]


def cut(source, target, start: float) -> None:
  """Copies packets from a key frame on, and hides those before `start`.

  An edit list says which; a player shows nothing of what is before.
  """
  with av.open(str(source)) as old, av.open(str(target), 'w') as new:
    stream = new.add_stream_from_template(old.streams.video[0])
    for packet in old.demux(old.streams.video[0]):
      if packet.dts is None:
        continue
      shift = round(start / packet.time_base)
      packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
      packet.stream = stream
      new.mux(packet)


def test_edit_list(tmp_path):
  """What an edit list hides is at no time; time 0 is what is shown first."""
  encode(tmp_path / 'a.mp4', textured(200), range(200), 1 / RATE, options=GOP)
  cut(tmp_path / 'a.mp4', tmp_path / 'b.mp4', 0.5)
  whole = list(video.iter_frames(tmp_path / 'b.mp4'))
  assert number_of(whole[0]) in (14, 15)
  for start in (10, 50, 91):
    stretch = video.iter_frames(
      tmp_path / 'b.mp4', start=start / 25, max_frames=4
    )
    np.testing.assert_array_equal(list(stretch), whole[start : start + 4])


@pytest.mark.parametrize('kind', ['mp4', 'ts'])
def test_stretches_that_are_none(tmp_path, kind):
  path = tmp_path / f'a.{kind}'
  encode(path, textured(50), range(50), fractions.Fraction(1, 25))
  assert len(list(video.iter_frames(path, start=1, end=1.4))) == 10
  assert len(list(video.iter_frames(path, start=1.9, end=9))) in (2, 3)
  assert not list(video.iter_frames(path, start=1, end=1))
  assert not list(video.iter_frames(path, max_frames=0))
  with pytest.raises(InputError, match='a.*the video ends at 2.0. s, before 5'):
    list(video.iter_frames(path, start=5))


def sounding(path, suffix, codec, rate, offset=0.0):
  sound = noise(12 * rate, rate)
  encode(
    path,
    (numbered(i) for i in range(300)),
    range(300),
    fractions.Fraction(1, 25),
    options=GOP,
    sound=sound,
    sound_rate=rate,
    sound_codec=codec,
    sound_start=offset,
  )
  return sound


@pytest.mark.parametrize(
  ('suffix', 'codec', 'rate'),
  [
    ('mp4', 'aac', 44100),
    ('mp4', 'aac', 48000),
    ('mov', 'aac', 44100),
    ('mov', 'pcm_s16le', 16000),
    ('mkv', 'aac', 44100),
    ('mkv', 'libopus', 48000),
    ('mkv', 'libmp3lame', 22050),
    ('ts', 'aac', 48000),
  ],
)
@pytest.mark.parametrize('offset', [0.0, 0.7])
def test_a_stretch_has_the_sound_of_the_whole(
  tmp_path, suffix, codec, rate, offset
):
  path = tmp_path / f'a.{suffix}'
  sound = sounding(path, suffix, codec, rate, offset)
  whole = audio.read_video_audio(path)
  silence = np.zeros(round(offset * rate), np.float32)
  expected = audio.resample(np.concatenate([silence, sound]), rate, 16000)
  # Matroska and MPEG-TS round times.
  assert abs(lag(whole, expected)) <= 16
  for start, end in [(0.0, 1.0), (2.52, 4.0), (9.6, 10.04), (11.0, 11.6)]:
    found = audio.read_video_audio(path, start=start, end=end)
    assert len(found) == round(end * 16000) - round(start * 16000)
    piece = whole[round(start * 16000) : round(end * 16000)]
    if suffix in ('mp4', 'mov'):
      # Float sums in another order.
      np.testing.assert_allclose(found, piece, atol=1e-5)
    elif np.abs(piece).max() > 0:
      assert abs(lag(found, piece)) <= 16


def test_a_search_saves_the_decoding_of_sound(tmp_path, monkeypatch):
  from mdcf_jax.media import sound

  path = tmp_path / 'a.mp4'
  sounding(path, 'mp4', 'aac', 48000)
  seen = []
  add = sound._Sound.add
  monkeypatch.setattr(
    sound._Sound, 'add', lambda self, f: (seen.append(f.samples), add(self, f))
  )
  assert len(audio.read_video_audio(path, start=10, end=11)) == 16000
  # Up to the key frame before, and what the decoder and the resampler need.
  assert sum(seen) < 8 * 48000


def test_sound_beside_a_video(tmp_path):
  path = tmp_path / 'a.m4a'
  whole = noise(12 * 16000)
  with av.open(str(path), 'w', format='mp4') as container:
    stream = container.add_stream(
      'aac', rate=16000, layout='mono', options={'aac_pns': '0'}
    )
    for place in range(0, len(whole), 1024):
      piece = np.ascontiguousarray(whole[None, place : place + 1024])
      frame = av.AudioFrame.from_ndarray(piece, 'fltp', 'mono')
      frame.sample_rate, frame.pts = 16000, place
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  read = audio.read_audio(path)
  assert lag(read, whole) == 0
  found = audio.read_audio(path, start=9.5, end=11)
  np.testing.assert_allclose(found, read[152000:176000], atol=1e-5)
  assert audio.read_audio(path, start=20).shape == (0,)
  assert audio.read_audio(path, start=11.5, end=14).shape == (8000,)


def test_sound_before_the_video(tmp_path):
  """What is heard before the first frame is at no time of the video."""
  path = tmp_path / 'a.mkv'
  sound = noise(12 * 16000)
  encode(
    path,
    (numbered(i) for i in range(250)),
    range(10, 260),
    fractions.Fraction(1, 25),
    sound=sound,
    sound_rate=16000,
  )
  found = audio.read_video_audio(path, start=9, end=10)
  expected = sound[16000 * 94 // 10 :][:16000]
  assert abs(lag(found, expected)) <= 16
  # A stretch before the sound, and one past its end.
  encode(
    tmp_path / 'late.mkv',
    (numbered(i) for i in range(100)),
    range(100),
    fractions.Fraction(1, 25),
    sound=sound[:32000],
    sound_rate=16000,
    sound_start=2.0,
  )
  early = audio.read_video_audio(tmp_path / 'late.mkv', start=0.5, end=1)
  np.testing.assert_array_equal(early, np.zeros(8000))
  assert audio.read_video_audio(path, start=30, end=31).shape == (0,)


@pytest.mark.parametrize('rate', ['30000/1001', '24', '50', '60000/1001'])
@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_no_drift_in_an_hour(tmp_path, suffix, rate):
  """At the start, in the middle and at the end of an hour, no frame is off.

  The hour is the same 500 frames over and over, so a drift of less than that
  shows.
  """
  rate = fractions.Fraction(rate)
  path = tmp_path / f'long.{suffix}'
  encode(
    tmp_path / 'short.mp4',
    (numbered(index)[::2, ::2] for index in range(500)),
    range(500),
    1 / rate,
    options=GOP | {'preset': 'ultrafast'},
  )
  loop(tmp_path / 'short.mp4', path, round(3610 * rate / 500), 500, 1 / rate)
  # Almost half of 1/25 s later, so that they are early as often as late.
  late = fractions.Fraction(19, 1000)
  for start in (0, 1800, 3590):
    frames = video.iter_frames(path, start=start, max_frames=20)
    found = [number_of(frame) for frame in frames]
    times = (start + fractions.Fraction(k, 25) + late for k in range(20))
    assert found == [int(time * rate) % 500 for time in times]


@pytest.mark.parametrize(
  ('suffix', 'codec', 'rate'),
  [('mp4', 'aac', 44100), ('mkv', 'libmp3lame', 44100), ('mp4', 'aac', 48000)],
)
def test_no_drift_of_sound(tmp_path, suffix, codec, rate):
  """Clicks are where they belong, in a stretch and in the whole.

  A drift grows with time: what is under half a millisecond in two minutes is
  under half a frame in an hour.
  """
  path = tmp_path / f'a.{suffix}'
  sound = np.zeros(120 * rate, np.float32)
  places = 5, 61, 118
  for place in places:
    sound[place * rate :][:20] = 0.9
  encode(
    path,
    [numbered(0)[::2, ::2]],
    range(0, 12000, 100),
    fractions.Fraction(1, 100),
    sound=sound,
    sound_rate=rate,
    sound_codec=codec,
  )
  whole = audio.read_video_audio(path)
  # A last frame of the codec, where the container does not tell the end.
  assert 0 <= len(whole) - 120 * 16000 <= 2048
  for place in places:
    found = audio.read_video_audio(path, start=place - 0.5, end=place + 0.5)
    part = whole[place * 16000 - 8000 : place * 16000 + 8000]
    for waveform in (found, part):
      # The click itself is 7 samples wide.
      assert abs(int(np.abs(waveform).argmax()) - 8003) <= 8


def test_probe(tmp_path):
  path = tmp_path / 'a.mp4'
  sounding(path, 'mp4', 'aac', 48000)
  info = video.probe(path)
  assert (info.width, info.height, info.fps) == (64, 64, 25)
  assert abs(info.duration - 12) < 0.05 and info.has_audio
  encode(tmp_path / 'b.mkv', textured(50), range(25, 75), 1 / RATE)
  info = video.probe(tmp_path / 'b.mkv')
  assert abs(info.fps - RATE) < 0.01 and not info.has_audio
  assert abs(info.duration - 50 / RATE) < 0.1
  with pytest.raises(InputError, match='no such file'):
    video.probe(tmp_path / 'c.mkv')
  (tmp_path / 'd.mp4').write_bytes(bytes(1000))
  with pytest.raises(InputError, match='d.mp4'):
    video.probe(tmp_path / 'd.mp4')

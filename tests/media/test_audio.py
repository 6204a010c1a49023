"""Recordings of every kind, good and bad."""

import fractions
import logging

import av
import numpy as np
import pytest
import soundfile

from mdcf_jax.errors import InputError
from mdcf_jax.media import audio
from tests.media.signals import lag, noise


def encode(path, codec: str, rate: int, waveform: np.ndarray) -> None:
  """Writes `waveform` twice, as a stereo file."""
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(
      codec, rate=rate, layout='stereo', options={'strict': '-2'}
    )
    frame = av.AudioFrame.from_ndarray(
      np.stack([waveform, waveform]), 'fltp', 'stereo'
    )
    frame.sample_rate, frame.pts = rate, 0
    frame.time_base = fractions.Fraction(1, rate)
    resampler = av.AudioResampler(stream.codec_context.format, 'stereo', rate)
    fifo = av.AudioFifo()
    for piece in resampler.resample(frame) + resampler.resample(None):
      fifo.write(piece)
    size = stream.codec_context.frame_size or 1024
    while (piece := fifo.read(size, partial=True)) is not None:
      container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


@pytest.mark.parametrize(
  ('suffix', 'codec', 'rate'),
  [
    ('mp3', 'libmp3lame', 8000),
    ('mp3', 'libmp3lame', 44100),
    ('m4a', 'aac', 8000),
    ('m4a', 'aac', 48000),
    ('ogg', 'vorbis', 8000),
    ('ogg', 'libopus', 48000),
    ('flac', 'flac', 8000),
    ('wav', 'pcm_s16le', 44100),
    ('mp4', 'aac', 44100),
  ],
)
def test_formats_keep_length_and_time(tmp_path, suffix, codec, rate):
  """Stereo of any rate becomes 16 kHz mono, without the encoder's delay."""
  path = tmp_path / f'-a: b é.{suffix}'
  waveform = noise(rate)
  encode(path, codec, rate, waveform)
  found = audio.read_audio(path)
  assert found.dtype == np.float32 and found.ndim == 1
  # Vorbis ends with its block, MP4 may count in milliseconds.
  assert abs(len(found) - 16000) <= 80
  expected = audio.resample(waveform, rate, 16000)
  assert lag(found, expected) == 0
  size = min(len(found), len(expected))
  # Coding at low rates loses the highest band.
  assert np.corrcoef(found[:size], expected[:size])[0, 1] > 0.9


@pytest.mark.parametrize('rate', [8000, 11025, 44100, 48000])
def test_resample_is_exact_in_length_and_phase(rate):
  time = np.arange(rate + 7) / rate
  found = audio.resample(np.sin(2 * np.pi * 440 * time), rate, 16000)
  assert len(found) == round((rate + 7) * 16000 / rate)
  expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16000)
  # The filter sees silence beyond both ends.
  np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=1e-3)


def test_samples_come_unchanged(tmp_path):
  path = tmp_path / 'a.wav'
  samples = np.stack([noise(1000), noise(1000, 1)], axis=1)
  soundfile.write(path, samples, 22050, subtype='FLOAT')
  found, rate = audio.read_samples(path)
  assert rate == 22050
  np.testing.assert_array_equal(found, samples)


def test_silence_is_allowed(tmp_path, caplog):
  path = tmp_path / 'quiet.wav'
  soundfile.write(path, np.zeros(1600), 16000)
  with caplog.at_level(logging.WARNING):
    assert audio.read_audio(path).shape == (1600,)
  assert 'silent' in caplog.text


@pytest.mark.parametrize(
  ('suffix', 'codec', 'bad'),
  [
    ('m4a', 'aac', b'\xff' * 400),
    ('mp3', 'libmp3lame', bytes(3000)),
    ('flac', 'flac', b'\xff' * 20000),
  ],
)
def test_damage_in_the_middle_loses_little(
  tmp_path, caplog, suffix, codec, bad
):
  """What follows a damaged piece is heard, and near its own time."""
  rate, path = 16000, tmp_path / f'a.{suffix}'
  waveform = noise(4 * rate)
  encode(path, codec, rate, waveform)
  whole = audio.read_audio(path)
  content = path.read_bytes()
  middle = len(content) // 2
  path.write_bytes(content[:middle] + bad + content[middle + len(bad) :])
  with caplog.at_level(logging.WARNING):
    found = audio.read_audio(path)
  assert 'damaged' in caplog.text or 'missing' in caplog.text
  # MP3 has no time stamps of its own: what is lost there is cut out. Losses
  # that cannot be told from jitter are, too.
  assert 0 <= len(whole) - len(found) <= rate // (1 if suffix == 'mp3' else 5)
  assert abs(lag(found[-rate:], whole[-rate:])) <= rate // 5


def remux(path, times, rate: int = 48000, first: int = 0) -> None:
  """Writes Opus whose packet i, of 20 ms, claims to start at `times[i]` s."""
  encoded = path.with_name('encoded.mkv')
  encode(encoded, 'libopus', rate, noise(rate * len(times) // 50))
  with av.open(str(encoded)) as source, av.open(str(path), 'w') as target:
    stream = target.add_stream_from_template(source.streams.audio[0])
    for packet, time in zip(source.demux(source.streams.audio[0]), times):
      if packet.dts is None or np.isnan(time):
        continue
      packet.pts = packet.dts = round(time / packet.time_base)
      packet.stream = stream
      target.mux(packet)


@pytest.mark.parametrize(
  ('change', 'seconds'),
  [
    # Healthy: stamps of a live recorder, a clock that is set anew.
    (lambda t, i: t + 0.12 * np.abs(np.sin(1.7 * i)), 8.0),
    (lambda t, i: t + 0.08 * (i % 10 < 5), 8.0),
    (lambda t, i: t + 100 * (i > 200), 8.0),
    # Every tenth packet is lost; half a second is.
    (lambda t, i: np.where(i % 10 == 9, np.nan, t), 8.0),
    (lambda t, i: np.where((i > 200) & (i <= 225), np.nan, t), 8.0),
    # Stamps that ask for an hour of silence.
    (lambda t, i: 9.0 * i, 26.0),
  ],
)
def test_time_stamps_tell_what_is_missing(tmp_path, change, seconds):
  path, index = tmp_path / 'a.mkv', np.arange(400)
  times = change(index / 50, index)
  rising = np.fmax.accumulate(times)
  remux(path, np.where(np.isnan(times), np.nan, rising))
  samples, rate = audio.read_samples(path)
  assert abs(len(samples) / rate - seconds) < 0.25


def test_bad_files(tmp_path):
  soundfile.write(tmp_path / 'none.wav', np.zeros(0), 16000)
  for name, value in [('nan.wav', np.nan), ('inf.wav', np.inf)]:
    samples = noise(4000)
    samples[1234] = value
    soundfile.write(tmp_path / name, samples, 16000, subtype='FLOAT')
  (tmp_path / 'empty.wav').write_bytes(b'')
  (tmp_path / 'folder.wav').mkdir()
  encode(tmp_path / 'good.m4a', 'aac', 16000, noise(16000))
  whole = (tmp_path / 'good.m4a').read_bytes()
  (tmp_path / 'cut.m4a').write_bytes(whole[: len(whole) // 2])
  (tmp_path / 'text.wav').write_text('hello\n' * 20)
  with av.open(str(tmp_path / 'mute.mp4'), 'w') as container:
    stream = container.add_stream('libx264', rate=25)
    stream.width = stream.height = 32
    picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
    container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  for name, reason in [
    ('missing.wav', 'no such file'),
    ('folder.wav', 'a directory'),
    ('empty.wav', 'empty'),
    ('none.wav', 'no samples'),
    ('nan.wav', 'not finite'),
    ('inf.wav', 'not finite'),
    ('cut.m4a', 'not a video or audio file'),
    ('text.wav', 'not a video or audio file|no audio|no samples|decoded'),
    ('mute.mp4', 'no audio'),
  ]:
    with pytest.raises(InputError, match=reason) as error:
      audio.read_audio(tmp_path / name)
    assert name in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('suffix', ['wav', 'mp3', 'm4a', 'ogg', 'flac'])
@pytest.mark.parametrize('size', [10, 3000, 100000])
def test_random_bytes(tmp_path, suffix, size):
  path = tmp_path / f'noise.{suffix}'
  path.write_bytes(np.random.default_rng(size).bytes(size))
  with pytest.raises(InputError, match='noise'):
    audio.read_audio(path)


def test_play_lists_reach_no_network(tmp_path):
  path = tmp_path / 'list.m3u8'
  path.write_text(
    '#EXTM3U\n#EXTINF:1,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n'
  )
  with pytest.raises(InputError):
    audio.read_audio(path)

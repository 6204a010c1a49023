"""Small videos whose frames tell their number, with sound."""

import fractions

import av
import numpy as np

SIZE = 64
_BITS = 16


def numbered(index: int) -> np.ndarray:
  """`[64, 64, 3]`: 4 x 4 black or white fields, `index` in bits."""
  bits = (index >> np.arange(_BITS)) & 1
  fields = np.kron(bits.reshape(4, 4), np.ones((16, 16)))
  return np.repeat((20 + 215 * fields)[..., None], 3, axis=2).astype(np.uint8)


def number_of(frame: np.ndarray) -> int:
  """The number in a picture of `numbered`, of any size."""
  side = frame.shape[0] // 4
  fields = frame[..., 0].reshape(4, side, 4, side)
  middle = slice(side // 4, -(side // 4))
  bits = fields[:, middle, :, middle].mean((1, 3)).reshape(-1) > 128
  return int((bits << np.arange(_BITS)).sum())


def encode(
  path,
  pictures,
  times,
  time_base,
  *,
  codec='libx264',
  options=None,
  sound=None,
  sound_rate=48000,
  sound_codec='aac',
  sound_start=0.0,
  muxer=None,
) -> None:
  """Writes a video of `pictures` at `times`, in units of `time_base`.

  Args:
    path: of the file.
    pictures: `[H, W, 3]` uint8 each.
    times: integers, the first need not be 0.
    time_base: seconds in a unit.
    codec: of the pictures.
    options: of that.
    sound: `[samples]`, or None.
    sound_rate: in Hz.
    sound_codec: of the sound.
    sound_start: when it begins, in seconds of the file's clock.
    muxer: options of the container.
  """
  time_base = fractions.Fraction(time_base)
  pictures = iter(pictures)
  picture = next(pictures)
  with av.open(str(path), 'w', options=muxer or {}) as container:
    rate = fractions.Fraction(1 / time_base).limit_denominator(60000)
    stream = container.add_stream(codec, rate=rate, options=options or {})
    stream.codec_context.thread_count = 1  # Small pictures: threads only cost.
    stream.height, stream.width = picture.shape[:2]
    stream.codec_context.time_base = time_base
    other = None
    if sound is not None:
      # Noise that the decoder makes up is never the same twice.
      plain = {'aac_pns': '0'} if sound_codec == 'aac' else {}
      other = container.add_stream(
        sound_codec, rate=sound_rate, layout='mono', options=plain
      )
    packets = []
    for time in times:
      frame = av.VideoFrame.from_ndarray(picture)
      frame.pts, frame.time_base = time, time_base
      packets += stream.encode(frame)
      picture = next(pictures, picture)
    packets += stream.encode(None)
    if other is not None:
      packets += _sound_packets(other, sound, sound_rate, sound_start)
    packets.sort(key=lambda p: p.dts * p.time_base)
    for packet in packets:
      container.mux(packet)


def _sound_packets(stream, sound, rate, start):
  sound = np.ascontiguousarray(sound[None], np.float32)
  convert = av.AudioResampler(stream.codec_context.format, 'mono', rate)
  stream.codec_context.open(strict=False)
  size = stream.codec_context.frame_size or 1024
  packets = []
  for place in range(0, sound.shape[1], size):
    piece = np.ascontiguousarray(sound[:, place : place + size])
    frame = av.AudioFrame.from_ndarray(piece, 'fltp', 'mono')
    frame.sample_rate, frame.pts = rate, round(start * rate) + place
    frame.time_base = fractions.Fraction(1, rate)
    for part in convert.resample(frame):
      packets += stream.encode(part)
  return packets + stream.encode(None)


def loop(source, target, times: int, frames: int, step) -> None:
  """Writes the video of `source`, of closed groups, `times` after another.

  Args:
    source: a video of `frames` frames, `step` seconds each.
    target: the long one.
  """
  with av.open(str(source)) as old, av.open(str(target), 'w') as new:
    stream = old.streams.video[0]
    copy = new.add_stream_from_template(stream)
    packets = [
      (bytes(p), p.pts, p.dts, p.is_keyframe)
      for p in old.demux(stream)
      if p.dts is not None
    ]
    length = round(frames * step / stream.time_base)
    for k in range(times):
      for content, pts, dts, key in packets:
        packet = av.Packet(content)
        packet.pts, packet.dts = pts + k * length, dts + k * length
        packet.time_base, packet.is_keyframe = stream.time_base, key
        packet.duration = length // frames
        packet.stream = copy
        new.mux(packet)

"""A flash and a click at its time, through both readers: 0 frames apart."""

import fractions

import numpy as np
import pytest

from mdcf_jax.media import audio, video
from tests.media.clips import encode

# Twenty-fifths of a second at which a flash comes, and a click with it.
FLASHES = 30, 75, 160
TIMES = {
  '24': (np.arange(200), fractions.Fraction(1, 24)),
  '25': (np.arange(200), fractions.Fraction(1, 25)),
  '29.97': (np.arange(240), fractions.Fraction(1001, 30000)),
  '30': (np.arange(240), fractions.Fraction(1, 30)),
  '50': (np.arange(400), fractions.Fraction(1, 50)),
  'variable': (
    np.cumsum(np.random.default_rng(1).integers(15, 65, 200)),
    fractions.Fraction(1, 1000),
  ),
}


@pytest.mark.parametrize('rate', TIMES)
@pytest.mark.parametrize(
  ('suffix', 'video_late', 'sound_late'),
  [('mp4', 0.0, 0.4), ('mp4', 0.3, 0.0), ('mov', 0.3, 0.1), ('mkv', 0.0, 0.5)],
)
def test_flash_and_click(tmp_path, rate, suffix, video_late, sound_late):
  """A white picture and a click at its time stay together: 0 frames apart."""
  path = tmp_path / f'a.{suffix}'
  times, time_base = TIMES[rate]
  times = times - times[0] + round(video_late / time_base)
  seconds = (times - times[0]) * float(time_base)
  # The frames that are shown at these times, as another may be shown at none.
  flashes = [
    int(np.searchsorted(seconds, k / 25 + 0.019, 'right')) - 1 for k in FLASHES
  ]
  pictures = np.full((len(times), 64, 64, 3), 30, np.uint8)
  pictures[flashes] = 240
  sound = np.zeros(9 * 44100, np.float32)
  for index in flashes:
    shown = float(times[index] * time_base)
    place = round((shown - sound_late) * 44100)
    sound[place : place + 60] = 0.9
  encode(
    path,
    pictures,
    times.tolist(),
    time_base,
    options={'g': '30', 'bf': '2'},
    sound=sound,
    sound_rate=44100,
    sound_start=sound_late,
  )
  for start, end in [(0.0, None), (0.6, 3.6), (2.0, 5.0), (5.48, 7.0)]:
    frames = video.iter_frames(path, start=start, end=end)
    light = np.array([float(frame.mean()) for frame in frames])
    waveform = audio.read_video_audio(path, start=start, end=end)
    inside = [
      shown - start
      for shown in seconds[flashes]
      if start < shown < (end or 8) - 0.2
    ]
    assert inside
    for shown in inside:
      low = max(0, round(shown * 25) - 4)
      seen = low + int(np.argmax(light[low : low + 9] > 135))
      loud = np.abs(waveform[low * 640 : (low + 9) * 640])
      heard = low + int(np.argmax(loud > 0.5 * loud.max())) / 640
      # A frame stands for the 1/25 s around its time, so half a frame is
      # none; times are rounded to milliseconds in Matroska.
      assert low < seen < low + 8
      assert abs(seen - heard) < 0.55, (start, seen, heard)

"""The histograms of the report: which, in which units, and what to say."""

import collections

import numpy as np

from mdcf_jax.data import records
from mdcf_jax.pages.markup import number, percent, plural
from mdcf_jax.prepare.report import charts
from mdcf_jax.prepare.report.charts import Chart, Values, values_of
from mdcf_jax.prepare.report.figures import (
  BLINK_PART,
  BLINK_SECONDS,
  BLINK_WATCHED,
  LAG_FRAMES,
  LAG_SCORE,
  Summary,
)

MAX_RATES = 6  # Frame rates with a bar of their own.

# What is known of each frame, by its name in `Clip.frames`: the chart, what
# the values are multiplied by, and what the sign means.
FRAMES = {
  'yaw': (
    Chart('Yaw', 'degrees', 'frames', 1, trim=True),
    *(1, 'Positive: turned to the right of the picture.'),
  ),
  'pitch': (
    Chart('Pitch', 'degrees', 'frames', 1, trim=True),
    *(1, 'Positive: looking up.'),
  ),
  'roll': (
    Chart('Roll', 'degrees', 'frames', 1, trim=True),
    *(1, 'Positive: counter-clockwise.'),
  ),
  'x': (
    Chart(
      'Position, horizontal', 'picture: −1 to 1', 'frames', 0.01, 2, trim=True
    ),
    *(1, 'The middle of the face; positive: to the right.'),
  ),
  'y': (
    Chart(
      'Position, vertical', 'picture: −1 to 1', 'frames', 0.01, 2, trim=True
    ),
    *(1, 'The middle of the face; positive: downwards.'),
  ),
  'size': (
    Chart('Size', '% of the picture’s height', 'frames', 1, trim=True),
    *(100, 'From forehead to chin.'),
  ),
  'eyes': (
    Chart('Opening of the eyes', 'aspect ratio', 'frames', 0.01, 2, trim=True),
    *(1, 'Height over width, mean of both eyes; near 0 they are shut.'),
  ),
  'mouth': (
    Chart('Opening of the mouth', '% of the face’s height', 'frames', 1, 1),
    *(100, 'The gap between the inner lips.'),
  ),
}

BLINKS = Chart('Blink rate', 'blinks per minute', 'people', 2)
FACE = Chart('Face in the video', 'pixels high', 'clips', 10, trim=True)
SHARPNESS = Chart(
  'Sharpness', 'higher is sharper', 'clips', 0.001, 3, trim=True
)
LOUDNESS = Chart('Loudness', 'dBFS', 'clips', 1, 1)
LAG = Chart(
  'Lag of the sound',
  *('frames', 'clips', 1),
  whole=True,
  band=(-LAG_FRAMES, LAG_FRAMES),
)
LENGTH = Chart('Length', 'seconds', 'clips', 0.5, 1)
RATE = Chart('Frame rate of the video', 'frames per second', 'clips')
FILLED = Chart('Filled frames', '% of a clip’s frames', 'clips', 1, 1)

LEGEND = (
  'The upright line is the median; below the bars, the thin line goes from the '
  'smallest to the largest value, the thick one over the middle 90 %.'
)


def faces(summary: Summary) -> str:
  """Pose, eyes and mouth, frame by frame; blink rates."""
  total = summary.total()
  found = sum(summary.frames['yaw'].values().counts, start=0)
  found += summary.frames['yaw'].unknown
  filled = total.frames - int(found)
  figures = []
  for key, (chart, factor, note) in FRAMES.items():
    tally = summary.frames[key]
    data = tally.values()
    data = Values(data.values * factor, data.counts)
    note += _unknown(tally.unknown, 'frame')
    figures.append(charts.histogram(chart, data, note))
  figures.append(_blinks(summary))
  text = f'Counted over {number(found)} frames with a face'
  if filled:
    text += (
      f'; {number(filled)} others ({percent(filled, total.frames)}), in which '
      'none was found, are left out'
    )
  return f'<p>{text}. {LEGEND}</p><div class="charts">{"".join(figures)}</div>'


def _blinks(summary: Summary) -> str:
  """One value per person: in a clip of a few seconds, one blink is a lot."""
  rates, total = summary.blink_rates(), summary.total()
  unknown = int(np.isnan(rates).sum())
  note = (
    f'A blink: both eyes’ mean ratio falls below {100 * BLINK_PART:g} % of the '
    f'clip’s median for at most {BLINK_SECONDS:g} s.'
  )
  if total.watched:
    rate = 60 * total.blinks / total.watched
    note += (
      f' {plural(total.blinks, "blink")} in all, {number(rate, 1)} a minute.'
    )
  if unknown:
    note += (
      f' {plural(unknown, "person", "people")} seen for less than '
      f'{BLINK_WATCHED:g} s left out.'
    )
  return charts.histogram(BLINKS, values_of(rates), note)


def clips(summary: Summary) -> str:
  """The figures of quality, clip by clip."""
  figures = [
    _lag(summary),
    _column(
      summary,
      'loudness',
      LOUDNESS,
      'Of speech without its pauses; full scale is 0.',
    ),
    _column(summary, 'sharpness', SHARPNESS, 'Of the face.'),
    _column(
      summary,
      'face_pixels',
      FACE,
      'The median of each clip, before it was scaled.',
    ),
    _rates(summary),
    _column(summary, 'seconds', LENGTH),
    _filled(summary),
  ]
  charts_html = ''.join(figures)
  return (
    f'<p>One value for each clip.</p><div class="charts">{charts_html}</div>'
  )


def _column(summary: Summary, key: str, chart: Chart, note: str = '') -> str:
  values = summary.column(key)
  note += _unknown(int((~charts.known(values)).sum()), 'clip')
  return charts.histogram(chart, values_of(values), note.strip())


def _lag(summary: Summary) -> str:
  """Only where the measure is sure: an unsure lag is anything."""
  lag, score = summary.column('lag'), summary.column('lag_score')
  known = charts.known(lag)
  sure = known & (score >= LAG_SCORE)
  note = 'Positive: the sound is late.'
  unsure = int((known & ~sure).sum())
  if unsure:
    note += (
      f' Not counted: {plural(unsure, "clip")} with a score below '
      f'{LAG_SCORE:g}.'
    )
  note += _unknown(int((~known).sum()), 'clip')
  return charts.histogram(LAG, values_of(lag[sure]), note)


def _rates(summary: Summary) -> str:
  """Frame rates are a few names, not a scale."""
  values = summary.column('source_fps')
  known = charts.known(values)
  counts = collections.Counter(np.round(values[known], 2).tolist())
  common = sorted(rate for rate, _ in counts.most_common(MAX_RATES))
  names = [f'{rate:g}' for rate in common]
  numbers = [counts[rate] for rate in common]
  others = int(known.sum()) - sum(numbers)
  if others:
    names, numbers = [*names, 'others'], [*numbers, others]
  note = f'Before it became {records.FPS:g}.' + _unknown(
    int((~known).sum()), 'clip'
  )
  return charts.columns(RATE, names, numbers, note)


def _filled(summary: Summary) -> str:
  values = 100 * summary.column('filled')
  none = int((values == 0).sum())
  note = (
    f'{percent(none, len(values))} of the clips have none. In a filled frame '
    'no face was found; pose and boxes come from its neighbours.'
  )
  return charts.histogram(FILLED, values_of(values), note)


def _unknown(count: int, one: str) -> str:
  return f' Unknown: {plural(count, one)}.' if count else ''

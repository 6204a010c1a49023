"""Charts as inline SVG: no script, and the page's colours by their classes."""

import dataclasses
import math

import numpy as np

from mdcf_jax.pages.markup import escape, number

WIDTH, HEIGHT = 320, 166
LEFT, RIGHT, TOP, BOTTOM = 36, 306, 24, 110
MIN_BINS, MAX_BINS, MAX_TICKS = 8, 30, 6
# The part of the values at either end that may lie beyond a trimmed axis, and
# how much of the axis these few must take up for it.
TAIL, TOO_WIDE = 0.002, 2.5


@dataclasses.dataclass(frozen=True)
class Chart:
  """What a histogram shows.

  Attributes:
    title: what is measured.
    unit: of the horizontal axis.
    of: what is counted.
    least: width of the narrowest bin; the widths are round numbers.
    digits: decimals of the figures in the text.
    whole: values are whole numbers, and a bin has one in its middle.
    trim: a few far values may be left beyond the axis, which says so.
    band: a part of the axis that is as it should be.
  """

  title: str
  unit: str
  of: str = 'clips'
  least: float = 1.0
  digits: int = 0
  whole: bool = False
  trim: bool = False
  band: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Values:
  """Values and how often each occurs.

  Attributes:
    values: `[n]`, sorted and finite.
    counts: `[n]`, whole numbers above 0.
  """

  values: np.ndarray
  counts: np.ndarray

  def quantile(self, part: float) -> float:
    """The value below which that part of all lies."""
    reached = np.cumsum(self.counts)
    index = np.searchsorted(reached, part * reached[-1])
    return float(self.values[min(index, len(self.values) - 1)])


def known(numbers: np.ndarray) -> np.ndarray:
  """Which of `numbers [n]` are figures: not NaN, and not beyond all sense."""
  return np.abs(numbers) < 1e9


def values_of(numbers) -> Values:
  """Those of `numbers [n]` that are known."""
  numbers = np.asarray(numbers, np.float64)
  return Values(*np.unique(numbers[known(numbers)], return_counts=True))


def round_width(span: float, parts: int, least: float) -> float:
  """The smallest of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... that may be a width.

  That is, `parts` of it cover the span, and it is not below `least`.
  """
  wanted = max(span / parts, least) * (1 - 1e-9)
  exponent = math.floor(math.log10(wanted))
  power = 10.0**exponent
  return next(power * step for step in (1, 2, 5, 10) if power * step >= wanted)


def bins(chart: Chart, data: Values) -> tuple[np.ndarray, np.ndarray, int]:
  """Sorts values into bins of equal and round width.

  Returns:
    (edges `[bins + 1]`, counts `[bins]`, how many lie beyond the edges).
  """
  low, high = float(data.values[0]), float(data.values[-1])
  if chart.trim:
    inner = data.quantile(TAIL), data.quantile(1 - TAIL)
    if 0 < TOO_WIDE * (inner[1] - inner[0]) < high - low:
      low, high = inner
  width = round_width(high - low, MAX_BINS, chart.least)
  shift = width / 2 if chart.whole else 0.0
  places = np.floor((data.values + shift) / width + 1e-6).astype(np.int64)
  first, last = (
    math.floor((end + shift) / width + 1e-6) for end in (low, high)
  )
  first, last = _widened(first, last)
  inside = (places >= first) & (places <= last)
  counts = np.bincount(
    places[inside] - first, data.counts[inside], minlength=last - first + 1
  )
  edges = np.arange(first, last + 2) * width - shift
  return edges, counts.astype(np.int64), int(data.counts[~inside].sum())


def _widened(first: int, last: int) -> tuple[int, int]:
  """A few bins more around too few of them, but none below 0 for it."""
  more = max(MIN_BINS - (last - first + 1), 0)
  before = min(more // 2, first) if first >= 0 else more // 2
  return first - before, last + more - before


def histogram(chart: Chart, data: Values, note: str = '') -> str:
  """A figure: bars from zero, the median, and below them the range.

  Args:
    chart: what it shows.
    data: the values.
    note: said below, after the figures.
  """
  if not len(data.values):
    return _empty(chart, note)
  edges, counts, beyond = bins(chart, data)
  low, high = float(data.values[0]), float(data.values[-1])
  middle = data.quantile(0.5)
  low_text, high_text, median_text = (
    number(value, chart.digits) for value in (low, high, middle)
  )
  said = f'median {median_text}, from {low_text} to {high_text}'
  decimals = _decimals(edges[1] - edges[0])
  names = [
    f'{number(a, decimals)} to {number(b, decimals)}'
    for a, b in zip(edges, edges[1:])
  ]
  if chart.whole and edges[1] - edges[0] == 1:
    names = [number(a + 0.5) for a in edges[:-1]]

  def place(value):
    part = (value - edges[0]) / (edges[-1] - edges[0])
    return LEFT + (RIGHT - LEFT) * min(max(part, 0.0), 1.0)

  parts = [_band(chart, place), _grid(chart, counts)]
  parts += [_bars(chart, names, counts), _axis(chart, edges, place)]
  spread = [low, data.quantile(0.05), middle, data.quantile(0.95), high]
  parts.append(_spread([place(value) for value in spread], median_text))
  caption = said[0].upper() + said[1:] + '.'
  if beyond:
    caption += f' {number(beyond)} {chart.of} lie beyond the axis.'
  return _figure(chart, said, parts, caption, note)


def columns(
  chart: Chart, names: list[str], numbers: list[int], note: str = ''
) -> str:
  """A figure: one bar from zero for each name, with its number on top."""
  if not names:
    return _empty(chart, note)
  counts = np.array(numbers)
  parts = [_bars(chart, names, counts, widest=44)]
  step = (RIGHT - LEFT) / len(names)
  for index, (name, count) in enumerate(zip(names, numbers)):
    x = LEFT + step * (index + 0.5)
    y = BOTTOM - (BOTTOM - TOP) * count / counts.max()
    parts.append(_text(x, BOTTOM + 14, escape(name), 'middle'))
    parts.append(_text(x, y - 4, number(count), 'middle', 'ink'))
  parts.append(_baseline() + _unit(chart))
  said = ', '.join(f'{name}: {number(n)}' for name, n in zip(names, numbers))
  return _figure(chart, said, parts, '', note)


def _figure(chart, said, parts, caption, note) -> str:
  title = f'{chart.title} ({chart.unit}), {chart.of}: {said}'
  below = ' '.join(part for part in (caption, note) if part)
  return (
    f'<figure class="chart"><h3>{escape(chart.title)}</h3>'
    f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    f'<title>{escape(title)}</title>{"".join(parts)}</svg>'
    f'<figcaption>{escape(below)}</figcaption></figure>'
  )


def _empty(chart: Chart, note: str) -> str:
  return (
    f'<figure class="chart"><h3>{escape(chart.title)}</h3>'
    '<p class="none">Nothing is known of it.</p>'
    f'<figcaption>{escape(note)}</figcaption></figure>'
  )


def _bars(
  chart: Chart, names: list[str], counts: np.ndarray, widest: float = np.inf
) -> str:
  """Bars with a hair between them; what is not zero can be seen."""
  step = (RIGHT - LEFT) / len(counts)
  width = max(min(step - 1, widest), 1)
  drawn = []
  for index, (name, count) in enumerate(zip(names, counts)):
    if not count:
      continue
    height = max((BOTTOM - TOP) * count / counts.max(), 1)
    x = LEFT + step * (index + 0.5) - width / 2
    drawn.append(
      f'<rect class="bar" x="{x:.1f}" y="{BOTTOM - height:.1f}" '
      f'width="{width:.1f}" height="{height:.1f}"><title>{escape(name)} '
      f'{escape(chart.unit)}: {number(count)} {escape(chart.of)}</title></rect>'
    )
  return ''.join(drawn)


def _grid(chart: Chart, counts: np.ndarray) -> str:
  """Two or three lines at round counts, which their numbers stand at."""
  step = _round_up(counts.max() / 3.5)
  lines = []
  for value in np.arange(step, counts.max() + 1, step):
    y = BOTTOM - (BOTTOM - TOP) * value / counts.max()
    if y > TOP - 1:
      lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
      lines.append(_text(LEFT - 5, y + 3.5, _compact(value), 'end'))
  lines.append(_text(LEFT - 5, BOTTOM + 3.5, '0', 'end'))
  lines.append(_text(0, 9, escape(chart.of)))
  return ''.join(lines)


def _round_up(value: float) -> int:
  """The next of 1, 2, 5, 10, 20, ..."""
  power = 10 ** max(math.floor(math.log10(max(value, 1))), 0)
  return next(power * s for s in (1, 2, 5, 10) if power * s >= value)


def _compact(value: float) -> str:
  for size, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
    if value >= size:
      return f'{value / size:g}{letter}'
  return f'{value:g}'


def _axis(chart: Chart, edges: np.ndarray, place) -> str:
  """The line that the bars stand on, round numbers below it, the unit."""
  low, high = float(edges[0]), float(edges[-1])
  width = float(edges[1] - edges[0])
  step = round_width(high - low, MAX_TICKS, 1 if chart.whole else width)
  decimals = _decimals(step)
  parts = [_baseline()]
  for k in range(
    math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1
  ):
    x = place(k * step)
    parts.append(f'<path class="tick" d="M{x:.1f} {BOTTOM}v3"/>')
    parts.append(_text(x, BOTTOM + 14, number(k * step, decimals), 'middle'))
  return ''.join(parts) + _unit(chart)


def _baseline() -> str:
  return f'<path class="base" d="M{LEFT} {BOTTOM}H{RIGHT}"/>'


def _unit(chart: Chart) -> str:
  return _text((LEFT + RIGHT) / 2, HEIGHT - 4, escape(chart.unit), 'middle')


def _spread(places: list[float], median: str) -> str:
  """The median over the bars; below, the range and its middle nine tenths."""
  low, some, middle, most, high = places
  y = BOTTOM + 26
  right = middle < (LEFT + RIGHT) / 2
  return (
    f'<path class="range" d="M{low:.1f} {y}H{high:.1f}"/>'
    f'<path class="most" d="M{some:.1f} {y}H{max(most, some + 1):.1f}"/>'
    f'<path class="median" d="M{middle:.1f} {TOP - 6}V{BOTTOM}'
    f'M{middle:.1f} {y - 4}v8"/>'
    + _text(
      middle + (4 if right else -4),
      TOP - 8 + 4,
      f'median {median}',
      'start' if right else 'end',
      'ink',
    )
  )


def _band(chart: Chart, place) -> str:
  if chart.band is None:
    return ''
  low, high = (place(value) for value in chart.band)
  return (
    f'<rect class="band" x="{low:.1f}" y="{TOP}" width="{high - low:.1f}" '
    f'height="{BOTTOM - TOP}"/>'
  )


def _decimals(step: float) -> int:
  """How many a multiple of `step` needs."""
  return next((d for d in range(6) if abs(step - round(step, d)) < 1e-9), 6)


def _text(x, y, text, anchor='start', style='') -> str:
  style = f' class="{style}"' if style else ''
  return (
    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{text}</text>'
  )

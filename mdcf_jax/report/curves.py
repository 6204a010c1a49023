"""Scores over the frames of a clip, as inline SVG: do clips fall apart?"""

import math
from collections.abc import Sequence

import numpy as np

from mdcf_jax.pages.markup import escape, number
from mdcf_jax.report import labels
from mdcf_jax.report.systems import System

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 352, 10, 156
MAX_POINTS = 240  # Of a line: more are means of neighbours.
MAX_LINES = 7  # Colours that can be told apart; the true clips have one.
PART = 0.2  # Of the frames, at the start and the end, that are compared.
MAX_ENDS = 4  # Of short clips, that are told one by one.
FEWEST = 0.5  # Of the clips that must reach a frame for it to be drawn.
# Which curves are shown first.
ORDER = (
  *('psnr', 'laplacian_ratio_frame', 'csim', 'lmd_aligned'),
  *('mouth_lmd_aligned', 'flow_smoothness', 'lpips_alex', 'ssim'),
)

Line = tuple[str, int, np.ndarray]  # Name, colour, a number a frame.


def to_html(systems: Sequence[System]) -> str:
  """All curves that any system has; a sentence where there are none."""
  names = {name for system in systems for name in system.curves['fake']}
  if not names:
    return (
      '<p class="none">Not computed: the scores have no numbers of single '
      'frames. `mdcf evaluate` of this version writes them.</p>'
    )
  charts = [_chart(name, systems) for name in sorted(names, key=_rank)]
  return (
    '<p>Means over clips at every moment of the clips. A line that keeps its '
    'height is a system that does not fall apart. Scores beside the true frame '
    '(PSNR, distances) also get worse where heads move away from where they '
    'began, for any system. Frames that less than half of the clips reach are '
    f'left out.{_ends(systems[0])}</p>'
    f'{_legend(systems)}<div class="charts">{"".join(charts)}</div>'
  )


def _rank(name: str) -> tuple[int, str]:
  for i, start in enumerate(ORDER):
    if name == start or name.startswith(f'{start}_') and start == ORDER[5]:
      return i, name
  return len(ORDER), name


def _legend(systems: Sequence[System]) -> str:
  items = [
    f'<li><i class="line l{_colour(i)}"></i><bdi>{escape(system.name)}</bdi>'
    '</li>'
    for i, system in enumerate(systems)
  ]
  if any(system.curves['real'] for system in systems):
    items.append('<li><i class="line true"></i>true clips</li>')
  return f'<ul class="legend">{"".join(items)}</ul>'


def _colour(index: int) -> int:
  return index % MAX_LINES


def kept(curve: tuple[list[float], list[int]]) -> np.ndarray:
  """`[T]`, NaN where too few clips have the frame; ends where all is."""
  mean, count = np.array(curve[0]), np.array(curve[1])
  mean[count < max(FEWEST * count.max(initial=0), 1)] = np.nan
  there = np.flatnonzero(np.isfinite(mean))
  return mean[: there[-1] + 1] if len(there) else mean[:0]


def ends(curve: tuple[list[float], list[int]]) -> list[int]:
  """Frames of what is drawn from which on a clip is missing."""
  count = np.array(curve[1][: len(kept(curve))])
  return [int(i) + 1 for i in np.flatnonzero(np.diff(count) < 0)]


def _ends(system: System) -> str:
  """Where short clips end, which makes steps in the lines."""
  found = {i for curve in system.curves['fake'].values() for i in ends(curve)}
  if not found:
    return ''
  times = list(dict.fromkeys(number(i / system.fps, 1) for i in sorted(found)))
  if len(times) > MAX_ENDS:
    when = f'from {times[0]} s on'
  else:
    when = 'after ' + ' and '.join(
      filter(None, [', '.join(times[:-1]), f'{times[-1]} s'])
    )
  return (
    f' Short clips end {when}: a step there comes of clips that are missing, '
    'not of a change of the others.'
  )


def drift(values: np.ndarray) -> tuple[float, float] | None:
  """Means of the first and the last part of `[T]`; None if it is short."""
  known = values[np.isfinite(values)]
  size = math.floor(PART * len(known))
  if size < 2:
    return None
  return float(known[:size].mean()), float(known[-size:].mean())


def _chart(name: str, systems: Sequence[System]) -> str:
  about = labels.label(name)
  lines: list[Line] = []
  for i, system in enumerate(systems):
    if name in system.curves['fake']:
      values = kept(system.curves['fake'][name])
      lines.append((system.name, _colour(i), values))
  true = next(
    (s.curves['real'][name] for s in systems if name in s.curves['real']), None
  )
  if true is not None:
    lines.append(('true clips', -1, kept(true)))
  lines = [line for line in lines if len(line[2])]
  if not lines:
    return ''
  fps = systems[0].fps
  drawn = ''.join(_line(line, *_limits(lines), lines) for line in lines)
  drifts = [(line[0], drift(line[2])) for line in lines]
  said = '; '.join(
    f'{who} {number(pair[0], about.digits)} → {number(pair[1], about.digits)}'
    for who, pair in drifts
    if pair
  )
  caption = f'First to last fifth: {said}.' if said else ''
  arrow = ''
  for system in systems:
    if name in system.scores:
      arrow = labels.ARROWS.get(system.scores[name].better, ('',))[0]
      break
  return (
    f'<figure class="chart"><h3>{escape(about.title)} '
    f'<small>{escape(arrow)}</small></h3>'
    f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>'
    f'{escape(about.title)} over time. {escape(caption)}</title>'
    f'{_axes(lines, about.digits, fps)}{drawn}</svg>'
    f'<figcaption>{escape(caption)}</figcaption></figure>'
  )


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
  """Of the vertical axis: all numbers, but not the last outlier."""
  values = np.concatenate([_thinned(line[2])[1] for line in lines])
  values = values[np.isfinite(values)]
  low, high = float(values.min()), float(values.max())
  room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
  return low - room, high + room


def _length(lines: Sequence[Line]) -> int:
  return max(len(line[2]) for line in lines)


def _thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(places, means) of at most MAX_POINTS pieces of `[T]`."""
  step = max(math.ceil(len(values) / MAX_POINTS), 1)
  places = np.arange(0, len(values), step)
  means = [
    part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan
    for part in (values[place : place + step] for place in places)
  ]
  return places + (step - 1) / 2, np.array(means)


def _line(line: Line, low: float, high: float, lines) -> str:
  _, colour, values = line
  places, means = _thinned(values)
  last = max(_length(lines) - 1, 1)
  path, pen = [], 'M'
  for place, mean in zip(places, means):
    if not np.isfinite(mean):
      pen = 'M'
      continue
    x = LEFT + (RIGHT - LEFT) * place / last
    y = BOTTOM - (BOTTOM - TOP) * (mean - low) / (high - low)
    path.append(f'{pen}{x:.1f} {y:.1f}')
    pen = 'L'
  style = 'true' if colour < 0 else f'l{colour}'
  return f'<path class="line {style}" d="{"".join(path)}"/>'


def _step(span: float, parts: int) -> float:
  """A round number, of which about `parts` make the span."""
  power = 10.0 ** math.floor(math.log10(max(span / parts, 1e-12)))
  return next(power * s for s in (1, 2, 5, 10) if power * s >= span / parts)


def _axes(lines: Sequence[Line], digits: int, fps: float) -> str:
  low, high = _limits(lines)
  parts, step = [], _step(high - low, 4)
  decimals = max(0, -math.floor(math.log10(step) + 1e-9))
  for k in range(math.ceil(low / step), math.floor(high / step) + 1):
    y = BOTTOM - (BOTTOM - TOP) * (k * step - low) / (high - low)
    parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
    text = number(k * step, decimals)
    parts.append(_text(LEFT - 5, y + 3.5, text, 'end'))
  seconds = max(_length(lines) - 1, 1) / fps
  step = _step(seconds, 5)
  decimals = max(0, -math.floor(math.log10(step) + 1e-9))
  parts.append(f'<path class="base" d="M{LEFT} {BOTTOM}H{RIGHT}"/>')
  for k in range(math.floor(seconds / step + 1e-9) + 1):
    x = LEFT + (RIGHT - LEFT) * k * step / seconds
    parts.append(f'<path class="tick" d="M{x:.1f} {BOTTOM}v3"/>')
    parts.append(_text(x, BOTTOM + 15, number(k * step, decimals), 'middle'))
  middle = (LEFT + RIGHT) / 2
  return ''.join(parts) + _text(middle, HEIGHT - 4, 'seconds', 'middle')


def _text(x: float, y: float, text: str, anchor: str) -> str:
  return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'

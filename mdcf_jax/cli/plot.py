"""`mdcf plot RUN...`: the curves of training runs as a picture."""

from __future__ import annotations

import argparse
import logging
import math
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.media.writer import check_output
from mdcf_jax.training import curves

logger = logging.getLogger(__name__)

HELP = 'the curves of training runs as a picture'

_SUFFIXES = ('.png', '.svg', '.pdf')
_COLORS = (
  *('#2563eb', '#ea580c', '#059669', '#9333ea', '#db2777', '#65a30d'),
  *('#0891b2', '#b45309'),
)
_INK, _GRID = '#374151', '#e5e7eb'
_COLUMNS = 3
_PANEL = (4.3, 2.7)  # Inches.
_DPI = 130
# Positive values that spread over more than this factor get a log scale.
_LOG_FACTOR = 30.0
_SPLITS = ('train', 'val')
_UNITS = {
  'psnr': 'dB',
  'kl': 'nats',
  'active': 'share of channels',
  'flow_rmse': 'half images',
  'steps_per_second': 'steps / s',
  'frames_per_second': 'frames / s',
  'data_wait': 'share of time',
}
_UNSEEN = ('speed/seconds_left',)  # Says nothing afterwards.
_FIRST = ('loss', 'psnr')  # Panels; the others follow as they were written.
_LAST = ('grad_norm',)
# What kinds of curves are called in the legend.
_KINDS = {
  'train': 'training',
  'val': 'validation, averaged weights',
  'z': 'z as drawn: median and spread',
  'z_mean': 'z, means',
  'z_label': 'z, true',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    'runs',
    nargs='+',
    metavar='RUN',
    help='workdir of a run, or a folder of them: a picture for each',
  )
  parser.add_argument(
    '--output',
    metavar='FILE',
    help=f'where to write, {", ".join(_SUFFIXES)}; all RUNs in one picture '
    '(default: RUN/curves.png)',
  )
  parser.add_argument(
    '--smoothing',
    type=float,
    default=0.6,
    metavar='WEIGHT',
    help='of the past in the curves of training, from 0 to below 1; '
    'what was measured shows faintly (default: 0.6)',
  )


def run(args: argparse.Namespace) -> None:
  """Draws one picture of all runs, or one of each in a folder of runs."""
  if not 0 <= args.smoothing < 1:
    raise InputError(
      f'--smoothing is {args.smoothing:g}; it must be at least 0 and below 1'
    )
  found = {folder: curves.runs_in(folder) for folder in args.runs}
  if args.output is None and len(found) > 1:
    raise InputError('several runs in one picture need --output FILE.png')
  runs = list(dict.fromkeys(run for group in found.values() for run in group))
  known = _read(runs)
  runs = list(known)
  if args.output is None:
    jobs = {run / 'curves.png': [run] for run in runs}
  else:
    jobs = {pathlib.Path(args.output): runs}
  for output, together in jobs.items():
    read = zip(_labels(together), (known[run] for run in together))
    write(dict(read), output, args.smoothing)
    sys.stdout.write(f'{output}\n')


def _read(runs: Sequence[Any]) -> dict[Any, Mapping[str, curves.Curve]]:
  """Curves of the runs that have any; without one, the reason is an error."""
  known = {}
  for run in runs:
    try:
      known[run] = curves.read(run)
    except InputError as error:
      if len(runs) == 1:
        raise
      logger.warning('%s: left out', error)
  if not known:
    raise InputError('none of these runs has curves')
  return known


def write(
  runs: Mapping[str, Mapping[str, curves.Curve]],
  output: str | os.PathLike,
  smoothing: float = 0.6,
) -> None:
  """Writes a picture with a panel for every quantity.

  Args:
    runs: what each is called -> its curves, see `curves.read`.
    output: file to write; it may exist.
    smoothing: see `curves.smooth`; of training alone.

  Raises:
    InputError: matplotlib is missing, or the file cannot be written.
  """
  figure_of = _import_figure()
  output = check_output(output, suffixes=_SUFFIXES)
  panels = arrange({name for run in runs.values() for name in run})
  rows = math.ceil(len(panels) / _COLUMNS)
  columns = min(_COLUMNS, len(panels))
  height = rows * _PANEL[1] + 0.75
  figure = figure_of(
    figsize=(columns * _PANEL[0], height), dpi=_DPI, layout='constrained'
  )
  # Room for the title and the legend, whatever the height.
  top = 1 - 0.62 / height
  figure.get_layout_engine().set(rect=(0, 0, 1, top), hspace=0.06, wspace=0.03)
  last = max(int(c[0][-1]) for run in runs.values() for c in run.values())
  for i, (title, names) in enumerate(panels.items()):
    axes = figure.add_subplot(rows, columns, i + 1)
    _panel(axes, title, names, runs, smoothing)
    axes.set_xlim(0, 1.02 * max(last, 1))
    if i + columns >= len(panels):
      axes.set_xlabel('step', fontsize=9, color=_INK)
  _head(figure, runs, last, height)
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)
  except OSError as error:
    reason = error.strerror or error
    raise InputError(f'{output}: cannot be written: {reason}') from error


def arrange(names: set[str]) -> dict[str, list[str]]:
  """Sorts names of curves into panels.

  Returns:
    Title -> names in it: 'train/x' and 'val/x' meet in 'x', the channels of
    'z', 'z_mean' and 'z_label' in 'z, channel c', each speed is for itself.
  """
  panels: dict[str, list[str]] = {}
  for name in sorted(names - set(_UNSEEN)):
    kind, _, title = name.partition('/')
    if title.startswith('channel_'):
      title = f'z, channel {title.removeprefix("channel_")}'
    panels.setdefault(title or kind, []).append(name)

  def order(title: str):
    kind = panels[title][0].partition('/')[0]
    late = 0 if kind in _SPLITS else 1 if kind == 'speed' else 2
    first = _FIRST.index(title) if title in _FIRST else len(_FIRST)
    return late, title in _LAST, first, _natural(title)

  return {title: panels[title] for title in sorted(panels, key=order)}


def _natural(title: str) -> tuple[str, int]:
  """So that channel 10 comes after channel 9."""
  head, _, tail = title.rpartition(' ')
  return (head, int(tail)) if tail.isdigit() else (title, 0)


def _labels(runs: Sequence[pathlib.Path]) -> list[str]:
  """Short names that tell runs apart."""
  paths = [run.resolve() for run in runs]
  names = [path.name for path in paths]
  if len(set(names)) == len(names):
    return names
  common = os.path.commonpath(paths)
  return [os.path.relpath(path, common) for path in paths]


def _panel(
  axes: Any,
  title: str,
  names: Sequence[str],
  runs: Mapping[str, Mapping[str, curves.Curve]],
  smoothing: float,
) -> None:
  """Draws one quantity of all runs."""
  from matplotlib.ticker import MaxNLocator, StrMethodFormatter

  shown, quantiles = [], False
  for i, run in enumerate(runs.values()):
    for name in names:
      if name not in run:
        continue
      steps, values = run[name]
      style = _style(name, i, len(runs))
      if values.ndim == 2:
        _band(axes, steps, values, style, len(runs) == 1)
        quantiles = True
        continue
      if name.partition('/')[0] in _SPLITS:
        shown.append(values)
      if style['marker'] or len(values) < 3:
        axes.plot(steps, values, markersize=3.5, linewidth=1.3, **style)
        continue
      axes.plot(steps, values, linewidth=0.8, alpha=0.25, **style)
      smoothed = curves.smooth(values, smoothing)
      axes.plot(steps, smoothed, linewidth=1.5, **style)
  if shown and _wants_log(np.concatenate(shown)):
    axes.set_yscale('log')
  axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
  axes.xaxis.set_major_formatter(StrMethodFormatter('{x:,.0f}'))
  words = dict(fontsize=10, fontweight='bold', color=_INK)
  axes.set_title(title.replace('_', ' '), loc='left', **words)
  unit = 'latent' if quantiles else _UNITS.get(title, '')
  axes.set_ylabel(unit, fontsize=8, color=_INK)
  axes.grid(True, color=_GRID, linewidth=0.7)
  axes.set_axisbelow(True)
  axes.tick_params(which='both', labelsize=8, colors=_INK, length=0)
  for side, spine in axes.spines.items():
    spine.set_visible(side in ('left', 'bottom'))
    spine.set_color(_GRID)


def _style(name: str, index: int, count: int) -> dict[str, Any]:
  """Colours tell runs apart; of one run, what kind of curve it is."""
  kind = name.partition('/')[0]
  other = kind in ('val', 'z_mean', 'z_label')
  color = _COLORS[(index if count > 1 else int(other)) % len(_COLORS)]
  return dict(
    color=color,
    linestyle='--' if other and count > 1 else '-',
    marker='o' if kind == 'val' else None,
  )


def _band(
  axes: Any,
  steps: np.ndarray,
  values: np.ndarray,
  style: Mapping[str, Any],
  whole: bool,
) -> None:
  """The median of latents, their middle half and (`whole`) nine tenths."""
  middle, color = values.shape[1] // 2, style['color']
  for edge, alpha in ((0, 0.10), (1, 0.18)) if whole else ((1, 0.12),):
    low, high = values[:, edge], values[:, -1 - edge]
    axes.fill_between(steps, low, high, color=color, alpha=alpha, linewidth=0)
  line = {k: v for k, v in style.items() if k != 'marker'}
  axes.plot(steps, values[:, middle], linewidth=1.4, **line)


def _wants_log(values: np.ndarray) -> bool:
  """Whether positive values spread over orders of magnitude."""
  values = values[np.isfinite(values)]
  if not len(values) or values.min() <= 0:
    return False
  low, high = np.quantile(values, (0.02, 1.0))
  return bool(high > _LOG_FACTOR * low)


def _head(
  figure: Any,
  runs: Mapping[str, Mapping[str, curves.Curve]],
  last: int,
  height: float,
) -> None:
  """Title and legend above the panels."""
  from matplotlib.lines import Line2D

  title = next(iter(runs)) if len(runs) == 1 else f'{len(runs)} runs'
  figure.text(
    *(0.012, 1 - 0.12 / height, f'{title}, {last:,} steps'),
    **dict(fontsize=13, fontweight='bold', color=_INK, va='top'),
  )
  names = {name for run in runs.values() for name in run}
  kinds = {name.partition('/')[0] for name in names}
  lines = []
  if len(runs) > 1:
    for i, label in enumerate(runs):
      lines.append(Line2D([], [], color=_COLORS[i % len(_COLORS)], label=label))
  for kind, label in _KINDS.items():
    if kind in kinds:
      style = _style(f'{kind}/', 0, len(runs))
      style['color'] = style['color'] if len(runs) == 1 else _INK
      lines.append(Line2D([], [], label=label, markersize=3.5, **style))
  figure.legend(
    handles=lines,
    loc='upper left',
    bbox_to_anchor=(0.005, 1 - 0.36 / height),
    ncols=max(1, len(lines)),
    frameon=False,
    fontsize=9,
    labelcolor=_INK,
  )


def _import_figure() -> Any:
  """Returns matplotlib's Figure, or says in one line what is missing."""
  try:
    from matplotlib.figure import Figure
  except ImportError as error:
    raise InputError(
      f"drawing curves needs matplotlib: pip install '.[plot]' ({error})"
    ) from error
  return Figure

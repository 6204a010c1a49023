"""Scores of systems as a Markdown table and as curves, without pictures.

  python scripts/score_summary.py ours=a.json still=b.json --plot=scores.png

The table goes to stdout: what a report of `mdcf report` has, for a page that
shows nobody. The plot (by matplotlib) has scores over the frames of the clips.
"""

import argparse
import math
import pathlib
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.report import curves, labels, systems  # noqa: E402

COLUMNS = 3
PANEL = 3.6, 2.2  # Inches.
TRUE = 'true clips'


def main(argv: list[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('scores', nargs='+', metavar='NAME=FILE')
  parser.add_argument('--plot', type=pathlib.Path, metavar='FILE.png')
  args = parser.parse_args(argv)
  try:
    found = systems.read(systems.named(args.scores))
  except InputError as error:
    parser.error(str(error))
  sys.stdout.write('\n'.join(table(found)) + '\n')
  if args.plot:
    plot(found, args.plot)
  return 0


def table(found: Sequence[systems.System]) -> list[str]:
  """Lines of Markdown: a row per score, groups in the order of the report."""
  names = {name for system in found for name in system.scores}
  names = labels.shown(names)
  head = ['score', '', TRUE, *(system.name for system in found)]
  lines = [f'| {" | ".join(head)} |', '|' + '---|' * len(head)]
  for name in names:
    about = labels.label(name)
    scores = [system.scores.get(name) for system in found]
    first = next(score for score in scores if score)
    arrow = labels.ARROWS.get(first.better, ('',))[0]
    true = '' if first.real is None else f'{first.real:.{about.digits}f}'
    cells = [labels.alone(name), arrow, true]
    cells += [_cell(score, about.digits) for score in scores]
    lines.append(f'| {" | ".join(cells)} |')
  blank = sorted(set.intersection(*(set(system.skipped) for system in found)))
  if blank:
    lines += ['', f'Not computed, for want of weights: {", ".join(blank)}.']
  return lines


def _cell(score: systems.Score | None, digits: int) -> str:
  if score is None:
    return ''
  text = f'{score.value:.{digits}f}'
  if score.low is None or score.high is None:
    return text
  return f'{text} [{score.low:.{digits}f}, {score.high:.{digits}f}]'


def plot(found: Sequence[systems.System], path: pathlib.Path) -> None:
  """Curves over the seconds of the clips, a panel per score."""
  from matplotlib.figure import Figure

  names = {name for system in found for name in system.curves['fake']}
  names = labels.shown(names)
  rows = math.ceil(len(names) / COLUMNS)
  figure = Figure(
    figsize=(COLUMNS * PANEL[0], rows * PANEL[1]), layout='constrained'
  )
  for i, name in enumerate(names):
    axes = figure.add_subplot(rows, COLUMNS, i + 1)
    axes.set_title(labels.alone(name), fontsize=9)
    for system in found:
      if name in system.curves['fake']:
        _draw(axes, system.curves['fake'][name], system.fps, system.name)
    true = [s.curves['real'][name] for s in found if name in s.curves['real']]
    if true:
      _draw(axes, true[0], found[0].fps, TRUE, color='black')
    axes.tick_params(labelsize=7)
  axes.set_xlabel('seconds', fontsize=8)
  lines = {
    text: line
    for axes in figure.axes
    for line, text in zip(*axes.get_legend_handles_labels())
  }
  figure.legend(
    lines.values(), lines, loc='outside upper center', ncols=4, fontsize=8
  )
  figure.savefig(path, dpi=110)


def _draw(axes, curve, fps: float, name: str, **style) -> None:
  values = curves.kept(curve)
  axes.plot(np.arange(len(values)) / fps, values, label=name, lw=1.0, **style)


if __name__ == '__main__':
  sys.exit(main())

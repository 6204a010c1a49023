"""Our scores beside the rows of the paper's tables.

  python bench/paper_tables.py --table=1 ours=scores.json still=still.json
  python bench/paper_tables.py --table=3 --real=true --fake=generated
  python bench/paper_tables.py --table=fs ours=scores.json

Tables 1 (HDTF), 2 (compression), 3 (VoxCeleb2, trained on HDTF alone), 5
(stages and strategies of training) and the flow smoothness of figure 4b. What
`mdcf evaluate` wrote comes first, by our protocol, then the paper's rows, by
its own: the paper does not say which networks, crops, clips and sums it took,
so no row of the one compares directly with a row of the other. A score that was
not computed is blank.

The rows of tables 2 and 5 are trained, at small size, by bench/ablation.py.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mdcf_jax.cli import main as cli  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.report import systems  # noqa: E402

LABEL = 'the paper’s, its own protocol: not directly comparable'
# Column of the paper -> our score, decimals.
COLUMNS = {
  'FID': ('fid', 2),
  'FVD16': ('fvd16', 2),
  'FVD32': ('fvd32', 2),
  'LSE_C': ('lse_c_exact', 2),
  'LSE_D': ('lse_d_exact', 2),
  'CSIM': ('csim', 3),
}
# As printed in the paper, in the order of COLUMNS.
PAPER = {
  '1': (
    'Table 1: quantitative comparison on HDTF',
    {
      'Audio2Head': '30.10 122.26 205.42 6.88 7.58 0.705',
      'SadTalker': '26.11 97.43 187.43 6.27 8.03 0.767',
      'Hallo': '41.32 154.38 217.6 7.49 7.94 0.709',
      'EchoMimic': '32.80 139.00 178.16 6.69 8.27 0.731',
      'AniTalker': '44.42 133.36 208.36 6.04 9.27 0.725',
      'DAWN*': '11.80 68.07 105.20 7.20 7.80 0.790',
      'Hallo2*': '19.10 113.30 164.58 7.40 7.697 0.789',
      'Ours-256': '11.22 44.60 60.28 7.33 7.85 0.791',
      'Ours-512': '12.57 51.02 65.40 7.14 7.95 0.806',
    },
  ),
  '2': (
    'Table 2: compression methods with different ratios',
    {
      'GT': '0 0 0 8.30 7.05',
      'FDE (d/4)': '7.90 21.18 30.45 7.92 7.89',
      'FDE (d/8)': '10.33 35.07 62.60 6.89 8.26',
      'VAE (d/32)': '24.26 62.84 100.61 7.64 7.52',
      'MDCF (d/16)': '7.85 21.31 30.40 7.95 7.38',
      'MDCF (d/32)': '7.84 20.84 29.46 7.92 7.36',
    },
  ),
  '3': (
    'Table 3: cross-dataset evaluation on VoxCeleb2',
    {
      'Hallo': '34.59 323.65 545.94 4.72 9.23 0.610',
      'Hallo2': '24.62 233.45 389.77 4.93 9.50 0.643',
      'ours': '18.54 207.83 288.04 4.80 9.39 0.662',
    },
  ),
  '5': (
    'Table 5: compression stages and training strategies',
    {
      'GT': '0 0 0 8.30 7.05',
      'LIA': '26.64 95.75 178.62 6.69 8.12',
      'FDE': '7.90 21.18 30.45 7.92 7.89',
      'MDCF': '7.84 20.84 29.46 7.92 7.36',
      'w/o IGC loss': '8.79 27.19 40.69 7.58 7.59',
      'w/o TPC': '12.75 42.00 64.52 7.00 7.59',
    },
  ),
}
FLOW = ('flow_smoothness', 'flow_smoothness_ratio')
ESTIMATORS = ('raft-small', 'farneback')


def main(argv: list[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('scores', nargs='*', metavar='[NAME=]SCORES.json')
  add('--table', required=True, choices=(*PAPER, 'fs'))
  add('--real', help='folder of true clips, to evaluate first')
  add('--fake', help='folder of generated clips')
  add('--output', default='scores.json', help='of that evaluation')
  add('--networks', help='of `mdcf evaluate`')
  add('--arcface', help='of `mdcf evaluate`')
  args = parser.parse_args(argv)
  scores = list(args.scores)
  if bool(args.real) != bool(args.fake):
    parser.error('--real and --fake belong together')
  if args.real:
    if code := _evaluate(args):
      return code
    scores.append(args.output)
  try:
    found = systems.read(systems.named(scores)) if scores else []
  except InputError as error:
    parser.error(str(error))
  lines = flow(found) if args.table == 'fs' else table(args.table, found)
  print('\n'.join(lines))
  return 0


def _evaluate(args: argparse.Namespace) -> int:
  given = ['--real', args.real, '--fake', args.fake, '--output', args.output]
  for name in ('networks', 'arcface'):
    if getattr(args, name):
      given += [f'--{name}', getattr(args, name)]
  return cli.main(['evaluate', *given])


def table(name: str, found: Sequence[systems.System]) -> list[str]:
  """The lines of a table of the paper, ours first, as Markdown."""
  title, rows = PAPER[name]
  width = max(len(row.split()) for row in rows.values())
  columns = dict(list(COLUMNS.items())[:width])
  lines = _head(title, found, ('fid', 'fvd16', 'lse_exact', 'csim'))
  lines += [*_line('', *columns), _rule(width)]
  for system in found:
    lines += _line(system.name, *_ours(system, columns))
  if found:
    lines += _line('true clips', *_true(found[0], columns))
  lines += _line(f'*{LABEL}:*', *[''] * width)
  for method, row in rows.items():
    lines += _line(method, *row.split())
  if name in ('2', '5'):
    lines += ['', 'These rows, trained at small size: bench/ablation.py.']
  return lines


def flow(found: Sequence[systems.System]) -> list[str]:
  """Flow smoothness of systems beside the true clips'."""
  metrics = [f'flow_{estimator}' for estimator in ESTIMATORS]
  lines = _head('Figure 4b: flow smoothness', found, metrics)
  lines += [*_line('', 'estimator', 'value', 'true clips', 'ratio'), _rule(4)]
  for system in found:
    for estimator in ESTIMATORS:
      value, ratio = (system.scores.get(f'{name}_{estimator}') for name in FLOW)
      lines += _line(
        system.name,
        estimator,
        _text(value and value.value, 4),
        _text(value and value.real, 4),
        _text(ratio and ratio.value, 3),
      )
  why = 'figure 4b is a picture; the paper’s text states no number of it,'
  return [*lines, '', why, 'nor which estimator of flow it is of.']


def _head(
  title: str, found: Sequence[systems.System], metrics: Sequence[str]
) -> list[str]:
  lines = [title, '']
  if found:
    protocol, sets = found[0].protocol, found[0].sets
    lines += [
      f'Ours: protocol {protocol["name"]} {protocol["hash"][:12]}, '
      + '; '.join(f'{x.name} {x.sets["fake"]["clips"]} clips' for x in found)
      + f', {sets["real"]["clips"]} true ones. Blank: not computed.',
      '',
    ]
    skipped: Mapping[str, str] = found[0].skipped
    for metric in metrics:
      if metric in skipped:
        lines += [f'{metric} not computed: {skipped[metric]}', '']
  return lines


def _ours(system: systems.System, columns) -> list[str]:
  scores = [(system.scores.get(ours), n) for ours, n in columns.values()]
  return [_text(score and score.value, digits) for score, digits in scores]


def _true(system: systems.System, columns) -> list[str]:
  scores = [(system.scores.get(ours), n) for ours, n in columns.values()]
  return [_text(score and score.real, digits) for score, digits in scores]


def _text(value: float | None, digits: int) -> str:
  return '' if value is None else f'{value:.{digits}f}'


def _line(*cells: str) -> list[str]:
  return [f'| {" | ".join(cells)} |']


def _rule(columns: int) -> str:
  return '|---' * (columns + 1) + '|'


if __name__ == '__main__':
  sys.exit(main())

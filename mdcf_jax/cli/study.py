"""`mdcf study`: the paper's user study, as a page and its scores.

  mdcf study make --systems ours=generated dawn=dawn --truth true \
    --output study.html
  mdcf study score answers-*.json --key study.key.json

`make` writes the page for participants and, apart, the key that tells which
clip is whose. Each participant hands in the file that the page saves.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys

from mdcf_jax.errors import InputError

HELP = 'a page on which people judge clips, and its scores'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds both actions of this command."""
  actions = parser.add_subparsers(
    dest='action', metavar='make|score', required=True
  )
  make = actions.add_parser('make', help='writes the page and the key')
  add = make.add_argument
  add(
    '--systems',
    nargs='+',
    required=True,
    metavar='NAME=DIR',
    help='generated clips',
  )
  add('--truth', required=True, metavar='DIR', help='true clips')
  add('--output', required=True, metavar='FILE', help='the page, .html')
  add('--key', metavar='FILE', help='by default beside it, .key.json')
  add('--clips', type=int, default=10, metavar='N', help='of each system')
  add('--seconds', type=float, default=10.0, metavar='S', help='of a clip')
  add('--size', type=int, default=256, metavar='PIXELS', help='of a side')
  add('--crf', type=int, default=18, help='quality of H.264, of all clips')
  add('--seed', type=int, default=0, help='of choice and names')
  add('--title', default='Judging short videos', help='of the page')
  score = actions.add_parser('score', help='means and intervals of answers')
  add = score.add_argument
  add('answers', nargs='+', metavar='ANSWERS.json', help='of participants')
  add('--key', required=True, metavar='FILE', help='that `make` wrote')
  add('--output', metavar='FILE', help='the scores, .json')


def run(args: argparse.Namespace) -> None:
  """Makes a study, or scores it."""
  {'make': _make, 'score': _score}[args.action](args)


def _make(args: argparse.Namespace) -> None:
  from mdcf_jax.evaluation.clips import list_clips
  from mdcf_jax.media import writer
  from mdcf_jax.study import make

  settings = make.Settings(
    *(args.clips, args.seconds, args.size, args.crf, args.seed, args.title)
  )
  _check(settings)
  page = writer.check_output(args.output, (), ['.html', '.htm'])
  key = args.key or page.with_suffix('.key.json')
  key = writer.check_output(key, (), ['.json'])
  folders = {make.TRUTH: args.truth}
  for word in args.systems:
    name, _, folder = word.partition('=')
    if not name.strip() or not folder:
      raise InputError(f'--systems {word!r} is no NAME=DIR')
    if name in folders:
      raise InputError(f'--systems: the name {name!r} is taken')
    folders[name] = folder
  systems = {name: list_clips(folder) for name, folder in folders.items()}
  for path in (page, key):
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise InputError(f'{path}: cannot be written ({error})') from error
  about = make.write_study(page, key, systems, settings)
  sys.stdout.write(
    f'{page}: {len(about["clips"])} clips of {len(systems)} systems, '
    f'{page.stat().st_size / 1e6:.1f} MB\n'
    f'{key}: which clip is whose; not for participants\n'
  )


def _check(settings) -> None:
  if settings.clips < 1 or settings.seconds <= 0:
    raise InputError('--clips and --seconds are above 0')
  if settings.size < 16 or settings.size % 2:
    raise InputError(f'--size {settings.size} is not even, or below 16')
  if not 0 <= settings.crf <= 51:
    raise InputError(f'--crf {settings.crf} is not in 0 to 51')
  if settings.seed < 0:
    raise InputError(f'--seed {settings.seed} is below 0')


def _score(args: argparse.Namespace) -> None:
  from mdcf_jax.media import writer
  from mdcf_jax.study import score

  output = None
  if args.output:
    given = [args.key, *args.answers]
    output = writer.check_output(args.output, given, ['.json'])
  found = score.score(args.answers, score.read_key(args.key))
  sys.stdout.write('\n'.join(_lines(found)) + '\n')
  if output:
    _write(output, dataclasses.asdict(found))


def _write(output: pathlib.Path, found: dict) -> None:
  text = json.dumps(found | {'intervals': _INTERVALS}, indent=2)
  try:
    output.write_text(text + '\n', encoding='utf-8')
  except OSError as error:
    raise InputError(f'{output}: cannot be written ({error})') from error


_INTERVALS = (
  '95 % bootstrap; participants and clips are drawn with replacement, each by '
  'itself, 10000 draws'
)


_NONE = 'no intervals: they need two participants and two clips'


def _lines(found) -> list[str]:
  """The scores as text."""
  from mdcf_jax.pages.markup import plural
  from mdcf_jax.study.questions import QUESTIONS

  width = max(8, *map(len, found.means))
  titles = ''.join(f'{question.title:>21}' for question in QUESTIONS)
  lines = [
    f'{plural(found.participants, "participant")} x '
    f'{plural(found.clips, "clip")} of each of {len(found.means)} systems; '
    + (_INTERVALS if min(found.participants, found.clips) > 1 else _NONE),
    f'{"":{width}}{titles}',
  ]
  for system, means in found.means.items():
    cells = []
    for question in QUESTIONS:
      mean = means[question.key]
      text = f'{mean.value:.2f}'
      if mean.low is not None:
        text += f' [{mean.low:.2f}, {mean.high:.2f}]'
      cells.append(f'{text:>21}')
    lines.append(f'{system:{width}}{"".join(cells)}')
  return lines

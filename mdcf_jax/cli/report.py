"""`mdcf report`: scores of `mdcf evaluate` as one page, with the clips in it.

  mdcf report scores.json --real true --fake generated --output report.html
  mdcf report generated=scores.json still=still.json --output report.html

The first file is what the page is about; the others stand beside it.
"""

from __future__ import annotations

import argparse
import sys

from mdcf_jax.errors import InputError

HELP = 'scores as one page to read, with the clips in it'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  add = parser.add_argument
  add(
    'scores',
    nargs='+',
    metavar='[NAME=]SCORES.json',
    help='what `mdcf evaluate` wrote, the system first, then what to compare',
  )
  add('--output', required=True, metavar='FILE', help='the page, .html')
  add('--real', metavar='DIR', help='true clips, to show some')
  add(
    '--fake',
    nargs='+',
    metavar='[NAME=]DIR',
    help='generated clips: folders in the order of the scores, or by name',
  )
  add('--title', help='of the page')
  add(
    '--about',
    action='append',
    default=[],
    metavar='NAME=TEXT',
    help='what a system is, in a sentence; repeatable',
  )
  add('--clips', type=int, default=6, metavar='N', help='how many to show')
  add(
    '--clip_seconds', type=float, default=6.0, metavar='S', help='of each clip'
  )
  add(
    '--clip_kb', type=int, default=700, metavar='KB', help='each clip at most'
  )
  add(
    '--sort_by', metavar='SCORE', help='which clips are the worst and the best'
  )
  add('--networks', metavar='DIR', help='of `mdcf evaluate`, for RAFT')


def run(args: argparse.Namespace) -> None:
  """Reads the scores, encodes clips, writes the page."""
  from mdcf_jax.media import writer
  from mdcf_jax.report import labels, page, systems

  paths = systems.named(args.scores)
  output = writer.check_output(args.output, paths.values(), ['.html', '.htm'])
  found = systems.described(systems.read(paths), args.about)
  videos = _videos(args, [system.name for system in found])
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(f'{output}: cannot be written ({error})') from error
  page.write_report(output, found, videos, title=args.title)
  size = output.stat().st_size / 1e6
  count = len(labels.shown(found[0].scores))
  sys.stdout.write(f'{output}: {count} scores, {size:.1f} MB\n')


def _videos(args: argparse.Namespace, names: list[str]):
  """Where the clips are; None without folders."""
  if not args.real and not args.fake:
    return None
  if not (args.real and args.fake):
    raise InputError('--real and --fake belong together')
  if args.clips < 1 or args.clip_seconds <= 0 or args.clip_kb < 1:
    raise InputError('--clips, --clip_seconds and --clip_kb are above 0')
  from mdcf_jax.evaluation import clips as folders
  from mdcf_jax.evaluation.networks import Networks
  from mdcf_jax.metrics.protocol import PROTOCOLS
  from mdcf_jax.report import clips, flows, page

  protocol = PROTOCOLS['v1']
  return page.Videos(
    true=folders.list_clips(args.real),
    fakes={
      name: folders.list_clips(folder)
      for name, folder in _folders(args.fake, names).items()
    },
    limits=clips.Limits(args.clips, args.clip_seconds, 1000 * args.clip_kb),
    sort_by=args.sort_by,
    estimator=flows.find_estimator(Networks(protocol, args.networks), protocol),
  )


def _folders(words: list[str], names: list[str]) -> dict[str, str]:
  """Folders by the names of the systems."""
  found: dict[str, str] = {}
  if len(words) > len(names):
    raise InputError(f'--fake has {len(words)} folders for {len(names)} scores')
  for i, word in enumerate(words):
    name, equals, folder = word.partition('=')
    if not (equals and name in names):
      name, folder = names[i], word
    if name in found:
      raise InputError(f'--fake has two folders of {name}')
    found[name] = folder
  if names[0] not in found:
    raise InputError(f'--fake has no folder of {names[0]}')
  return found

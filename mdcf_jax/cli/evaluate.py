"""`mdcf evaluate`: scores of a folder of clips beside the true ones.

  mdcf evaluate --real real --fake fake --output scores.json
  mdcf evaluate --real real --fake fake --shard 0/2 --output part0.npz
  mdcf evaluate --merge part0.npz part1.npz --output scores.json

docs/evaluation.md says what is measured, and how to get the networks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import sys

from mdcf_jax.errors import InputError

HELP = 'scores of generated clips beside true ones'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument('--real', metavar='DIR', help='true clips')
  parser.add_argument('--fake', metavar='DIR', help='generated clips')
  parser.add_argument(
    '--output',
    required=True,
    metavar='FILE',
    help='the report, .json; with --shard a part of it, .npz',
  )
  parser.add_argument(
    '--protocol', default='v1', help='v1, the only one so far'
  )
  parser.add_argument(
    '--metrics',
    nargs='+',
    metavar='NAME',
    help='some of them; by default all whose networks are there',
  )
  parser.add_argument(
    '--unpaired',
    action='store_true',
    help='the folders are two sets; clips of one name have nothing in common',
  )
  parser.add_argument(
    '--networks',
    metavar='DIR',
    help='what `mdcf convert` wrote for metrics (default: in the cache)',
  )
  parser.add_argument(
    '--arcface', metavar='FILE', help='your own ONNX file, for CSIM'
  )
  parser.add_argument(
    '--cache', metavar='DIR', help='keeps results of clips, to go on from'
  )
  parser.add_argument(
    '--shard', metavar='I/N', help='of N shares of the clips the I-th, from 0'
  )
  parser.add_argument(
    '--merge', nargs='+', metavar='PART', help='parts that --shard wrote'
  )


def run(args: argparse.Namespace) -> None:
  """Measures, writes the report, prints the scores."""
  from mdcf_jax.media import writer
  from mdcf_jax.metrics.protocol import PROTOCOLS

  if args.protocol not in PROTOCOLS:
    raise InputError(
      f'no protocol {args.protocol!r}; there are: {", ".join(PROTOCOLS)}'
    )
  protocol = PROTOCOLS[args.protocol]
  shard = _shard(args.shard)
  suffix = '.npz' if args.shard else '.json'
  output = writer.check_output(args.output, args.merge or (), [suffix])
  if args.merge:
    if args.real or args.fake or args.shard:
      raise InputError('--merge takes parts alone, no clips')
    _report(_merged(args.merge, protocol), protocol, output)
    return
  if not (args.real and args.fake):
    raise InputError('--real and --fake are required (or --merge)')
  part = _evaluate(args, protocol, *shard)
  if args.shard:
    from mdcf_jax.evaluation import run as evaluation

    evaluation.save(part, output)
    sys.stdout.write(f'{output}: {len(part.rows)} clips, for --merge\n')
  else:
    _report(part, protocol, output)


def _shard(text: str | None) -> tuple[int, int]:
  """'0/4' as numbers; all of it is 0 of 1."""
  if text is None:
    return 0, 1
  index, _, count = text.partition('/')
  if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
    raise InputError(f'--shard {text!r} is no I/N with I from 0 to N - 1')
  return int(index), int(count)


def _merged(paths: list[str], protocol):
  from mdcf_jax.evaluation import run as evaluation

  return evaluation.merge([evaluation.load(path, protocol) for path in paths])


def _evaluate(args, protocol, index: int, count: int):
  """The part of this share."""
  from tqdm import tqdm

  from mdcf_jax.evaluation import run as evaluation
  from mdcf_jax.evaluation.cache import Cache
  from mdcf_jax.evaluation.clips import find_items
  from mdcf_jax.evaluation.context import Context
  from mdcf_jax.evaluation.networks import Networks

  items = find_items(args.real, args.fake, not args.unpaired)[index::count]
  networks = Networks(protocol, args.networks, arcface=args.arcface)
  context = Context(protocol, networks, Cache(args.cache))
  metrics, header = evaluation.plan(
    context, args.metrics, paired=not args.unpaired, shards=count
  )
  if not metrics:
    reasons = '; '.join(f'{k}: {v}' for k, v in header['skipped'].items())
    raise InputError(f'nothing can be measured: {reasons}')
  with _above_the_bar():
    bar = tqdm(items, desc='evaluate', unit='clip', disable=None)
    return evaluation.evaluate(context, metrics, header, bar, index)


def _above_the_bar() -> contextlib.AbstractContextManager:
  """Lets warnings appear above the progress bar, where there is one."""
  if not sys.stderr.isatty():
    return contextlib.nullcontext()
  from tqdm.contrib.logging import logging_redirect_tqdm

  return logging_redirect_tqdm()


def _report(part, protocol, output: pathlib.Path) -> None:
  """Writes the report and prints it."""
  from mdcf_jax.evaluation import report
  from mdcf_jax.evaluation.cache import write_file

  found = report.make(part, protocol)
  if not found['scores']:
    raise InputError(f'nothing could be scored: {_why(found)}')
  text = json.dumps(found, indent=2, allow_nan=False)
  write_file(output, text.encode() + b'\n')
  lines = [*report.lines(found), f'{output}: {found["sets"]["fake"]["clips"]}']
  sys.stdout.write('\n'.join(lines) + ' generated clips\n')


def _why(found) -> str:
  """The first reasons, each once."""
  reasons = {}
  for name, sides in found['failed'].items():
    reasons.setdefault(next(iter(sides.values())), name)
  for name, why in found['no_score'].items():
    reasons.setdefault(next(iter(why['reasons'])), name)
  text = [f'{name}: {reason}' for reason, name in reasons.items()]
  return '; '.join(text[:3]) or 'no clip has a score'

"""mdcf app: the web page, on this machine alone."""

import argparse
import dataclasses
import sys
import threading

from mdcf_jax.errors import InputError

HELP = 'a web page that makes videos, on this machine'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags of `mdcf app`."""
  add = parser.add_argument
  add(
    '--port', type=int, help='of 127.0.0.1; by default the first free from 7860'
  )
  add('--weights', default='mini', help='mini, or a folder of weights')
  add('--hubert', metavar='PATH', help='HuBERT, for weights trained with it')
  add(
    '--dtype',
    choices=('auto', 'float32', 'bfloat16'),
    default='auto',
    help='to compute in: auto is float32 on a CPU and else bfloat16',
  )
  add(
    '--resolution',
    type=int,
    help='pixels of a side, offered first; by default those trained for',
  )
  add(
    '--max-seconds',
    type=float,
    default=60.0,
    metavar='S',
    help='of a recording (default 60)',
  )
  add(
    '--max-megabytes',
    type=int,
    default=50,
    metavar='MB',
    help='of a file that is uploaded (default 50)',
  )
  add(
    '--share',
    action='store_true',
    help="also a public link through gradio's servers: whoever has it can use "
    'this machine, and what they upload passes through there',
  )


def run(args: argparse.Namespace) -> int:
  """Serves the page until Ctrl-C."""
  from mdcf_jax.app import server
  from mdcf_jax.app.limits import Limits

  if args.port is not None and not 0 <= args.port < 2**16:
    raise InputError(f'--port {args.port} is not in 0 to {2**16 - 1}')
  if not 1 <= args.max_seconds <= 3600:
    raise InputError(f'--max-seconds {args.max_seconds:g} is not in 1 to 3600')
  if not 1 <= args.max_megabytes <= 2000:
    raise InputError(
      f'--max-megabytes {args.max_megabytes} is not in 1 to 2000'
    )
  limits = dataclasses.replace(
    Limits(),
    seconds=args.max_seconds,
    file_bytes=args.max_megabytes * 2**20,
  )
  # What can be said at once, before anything is loaded.
  server.check_gradio()
  server.find_port(args.port)

  from mdcf_jax.pipeline import Pipeline
  from mdcf_jax.programs import keep_programs

  keep_programs()
  dtype = None if args.dtype == 'auto' else args.dtype
  pipe = Pipeline.from_pretrained(args.weights, args.hubert, dtype)
  with server.serve(
    *(pipe, limits),
    port=args.port,
    resolution=args.resolution,
    share=args.share,
  ) as (address, _):
    sys.stdout.write(f'{address}\n(Ctrl-C ends it)\n')
    sys.stdout.flush()
    _wait()
  return 0


def _wait() -> None:
  """Until Ctrl-C, or SIGTERM."""
  threading.Event().wait()

"""`mdcf export`: the networks as programs that need no code of this package.

  mdcf export --weights mini --output exported
  mdcf export --weights mini --output exported --platforms cpu tpu --frames 64

A folder of `jax.export` programs with weights beside them; docs/export.md says
how to call them.
"""

import argparse
import sys

HELP = 'the networks as programs for other runtimes'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  add = parser.add_argument
  add(
    '--weights',
    default='mini',
    help='mini, a folder of weights, or user/name[@revision] of the Hub',
  )
  add('--output', required=True, help='folder: new, empty, or an export')
  add(
    '--platforms',
    nargs='+',
    default=['cpu', 'cuda', 'tpu'],
    help='that they run on: cpu, cuda, rocm, tpu; none needs to be here',
  )
  add('--resolution', type=int, help='pixels of a side')
  add('--dtype', choices=('float32', 'bfloat16'), default='float32')
  add('--steps', type=int, default=20, help='of the denoiser')
  add('--sampler', default='ddim', help='ddim, dpm++ or ddim-dawn')
  add('--guidance_scale', '--guidance-scale', type=float, default=1.0)
  add('--batch', type=int, help='clips of a call; by default any number')
  add('--frames', type=int, help='frames of a clip; by default any number')


def run(args: argparse.Namespace) -> None:
  """Writes the folder and prints where it is."""
  from mdcf_jax.export.write import write
  from mdcf_jax.stages import Options

  output = write(
    args.weights,
    args.output,
    platforms=args.platforms,
    resolution=args.resolution,
    dtype=args.dtype,
    options=Options(args.steps, args.sampler, args.guidance_scale),
    batch=args.batch,
    frames=args.frames,
  )
  sys.stdout.write(f'{output}\n')

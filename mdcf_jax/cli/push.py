"""`mdcf push DIR user/name`: a folder of weights to the Hugging Face Hub.

  mdcf push my-model me/my-model
  mdcf push my-model me/my-model --public --branch v2

One commit with config.json, the safetensors files, and a card; the repository
is private unless `--public` is said. `hf auth login` logs in.
"""

import argparse
import sys

from mdcf_jax.hub.push import push

HELP = 'a folder of weights to the Hugging Face Hub'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument('folder', help='of `mdcf pack`')
  parser.add_argument('repo', metavar='USER/NAME', help='made when absent')
  parser.add_argument(
    '--public',
    action='store_true',
    help='a new repository that others see; one that exists stays as it is',
  )
  parser.add_argument('--branch', default='main', help='made when absent')
  parser.add_argument('--message', default='Weights of mdcf_jax')


def run(args: argparse.Namespace) -> None:
  """Uploads the folder; prints the commit."""
  where = push(
    args.folder,
    args.repo,
    private=not args.public,
    branch=args.branch,
    message=args.message,
  )
  sys.stdout.write(f'{where}\n')

"""mdcf download: fetch a file that other commands need.

  mdcf download faces     MediaPipe's face model (3.8 MB, Apache-2.0)
  mdcf download raft      RAFT-small, for `mdcf evaluate`

It is kept in `$XDG_CACHE_HOME/mdcf_jax` (by default `~/.cache/mdcf_jax`).
Nothing is ever fetched without this command. What broke off goes on.
"""

import argparse
import sys

from mdcf_jax.errors import InputError
from mdcf_jax.media import download, sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments."""
  parser.add_argument(
    'what',
    choices=['faces', *sources.SOURCES, *sources.BRING],
    help="'faces': the model that finds faces; else a network of a metric",
  )


def run(args: argparse.Namespace) -> None:
  """Fetches the file and prints where it is, and what to do with it.

  Raises:
    InputError: it cannot be fetched, or no public address and sha256 of it are
      known.
  """
  if args.what == 'faces':
    sys.stdout.write(f'{download.download_face_model()}\n')
    return
  if args.what in sources.BRING:
    how = f'; then mdcf convert {args.what}' if args.what != 'arcface' else ''
    raise InputError(
      f'{args.what}: bring your own file, {sources.BRING[args.what]}{how}'
    )
  folder = download.cache_dir() / 'downloads'
  converted = []
  for source in sources.SOURCES[args.what]:
    sys.stdout.write(
      f'{source.url}: {source.megabytes:g} MB, sha256 {source.sha256}, '
      f'licence: {source.licence}\n'
    )
    sys.stdout.flush()
    path = download.download(source.url, folder / source.name, source.sha256)
    target = path.with_suffix('.safetensors')
    converted.append(str(target))
    sys.stdout.write(f'python scripts/pth_to_safetensors.py {path} {target}\n')
  sys.stdout.write(f'mdcf convert {args.what} {" ".join(converted)}\n')

"""mdcf download: fetch a file that other commands need.

  mdcf download faces     MediaPipe's face model (3.8 MB, Apache-2.0)

It is kept in `$XDG_CACHE_HOME/mdcf_jax` (by default `~/.cache/mdcf_jax`).
Nothing is ever fetched without this command.
"""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments."""
  parser.add_argument(
    'what', choices=['faces'], help="'faces': the model that finds faces"
  )


def run(args: argparse.Namespace) -> None:
  """Fetches the file and prints where it is."""
  from mdcf_jax.media import download

  del args  # There is one thing to fetch.
  sys.stdout.write(f'{download.download_face_model()}\n')

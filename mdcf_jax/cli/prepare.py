"""`mdcf prepare`: videos become a dataset to train on.

  mdcf prepare --videos my-videos --output my-dataset
  mdcf prepare hdtf --videos originals --lists HDTF_dataset --output hdtf
  mdcf prepare voxceleb2 --videos vox2 --output vox2-dataset

Each video is one unit of work: a worker process reads it at 25 fps, finds the
face and stores records in `<output>.work`, and the records become the dataset
when all are done. A second run continues where the first one stopped, and does
a video anew that is another one by then. `report.html` in the dataset shows
what came of it.
"""

import argparse
import dataclasses
import logging
import os
import pathlib
from typing import Any

from mdcf_jax.errors import InputError

logger = logging.getLogger(__name__)

# What the frames are cut to, and what is taken when nothing is said.
CROPS = {
  'folder': ('face', 'none'),
  'hdtf': ('window', 'face'),
  'voxceleb2': ('none', 'face'),
}
# Options that only one collection has.
_OF_ONE = {
  'manifest': 'folder',
  'lists': 'hdtf',
  'fixed_list': 'hdtf',
  'num_train': 'voxceleb2',
  'num_val': 'voxceleb2',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    'collection',
    nargs='?',
    default='folder',
    choices=tuple(CROPS),
    help="what the videos are: anybody's (folder, if nothing is said), "
    "HDTF's originals, VoxCeleb2",
  )
  parser.add_argument(
    '--videos', metavar='DIR', help='searched recursively for videos'
  )
  parser.add_argument(
    '--output', required=True, metavar='DIR', help='the new dataset'
  )
  parser.add_argument(
    '--resolution', type=int, default=256, help='side of the frames (256)'
  )
  parser.add_argument(
    '--crop',
    choices=('face', 'window', 'none'),
    help='face: a fixed square over the face of each stretch; window: that of '
    "HDTF's lists; none: the middle of the picture, which is a finished clip",
  )
  _add_collections(parser)
  _add_limits(parser)
  parser.add_argument(
    '--workers',
    type=int,
    default=os.cpu_count() or 1,
    help='processes (as many as there are cores)',
  )
  parser.add_argument(
    '--val_fraction',
    type=float,
    default=0.1,
    help='part of the identities (HDTF: of the videos) kept for validation, '
    'where no split is given (0.1)',
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='of what is drawn (0)'
  )
  parser.add_argument(
    '--hubert',
    metavar='PATH',
    help='hubert.safetensors, or a folder with it: its features are stored '
    'beside log-mel; each worker holds the weights',
  )
  parser.add_argument(
    '--face_model',
    metavar='FILE',
    help='face_landmarker.task, if it is neither in $MDCF_FACE_MODEL nor where '
    'mdcf download puts it',
  )


def _add_collections(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--manifest',
    metavar='FILE',
    help='folder: a CSV with columns file (relative to the CSV), identity, '
    'split; only these files are taken',
  )
  parser.add_argument(
    '--lists', metavar='DIR', help="hdtf: the authors' lists, *_video_url.txt"
  )
  parser.add_argument(
    '--fixed_list',
    metavar='FILE',
    help='hdtf: names of videos or clips for validation, one a line',
  )
  parser.add_argument(
    '--num_train',
    type=int,
    metavar='N',
    help='voxceleb2: clips drawn of dev; all if not given',
  )
  parser.add_argument(
    '--num_val',
    type=int,
    metavar='N',
    help='voxceleb2: clips drawn of test (400)',
  )


def _add_limits(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--min_seconds', type=float, default=1.0, help='of a clip (1)'
  )
  parser.add_argument(
    '--min_face',
    type=int,
    default=64,
    help='height of the face, in pixels of the video (64)',
  )
  parser.add_argument(
    '--min_sharpness',
    type=float,
    default=0.005,
    help='of the face (0.005); report.html shows how it is distributed',
  )


def run(args: argparse.Namespace) -> int:
  """Prepares the dataset; returns the exit code."""
  from mdcf_jax.prepare import work_folder

  _check_arguments(args)
  output = pathlib.Path(args.output).resolve()
  work_folder.check_output(output)
  units, files = _list_units(args)
  from mdcf_jax.prepare import dataset, pieces

  plan = dataset.Plan(
    name='talking_heads' if args.collection == 'folder' else args.collection,
    units=units,
    settings=pieces.Settings(
      resolution=args.resolution,
      min_seconds=args.min_seconds,
      min_face=args.min_face,
      min_sharpness=args.min_sharpness,
      face_model=args.face_model,
      hubert=args.hubert,
    ),
    val_fraction=args.val_fraction,
    seed=args.seed,
    num_workers=args.workers,
    described=_describe(args),
    files=files,
  )
  dataset.make_dataset(plan, output)
  return 0


def _check_arguments(args: argparse.Namespace) -> None:
  for name, collection in _OF_ONE.items():
    if getattr(args, name) is not None and args.collection != collection:
      raise InputError(f'--{name} is for mdcf prepare {collection}')
  if bool(args.manifest) == bool(args.videos):
    either = '--videos DIR'
    if args.collection == 'folder':
      either = 'either --videos DIR or --manifest FILE'
    raise InputError(f'give {either}')
  if args.videos and not pathlib.Path(args.videos).is_dir():
    raise InputError(f'{args.videos}: no such folder')
  if args.collection == 'hdtf' and not args.lists:
    raise InputError("give --lists DIR, the folder of HDTF's own lists")
  args.crop = args.crop or CROPS[args.collection][0]
  if args.crop not in CROPS[args.collection]:
    raise InputError(
      f'--crop {args.crop}: {args.collection} has '
      f'{" and ".join(CROPS[args.collection])}'
    )
  if not args.output:
    raise InputError('--output is empty; name a folder')
  _check_numbers(args)


def _check_numbers(args: argparse.Namespace) -> None:
  if not 0 <= args.val_fraction < 1:
    raise InputError(f'--val_fraction {args.val_fraction} is not in [0, 1)')
  if args.resolution < 32 or args.resolution % 32:
    raise InputError(f'--resolution {args.resolution}: not a multiple of 32')
  # A record is at most 20 s long.
  for name, low, high in (
    ('workers', 1, 1024),
    ('min_seconds', 0.04, 20),
    ('min_face', 0, 10_000),
    ('min_sharpness', 0, 1e9),
    ('num_train', 0, 10**9),
    ('num_val', 0, 10**9),
  ):
    value = getattr(args, name)
    if value is not None and not low <= value <= high:
      raise InputError(f'--{name} {value} is not in {low} to {high}')


def _list_units(args: argparse.Namespace) -> tuple[list[Any], dict[str, str]]:
  """The units of the collection, and texts to lie in the dataset.

  Raises:
    InputError: there are none.
  """
  files = {}
  if args.collection == 'hdtf':
    units, files = _list_hdtf(args)
  elif args.collection == 'voxceleb2':
    units = _list_voxceleb2(args)
  else:
    units = _list_folder(args)
  if not units:
    raise InputError(
      f'{args.manifest or args.videos}: there are no videos in it'
    )
  return units, files


def _list_folder(args: argparse.Namespace) -> list[Any]:
  from mdcf_jax.prepare import folder
  from mdcf_jax.prepare.units import Centre, FaceSquare

  framing = FaceSquare() if args.crop == 'face' else Centre()
  if args.manifest:
    return folder.read_manifest(pathlib.Path(args.manifest), framing)
  return folder.find_units(pathlib.Path(args.videos), framing)


def _list_hdtf(args: argparse.Namespace) -> tuple[list[Any], dict[str, str]]:
  """HDTF's units; says what is missing, and keeps that and odd rows as texts.

  Raises:
    InputError: none of the videos is there.
  """
  from mdcf_jax.prepare import hdtf

  way = 'window' if args.crop == 'window' else 'ratio'
  listing = hdtf.find_units(
    args.videos, args.lists, way, fixed_list=args.fixed_list
  )
  missing = hdtf.format_missing(listing.missing)
  odd = hdtf.format_odd(listing.odd)
  if missing:
    logger.info('videos that are not there, by the name to give them:')
  for line in missing:
    logger.info('  %s', line)
  if odd:
    logger.info('odd rows of the lists (%d):', len(odd))
  for line in odd:
    logger.info('  %s', line)
  if not listing.units:
    raise InputError(
      f'{args.videos}: none of the {len(missing)} videos of the lists is there'
    )
  files = {'missing.txt': missing, 'odd_rows.txt': odd}
  return listing.units, {
    name: ''.join(f'{line}\n' for line in lines)
    for name, lines in files.items()
    if lines
  }


def _list_voxceleb2(args: argparse.Namespace) -> list[Any]:
  from mdcf_jax.prepare import voxceleb2
  from mdcf_jax.prepare.units import FaceSquare

  num_val = voxceleb2.NUM_VAL if args.num_val is None else args.num_val
  units = voxceleb2.find_units(
    args.videos, num_val=num_val, num_train=args.num_train, seed=args.seed
  )
  if args.crop == 'none':
    return units
  return [dataclasses.replace(unit, framing=FaceSquare()) for unit in units]


def _describe(args: argparse.Namespace) -> dict[str, Any]:
  """How the clips were chosen, for the report."""
  names = ('collection', 'videos', 'manifest', 'crop', 'val_fraction', 'seed')
  names += ('lists', 'fixed_list', 'num_train', 'num_val')
  values = {name: getattr(args, name) for name in names}
  if args.collection == 'voxceleb2':
    del values['val_fraction']  # Its parts are the splits.
  for name in ('videos', 'manifest', 'lists', 'fixed_list'):
    if values[name]:
      values[name] = pathlib.Path(values[name]).name
  return {name: value for name, value in values.items() if value is not None}

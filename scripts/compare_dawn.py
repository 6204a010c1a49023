"""Compares full-size modules with those of the public DAWN, as a table.

  pip install torch pyyaml rotary-embedding-torch==0.3.5 einops-exts
  git clone https://github.com/Hanbo-Cheng/DAWN-pytorch
  python scripts/compare_dawn.py --dawn DAWN-pytorch

Both run on the CPU with the same random weights: they are saved as the public
code saves them, and come here through scripts/pth_to_safetensors.py and
`mdcf convert`. Nothing is downloaded. Needs 8 GB of memory and a quarter of an
hour of one core; the table in docs/parity.md is its output. `--keep` leaves the
checkpoints, which are what `mdcf convert` takes.
"""

import argparse
import importlib.util
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What tells a checkout, and what is imported from it.
FOLDERS = ('LFG/modules', 'DM_3/modules', 'PBnet/src/models', 'config')
# Modules that the public code cannot do without, and what installs them.
PACKAGES = {
  'torch': 'torch',
  'yaml': 'pyyaml',
  'einops_exts': 'einops-exts',
  'rotary_embedding_torch': 'rotary-embedding-torch==0.3.5',
}


def main() -> int:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--dawn', required=True, type=pathlib.Path, help='the checkout')
  add('--keep', type=pathlib.Path, help='folder for the checkpoints')
  add('--frames', type=int, default=56, help='of the longer clip')
  add('--steps', type=int, default=3, help='of sampling')
  args = parser.parse_args()
  problem = find_problem(args.dawn)
  if min(args.frames, args.steps) < 1:
    problem = '--frames and --steps are at least 1'
  if args.keep and args.keep.exists() and not args.keep.is_dir():
    problem = f'--keep {args.keep} is not a folder'
  if problem:
    print(f'compare_dawn.py: {problem}', file=sys.stderr)
    return 2
  sys.path.insert(0, str(ROOT))
  import dawn_rows  # Not before: it imports torch and jax.

  with tempfile.TemporaryDirectory() as folder:
    keep = args.keep or pathlib.Path(folder)
    keep.mkdir(parents=True, exist_ok=True)
    dawn_rows.compare_all(args.dawn.resolve(), keep, args.frames, args.steps)
  return 0


def find_problem(checkout: pathlib.Path) -> str | None:
  """Why there is nothing to compare with, in one line; None if there is."""
  for name in FOLDERS:
    if not (checkout / name).is_dir():
      return f'{checkout} is no checkout of DAWN-pytorch: it has no {name}'
  missing = [
    package
    for name, package in PACKAGES.items()
    if importlib.util.find_spec(name) is None
  ]
  if missing:
    return f'this needs more: pip install {" ".join(missing)}'
  return None


if __name__ == '__main__':
  sys.exit(main())

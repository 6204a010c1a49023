"""Turns a PyTorch checkpoint into safetensors, which `mdcf convert` reads.

  python scripts/pth_to_safetensors.py vox256.pth vox256.safetensors

Apart from the package, because it needs torch (`pip install torch`, the CPU
build is enough) and because it opens a pickle. A pickle can run programs while
it is opened. `weights_only=True` makes torch refuse whatever is not a tensor or
a plain container, which is a restriction of torch's own reader and no sandbox:
open only files whose source you trust, if in doubt in a container without a
network. The result has no such risk.

Dictionaries in dictionaries become names with dots between: the tensor
checkpoint['generator']['first.conv.weight'] is generator.first.conv.weight.
Optimizers are left out, and so is whatever is no tensor.
"""

import argparse
import os
import pathlib
import pickle
import sys

import safetensors.torch
import torch


def flatten(value, prefix: str = '') -> dict[str, torch.Tensor]:
  """Names and tensors of nested dictionaries."""
  if isinstance(value, torch.Tensor):
    return {prefix: value}
  tensors = {}
  if isinstance(value, dict):
    for key, part in value.items():
      if not (isinstance(key, str) and key.startswith('optimizer')):
        name = f'{prefix}.{key}' if prefix else str(key)
        tensors |= flatten(part, name)
  return tensors


def convert(source: pathlib.Path, target: pathlib.Path) -> int:
  """Writes `target`, whole or not at all; returns the number of tensors."""
  loaded = torch.load(source, map_location='cpu', weights_only=True)
  # Copied: tensors that share memory would be refused.
  tensors = {
    name: x.detach().contiguous().clone() for name, x in flatten(loaded).items()
  }
  if not tensors:
    raise ValueError('there are no tensors in it')
  partial = target.with_name(f'.{target.name}.partial')
  try:
    safetensors.torch.save_file(tensors, partial)
    os.replace(partial, target)
  finally:
    partial.unlink(missing_ok=True)
  return len(tensors)


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('source', type=pathlib.Path, help='.pth, .pt, .bin')
  parser.add_argument('target', type=pathlib.Path, help='.safetensors to write')
  args = parser.parse_args()
  if args.target.suffix != '.safetensors' or args.target.exists():
    print(
      f'{args.target} exists or does not end in .safetensors', file=sys.stderr
    )
    return 2
  try:
    count = convert(args.source, args.target)
  except pickle.UnpicklingError:
    # torch's own words advise to open it without the restriction.
    print(
      f'{args.source}: damaged, or more than tensors; it was not opened',
      file=sys.stderr,
    )
    return 2
  except (OSError, RuntimeError, ValueError, EOFError) as error:
    reason = ' '.join(str(error).split())[:300]
    print(f'{args.source}: {reason}', file=sys.stderr)
    return 2
  print(f'{args.target}: {count} tensors')
  return 0


if __name__ == '__main__':
  sys.exit(main())

"""Peak memory of a short and a long video: it must not grow with frames.

  python bench/stream.py
  python bench/stream.py --frames 200 2000

Each length runs in a process of its own and throws its frames away.
"""

import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def stream(frames: int, weights: str, resolution: int | None) -> None:
  """Generates `frames` frames and prints the peak memory of this process."""
  import resource

  import numpy as np

  from mdcf_jax import Pipeline

  rng = np.random.default_rng(0)
  audio = 0.1 * rng.standard_normal(frames * 640).astype(np.float32)
  image = rng.integers(0, 255, (256, 256, 3), np.uint8)
  pipe = Pipeline.from_pretrained(weights)
  options = dict(resolution=resolution, steps=4)
  count = sum(1 for _ in pipe.stream(image, (audio, 16000), **options))
  z = count * (resolution or pipe.resolution) ** 2 // 1024 * 4 * 4 / 2**20
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
  timing = pipe.timings['frames']
  print(
    f'{count:6d} frames  peak {peak:7.1f} MiB  latents {z:6.1f} MiB  '
    f'{timing.fps:6.1f} frames/s',
    flush=True,
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--frames', type=int, nargs='+', default=[200, 2000])
  parser.add_argument('--weights', default='mini')
  parser.add_argument('--resolution', type=int)
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    stream(args.frames[0], args.weights, args.resolution)
    return
  for frames in args.frames:
    command = [sys.executable, __file__, '--child', f'--frames={frames}']
    command.append(f'--weights={args.weights}')
    if args.resolution:
      command.append(f'--resolution={args.resolution}')
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run(command, check=True, env=environment)


if __name__ == '__main__':
  main()

"""Time and peak memory of the demo's generation, in a process of its own.

  python bench/demo.py
  python bench/demo.py --audio talk.wav --weights my-model

Prints the time that importing the package takes, what `mdcf generate` prints,
and the whole time with imports and compilation; compiled programs of earlier
runs are not used.
"""

import argparse
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def import_seconds(repeats: int = 5) -> float:
  """Median time of a Python process that imports the package, less a bare one.

  The first import is left out: it may read from the disk.
  """

  def seconds(code):
    start = time.perf_counter()
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, '-c', code], check=True, env=environment)
    return time.perf_counter() - start

  times = [
    seconds('import mdcf_jax; mdcf_jax.Pipeline') - seconds('pass')
    for _ in range(repeats + 1)
  ]
  return statistics.median(times[1:])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--image', default=ROOT / 'assets' / 'portrait.png')
  parser.add_argument('--audio', default=ROOT / 'assets' / 'speech.wav')
  parser.add_argument('--weights', default='mini')
  parser.add_argument('--steps', default='20')
  args = parser.parse_args()
  print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores')
  print(f'import {import_seconds():.2f} s')
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, '-m', 'mdcf_jax.cli.main', 'generate']
    for flag in ('image', 'audio', 'weights', 'steps'):
      command.append(f'--{flag}={getattr(args, flag)}')
    command.append(f'--output={folder}/demo.mp4')
    environment = dict(os.environ, XDG_CACHE_HOME=folder, PYTHONPATH=str(ROOT))
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    print(f'whole time {time.perf_counter() - start:.1f} s')


if __name__ == '__main__':
  main()

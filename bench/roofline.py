"""What the stages of a generation could take at least, beside what they take.

  python bench/roofline.py --variant mini --frames 200
  python bench/roofline.py --variant base,512 --frames 1600 --dtype bfloat16

Two floors of each stage. One is its FLOP (matrix products and convolutions as
they are written, see bench/flop.py, which the compiler need not do all) over
the rate of a large matrix product, measured first. The other is the bytes of
its arguments and results, each read or written once, over the rate at which a
large array is copied (read and written). A stage that is far from the larger
one does something else: it passes over activations, gathers, or waits.
"""

import argparse
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from bench import flop, generate, train  # noqa: E402
from mdcf_jax.devices import DTYPES, check_dtype  # noqa: E402
from mdcf_jax.stages import num_bytes  # noqa: E402


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--variant', default='mini', help='of configs/diffusion.py')
  add('--mode', choices=generate.MODES, default='mdcf')
  add('--frames', type=int, default=200)
  add('--steps', type=int, default=20)
  add('--dtype', choices=DTYPES, help='bfloat16, but float32 on a CPU')
  add('--calls', type=int, default=5, help='runs of each program')
  args = parser.parse_args()
  args.dtype = check_dtype(args.dtype)
  others = dict(sampler='ddim', guidance_scale=1.0, audio='mel')
  args = argparse.Namespace(**vars(args), **others)
  products = train.matrix_product(args.dtype)['matmul_flop_per_s']
  copies = copy_rate()
  print(
    f'{generate.describe_device()}, {args.variant}, {args.dtype}, '
    f'{args.frames} frames, {args.steps} steps; matrix product '
    f'{products / 1e9:.0f} GFLOP/s, copy {copies / 1e9:.1f} GB/s\n'
  )
  header = 'stage', 'GFLOP', 'floor, s', 'GB', 'floor, s', 'measured, s'
  print(f'| {" | ".join(header)} | GFLOP/s | of the product |')
  print('|---' * (len(header) + 2) + '|')
  found = generate.Generation.describe(args, args.mode, args.frames)
  for name in found.calls:
    print(_line(found, name, args.calls, products, copies), flush=True)


def _line(found, name: str, calls: int, products: float, copies: float) -> str:
  often, call = found.often[name], found.calls[name]
  program = jax.jit(call.function).trace(*call.args)
  work = often * flop.count(program.jaxpr)
  results = jax.eval_shape(call.function, *call.args)
  moved = often * (num_bytes(call.args) + num_bytes(results))
  seconds = often * found.seconds(name, calls)
  cells = [
    *(name, f'{work / 1e9:.1f}', f'{work / products:.3f}'),
    *(f'{moved / 1e9:.2f}', f'{moved / copies:.3f}', f'{seconds:.3f}'),
    *(f'{work / seconds / 1e9:.0f}', f'{work / seconds / products:.0%}'),
  ]
  return f'| {" | ".join(cells)} |'


def copy_rate(size: int = 2**26, repeats: int = 10) -> float:
  """Median bytes a second, read and written, of a large array's copy."""
  x = jnp.ones(size)
  copy = jax.jit(lambda x: x + 1)
  copy(x).block_until_ready()
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    copy(x).block_until_ready()
    times.append(time.perf_counter() - start)
  return 2 * x.nbytes / statistics.median(times)


if __name__ == '__main__':
  main()

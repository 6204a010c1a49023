"""Time of a generation by stages, and beside it that of DAWN's way.

  python bench/generate.py --variant mini --frames 200 --modes mdcf dawn
  python bench/generate.py --variant base,512 --frames 200 800 1600 --json FILE
  python bench/generate.py --plot FILE.json curves.png

Both modes have the same FDE and the same denoiser's width; `dawn` diffuses the
dynamics themselves instead of latents (variant `identity`). Weights and inputs
are random: they change no time. The clock runs from inputs in memory to the
last uint8 frame on the host; HuBERT and H.264 are not in it. Every step of a
sampler costs the same, and so does every batch of frames: of many only
`--calls` are run, and their median stands for all. Compilation is apart.
"""

import argparse
import dataclasses
import json
import pathlib
import platform
import statistics
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import numpy as np  # noqa: E402

from bench import memory  # noqa: E402
from mdcf_jax.data.records import AUDIO_ENCODERS  # noqa: E402
from mdcf_jax.devices import DTYPES, check_dtype  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.ops.sampling import SAMPLERS  # noqa: E402
from mdcf_jax.stages import Call, Chunks, Options, Stages, num_bytes  # noqa: E402

MODES = dict(mdcf='', dawn=',identity')
STAGES = ('motion', 'encode', 'speech', 'diffusion', 'frames')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--variant', default='mini', help='of configs/diffusion.py')
  add('--modes', nargs='+', choices=MODES, default=['mdcf', 'dawn'])
  add('--frames', type=int, nargs='+', default=[200])
  add('--steps', type=int, default=20)
  add('--sampler', choices=SAMPLERS, default='ddim')
  add('--guidance_scale', type=float, default=1.0)
  add('--dtype', choices=DTYPES, help='bfloat16, but float32 on a CPU')
  add('--audio', choices=AUDIO_ENCODERS, default='mel')
  add('--calls', type=int, default=3, help='runs of each program')
  add('--json', type=pathlib.Path, help='file to add the rows to')
  add('--plot', nargs=2, metavar=('JSON', 'PNG'), help='draw rows, run nothing')
  args = parser.parse_args()
  if args.plot:
    plot(json.loads(pathlib.Path(args.plot[0]).read_text()), args.plot[1])
    return
  if min(*args.frames, args.steps, args.calls) < 1:
    parser.error('--frames, --steps and --calls are at least 1')
  args.dtype = check_dtype(args.dtype)
  print(f'{describe_device()}, {args.variant}, {args.dtype}')
  print(f'{args.steps} steps of {args.sampler}; seconds\n')
  print(f'| mode | frames | {" | ".join(STAGES)} | all | frames/s | GiB |')
  print('|---' * (len(STAGES) + 5) + '|')
  rows = []
  for frames in args.frames:
    for mode in args.modes:
      try:
        rows.append(measure(args, mode, frames))
      except InputError as error:
        parser.error(str(error))
      print(_line(rows[-1]), flush=True)
    tell_ratio([row for row in rows if row['frames'] == frames])
  if args.json:
    there = json.loads(args.json.read_text()) if args.json.exists() else []
    args.json.write_text(json.dumps(there + rows, indent=1))


@dataclasses.dataclass(frozen=True)
class Generation:
  """What is run for a video of random weights.

  Attributes:
    config, stages, shapes: of `memory.build`.
    calls: stage -> Call of shapes.
    often: stage -> how often it runs.
  """

  config: Any
  stages: Stages
  shapes: dict[str, Any]
  calls: dict[str, Call]
  often: dict[str, int]

  @classmethod
  def describe(
    cls, args: argparse.Namespace, mode: str, frames: int
  ) -> 'Generation':
    args = argparse.Namespace(**vars(args) | dict(variant=args.variant))
    args.variant += MODES[mode]
    config, stages, shapes = memory.build(args)
    options = Options(args.steps, args.sampler, args.guidance_scale)
    conditions = memory.shapes_of_conditions(args.audio, frames)
    calls = stages.calls(shapes, conditions, config.resolution, options)
    at_once = Chunks.usual(config.resolution).frames
    often = dict.fromkeys(calls, 1) | dict(
      diffusion=args.steps // options.at_once, frames=-(-frames // at_once)
    )
    return cls(config, stages, shapes, calls, often)

  def seconds(self, name: str, calls: int) -> float:
    """Median seconds of one run of a stage, with random numbers."""
    call = self.calls[name]
    program = self.stages.program(name, call)
    calls = min(calls, self.often[name])
    return _time(program, jax.tree.map(_draw, call.args), calls)


def measure(args: argparse.Namespace, mode: str, frames: int) -> dict[str, Any]:
  """Returns seconds of each stage, and the memory that was planned."""
  found = Generation.describe(args, mode, frames)
  planned = found.stages.compile(found.calls)
  seconds = {
    name: found.often[name] * found.seconds(name, args.calls)
    for name in found.calls
  }
  seconds['diffusion'] += seconds.pop('latents')  # What follows the last step.
  most = max(x.beside_weights for x in planned.values())
  return dict(
    mode=mode,
    variant=args.variant + MODES[mode],
    resolution=found.config.resolution,
    frames=frames,
    steps=args.steps,
    dtype=args.dtype,
    device=describe_device(),
    calls={name: min(args.calls, n) for name, n in found.often.items()},
    seconds=seconds,
    total=sum(seconds.values()),
    gib=(num_bytes(found.shapes) + most) / 2**30,
  )


def _draw(x):
  """Random numbers of a shape."""
  rng = np.random.default_rng(0)
  if x.dtype == np.uint8:
    return jax.device_put(rng.integers(0, 255, x.shape, np.uint8))
  if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
    return jax.random.key(0)
  if not jax.numpy.issubdtype(x.dtype, jax.numpy.floating):
    return jax.device_put(np.zeros(x.shape, x.dtype))
  # Small, so that nothing overflows on the way.
  numbers = 0.02 * rng.standard_normal(x.shape, np.float32)
  return jax.device_put(numbers.astype(x.dtype))


def _time(program, given, calls: int) -> float:
  """Median seconds of a call, until its results are on the host."""
  jax.device_get(program(*given))  # The first one is slower.
  times = []
  for _ in range(calls):
    start = time.perf_counter()
    jax.device_get(program(*given))
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def describe_device() -> str:
  """The device's kind; of a CPU its model and cores."""
  kind = jax.devices()[0].device_kind
  if kind != 'cpu':
    return kind
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:
    text = ''
  names = [x.split(':')[1] for x in text.splitlines() if 'model name' in x]
  name = names[0].strip() if names else platform.machine()
  return f'{name}, {max(1, len(names))} cores'


def tell_ratio(rows: list[dict[str, Any]]) -> None:
  """Prints how much faster one way is, of the same run."""
  times = {row['mode']: row['total'] for row in rows}
  if len(times) == 2:
    ratio = times['dawn'] / times['mdcf']
    print(f'\nmdcf is {ratio:.1f} times as fast as dawn\n', flush=True)


def _line(row: dict[str, Any]) -> str:
  seconds = row['seconds']
  cells = [row['mode'], str(row['frames'])]
  cells += [f'{seconds[k]:.2f}' if k in seconds else '' for k in STAGES]
  cells += [f'{row["total"]:.2f}', f'{row["frames"] / row["total"]:.1f}']
  cells.append(f'{row["gib"]:.2f}')
  return f'| {" | ".join(cells)} |'


def plot(rows: list[dict[str, Any]], output: str) -> None:
  """Draws time and memory against frames."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
  kinds = sorted({(row['mode'], row['variant'], row['dtype']) for row in rows})
  for axis, key, label in zip(axes, ('total', 'gib'), ('seconds', 'GiB')):
    for kind in kinds:
      some = [r for r in rows if (r['mode'], r['variant'], r['dtype']) == kind]
      some.sort(key=lambda row: row['frames'])
      x, y = ([row[k] for row in some] for k in ('frames', key))
      axis.plot(x, y, marker='o', label=f'{kind[0]}, {kind[1]}')
    axis.set(xlabel='frames', ylabel=label, xscale='log', yscale='log')
    axis.grid(alpha=0.3)
  axes[0].legend(frameon=False)
  figure.suptitle(rows[0]['device'])
  figure.savefig(output, dpi=120)


if __name__ == '__main__':
  main()

"""Speed, FLOP, memory and data wait of training a phase.

  python bench/train.py --phase fde --variant mini
  python bench/train.py --phase diffusion --variant base --data my-data --json

Builds a run as train.py does and times its compiled step: first alone, on one
batch that lies on the devices, then in a loop that reads a batch for each step.
Without --weights earlier phases have random weights, and so has VGG19 without
--vgg19: they cost the same. Without --data samples are synthetic heads, whose
pipeline costs about the same. Nothing compiled earlier is used. Processor time
is that of all threads together; other programs on the machine change it less.
FLOP are counted as in bench/flop.py, what `remat` computes again among them; in
the compiler's own figure loops run once.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import sys
import tempfile
import threading
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from bench import flop, programs  # noqa: E402
from mdcf_jax import weights  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.training import checks, normalisation  # noqa: E402
from mdcf_jax.training import run as running  # noqa: E402
from mdcf_jax.training.checkpoint import Checkpoints  # noqa: E402

_MIB = 2**20


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--phase', choices=programs.PHASES, default='fde')
  add('--variant', default='base', help='of configs/<phase>.py')
  add('--resolution', type=int, default=0, help='that of the variant')
  add('--batch', type=int, default=0, help='over all devices; that of config')
  add('--dtype', default='', help='that of the config')
  add('--remat', default='', help='that of the config')
  add('--mesh', default='', help='as fsdp=2,frames=1; that of the config')
  add('--steps', type=int, default=20, help='timed, alone and in the loop')
  add('--warmup', type=int, default=3, help='steps before these')
  add('--data', default='', help='prepared dataset; synthetic otherwise')
  add('--weights', default='', help='packed weights of earlier phases')
  add('--vgg19', default='', help='safetensors file of VGG19')
  add('--json', action='store_true', help='print one JSON object')
  args = parser.parse_args()
  if args.steps < 1 or args.warmup < 0:
    parser.error('--steps is at least 1, --warmup at least 0')
  # What was compiled before would not take its time to compile.
  jax.config.update('jax_enable_compilation_cache', False)
  try:
    found = measure(args)
  except InputError as error:
    parser.error(str(error))
  print(json.dumps(found) if args.json else report(found))


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Returns everything that is printed, in plain values and base units."""
  config = make_config(args)
  device = jax.devices()[0]
  found = dict(
    phase=args.phase,
    variant=_variant(args),
    device=device.device_kind,
    host=f'{platform.machine()}, {len(os.sched_getaffinity(0))} cores',
    devices=jax.device_count(),
    versions=f'jax {jax.__version__}, Python {platform.python_version()}',
    batch=config.batch_size,
    dtype=config.dtype,
    remat=config.remat,
    data=args.data or 'synthetic',
    frozen='given' if args.weights else 'random',
    steps=args.steps,
  )
  with tempfile.TemporaryDirectory() as folder:
    write_frozen(config, found['variant'], pathlib.Path(folder))
    config = normalisation.resolve(config, None)
    checks.check_config(config)
    checks.check_data(config)
    phase = checks.make_phase(config)
    with Checkpoints(pathlib.Path(folder, 'run')) as checkpoints:
      state, run = running.prepare(
        config, phase, checkpoints, threading.Event()
      )
  found |= time_steps(run, state, args.steps, args.warmup)
  found |= matrix_product(found['dtype'])
  peak = found['matmul_flop_per_s'] * found['median_s']
  found['mfu'] = found['flop'] / peak
  found['memory'] |= {
    k: v for k, v in (device.memory_stats() or {}).items() if 'peak' in k
  }
  rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  found['memory']['process_peak'] = rss * 1024  # Linux has KiB.
  return found


def make_config(args: argparse.Namespace) -> Any:
  """Returns the config of the run, which evaluates and saves nothing."""
  config = programs.load_config(
    args.phase,
    _variant(args),
    batch=args.batch,
    dtype=args.dtype,
    remat=args.remat,
  )
  config.data.dir = args.data
  config.data.synthetic_clips = 2  # Drawing them is no part of training.
  config.eval_every = config.picture_every = 0
  config.calibration_batches = 1  # A start of its own wants one.
  for part in filter(None, args.mesh.split(',')):
    name, _, size = part.partition('=')
    if name not in config.mesh or not size.isdigit():
      raise InputError(f'--mesh {part!r}: as fsdp=2,frames=1')
    config.mesh[name] = int(size)
  if args.weights:
    config.init_from.fde = config.init_from.lmae = args.weights
  # A phase that starts from its own weights costs what any start costs.
  config.init_from.weights = ''
  config.perceptual_weights = args.vgg19
  return config


def write_frozen(config: Any, variant: str, folder: pathlib.Path) -> None:
  """Writes random weights of what the phase builds on, where none are given.

  `config` is pointed to them, so that training reads them as it reads others.
  """
  rng = np.random.default_rng(0)

  def draw(path, x):
    name = path[-1].key
    if name in ('scale', 'var'):
      return np.ones(x.shape, np.float32)
    if name in ('bias', 'mean'):
      return np.zeros(x.shape, np.float32)
    scale = (2 / max(1, np.prod(x.shape[:-1]))) ** 0.5
    return scale * rng.standard_normal(x.shape, np.float32)

  def write(name):
    shapes = programs.variable_shapes(name, variant)
    weights.save(folder, name, jax.tree_util.tree_map_with_path(draw, shapes))

  for name in checks.make_phase(config).frozen_names:
    if name == 'vgg19' and not config.perceptual_weights:
      write(name)
      config.perceptual_weights = str(folder / f'{name}.safetensors')
    elif name != 'vgg19' and config.init_from[name].startswith('runs/'):
      write(name)
      config.init_from[name] = str(folder)
  plain = json.loads(config.to_json())
  keys = ('model', 'resolution', 'audio_encoder')
  weights.save_config(folder, {k: plain[k] for k in keys} | {'phases': {}})


def time_steps(run: Any, state: Any, steps: int, warmup: int) -> dict[str, Any]:
  """Compiles the step of `run`, and times it alone and with its data."""
  batch = run.put(running.numeric(next(run.batches)))
  start = time.perf_counter()
  program = run.train_step.trace(state, run.frozen, batch, run.rng)
  lowered = program.lower()
  traced = time.perf_counter()
  step = lowered.compile()
  compiled = time.perf_counter()
  for _ in range(warmup):
    state, metrics = step(state, run.frozen, batch, run.rng)
  jax.block_until_ready(state)
  times, busy = [], time.process_time()
  for _ in range(steps):
    began = time.perf_counter()
    state, metrics = step(state, run.frozen, batch, run.rng)
    jax.block_until_ready(metrics)
    times.append(time.perf_counter() - began)
  busy = time.process_time() - busy
  for _ in range(warmup):  # Threads of the pipeline start, clips are read.
    next(run.batches)
  waited, began = 0.0, time.perf_counter()
  for _ in range(steps):
    before = time.perf_counter()
    read = running.numeric(next(run.batches))
    waited += time.perf_counter() - before
    state, metrics = step(state, run.frozen, run.put(read), run.rng)
  jax.block_until_ready(metrics)
  elapsed = time.perf_counter() - began
  median = statistics.median(times)
  quartiles = np.percentile(times, [25, 75]).tolist()
  memory = step.memory_analysis()
  return dict(
    trace_s=traced - start,
    compile_s=compiled - traced,
    median_s=median,
    quartiles_s=quartiles,
    processor_s=busy / steps,
    frames_per_s=_frames(batch) / median,
    loop_step_s=elapsed / steps,
    data_wait=waited / elapsed,
    flop=flop.count(program.jaxpr) / run.mesh.size,
    compiler_flop=step.cost_analysis()['flops'],
    loss=float(metrics['loss']),
    memory=dict(
      arguments=memory.argument_size_in_bytes,
      temporaries=memory.temp_size_in_bytes,
    ),
  )


def _frames(batch: dict[str, jax.Array]) -> float:
  """Frames that a step learns from: one of a pair, the real ones of a clip."""
  if 'frame_mask' in batch:
    return float(jnp.sum(batch['frame_mask']))
  return float(batch['driving'].shape[0])


def matrix_product(dtype: str, repeats: int = 10) -> dict[str, float]:
  """Median FLOP/s of a large square matrix product on one device."""
  size = 2048 if jax.default_backend() == 'cpu' else 8192
  x = jnp.ones((size, size), dtype) / size
  product = jax.jit(jnp.matmul).lower(x, x).compile()
  product(x, x).block_until_ready()
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    product(x, x).block_until_ready()
    times.append(time.perf_counter() - start)
  rate = 2 * size**3 / statistics.median(times)
  return dict(matmul_size=size, matmul_flop_per_s=rate)


def _variant(args: argparse.Namespace) -> str:
  """The variant with the resolution that was asked for."""
  return ','.join(str(x) for x in (args.variant, args.resolution) if x)


def report(found: dict[str, Any]) -> str:
  """Returns what is known of a run in lines to read."""
  low, high = (1e3 * t for t in found['quartiles_s'])
  memory = ', '.join(
    f'{name.replace("_", " ")} {size / _MIB:.0f} MiB'
    for name, size in found['memory'].items()
  )
  data = 'with synthetic data' if found['data'] == 'synthetic' else 'with data'
  return '\n'.join(
    (
      f'{found["phase"]} {found["variant"]}, batch {found["batch"]}, '
      f'{found["dtype"]}, remat {found["remat"]}; earlier weights '
      f'{found["frozen"]}',
      f'{found["devices"]} x {found["device"]} ({found["host"]}), '
      f'{found["versions"]}',
      f'trace {found["trace_s"]:.1f} s, compile {found["compile_s"]:.1f} s',
      f'step {1e3 * found["median_s"]:.1f} ms, median of {found["steps"]} '
      f'(quartiles {low:.1f}, {high:.1f}), {found["frames_per_s"]:.1f} '
      f'frames/s; {1e3 * found["processor_s"]:.1f} ms of processor time',
      f'{found["flop"] / 1e9:.2f} GFLOP a step and device '
      f'({found["compiler_flop"] / 1e9:.2f} by the compiler), '
      f'{100 * found["mfu"]:.1f}% of a matrix product of '
      f'{found["matmul_size"]} ({found["matmul_flop_per_s"] / 1e9:.0f} '
      'GFLOP/s)',
      f'memory: {memory}',
      f'{data} {1e3 * found["loop_step_s"]:.1f} ms a step, of it '
      f'{100 * found["data_wait"]:.1f}% waiting for batches',
    )
  )


if __name__ == '__main__':
  main()

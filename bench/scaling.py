"""Memory, FLOP and communication of a training step on 1 to 512 devices.

  pip install libtpu  # The TPU's compiler; needs no TPU.
  python bench/scaling.py --topologies v5p:1x1x1 v5p:2x2x2 --cache FILE.json
  python bench/scaling.py --topologies cpu:8 --phases fde --fsdp 1 8

Compiles the train step of a phase ahead of time for a named topology and reads
the compiled program; nothing runs and nothing is allocated. TPU topologies are
'<chip>:<shape>'; 'cpu:<n>' are virtual devices of jax's CPU backend, which
keeps bfloat16 activations in float32 and plans memory in another way. FLOP are
counted as in bench/flop.py; in the compiler's own figure loops run once.

A case takes minutes. Results are kept in --cache, from where the table is made
again at once; --force compiles what is there already.
"""

import argparse
import importlib.metadata
import itertools
import json
import math
import os
import pathlib
import re
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402

from bench import flop, programs  # noqa: E402
from mdcf_jax import sharding  # noqa: E402

COLLECTIVES = (
  *('all-reduce', 'all-gather', 'reduce-scatter', 'collective-permute'),
  'all-to-all',
)
_BYTES = {'pred': 1, 'token': 0}
_SHAPE = re.compile(r'\b(pred|token|[a-z]+(\d+)[a-z0-9]*)\[([\d,]*)\]')
_OPERATION = re.compile(
  rf'= (.*?) ({"|".join(COLLECTIVES)})(-start|-done)?\(', re.DOTALL
)
_CALL = re.compile(
  r'(?:to_apply|calls|body|condition|(?:true|false)_computation)=%?([\w.-]+)'
)
_BRANCHES = re.compile(r'(?:branch|called)_computations=\{([^}]*)\}')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_MIB = 2**20


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--topologies', nargs='+', default=['v5e:2x4'])
  add('--phases', nargs='+', choices=programs.PHASES, default=programs.PHASES)
  add('--variants', nargs='+', default=['base'], help='as base or base,512')
  add('--fsdp', nargs='+', type=int, default=[1])
  add('--frames', nargs='+', type=int, default=[1])
  add('--batch', type=int, default=0, help='of a device; 0: config // 8')
  add('--dtype', default='', help='of activations; config.dtype by default')
  add('--remat', default='', help='config.remat by default')
  add('--shapes', action='store_true', help='compile nothing: the state alone')
  add('--cache', type=pathlib.Path, help='JSON file of results')
  add('--force', action='store_true', help='compile what is in the cache too')
  add('--table', action='store_true', help='print the cache, compile nothing')
  args = parser.parse_args()
  results = read_cache(args.cache)
  if not args.table:
    start_backend(args.topologies)
    for case in list_cases(args):
      key = json.dumps(case, sort_keys=True)
      if args.force or key not in results:
        results[key] = case | measure(**case)
        write_cache(args.cache, results)
        _tell(results[key])
  print(table(results.values()))


def list_cases(args: argparse.Namespace) -> list[dict[str, Any]]:
  """Returns the arguments of `measure`, one dict for each case."""
  axes = itertools.product(
    args.phases, args.variants, args.topologies, args.fsdp, args.frames
  )
  names = ('phase', 'variant', 'topology', 'fsdp', 'frames')
  same = dict(
    batch=args.batch, dtype=args.dtype, remat=args.remat, shapes=args.shapes
  )
  return [dict(zip(names, case, strict=True)) | same for case in axes]


def measure(
  phase: str,
  variant: str,
  topology: str,
  fsdp: int,
  frames: int,
  batch: int,
  dtype: str,
  remat: str,
  shapes: bool = False,
) -> dict[str, Any]:
  """Compiles the train step of a config for a topology.

  Args:
    phase, variant: of configs/<phase>.py.
    topology: '<chip>:<shape>' or 'cpu:<n>'.
    fsdp, frames: axes of the mesh; the rest of the devices is its data axis.
    batch: examples of a device; 0: an eighth of the config's batch, rounded
      down, but at least one.
    dtype, remat: of the config; '': as it is.
    shapes: compile nothing, and leave out what only the compiler knows.

  Returns:
    What is known of the program: bytes and FLOP of one device and one step,
    where each device does its part and no other. Of a program that the compiler
    finds too large, the compiler's words.
  """
  devices = find_devices(topology)
  found: dict[str, Any] = dict(devices=len(devices))
  found |= dict(kind=devices[0].device_kind, versions=_versions())
  if len(devices) % (fsdp * frames):
    return found | dict(error=f'no mesh of {fsdp} x {frames}')
  mesh = sharding.create_mesh(fsdp, frames, devices)
  config = programs.load_config(phase, variant, dtype=dtype, remat=remat)
  examples = batch or max(1, config.batch_size // 8)
  config.batch_size = examples * (len(devices) // frames)
  step, arguments = programs.train_program(config, variant, mesh)
  state, frozen, inputs, _ = arguments
  found |= dict(
    examples=examples,
    side=config.resolution,
    compute=config.dtype,
    rematerialised=config.remat,
    params=programs.device_bytes(state.params),
    average=programs.device_bytes(state.ema_params),
    optimizer=programs.device_bytes(state.opt_state),
    frozen=programs.device_bytes(frozen),
    inputs=programs.device_bytes(inputs),
  )
  if shapes:
    return found
  start = time.perf_counter()
  try:
    traced = step.trace(*arguments)
    found['flop'] = flop.count(traced.jaxpr) / len(devices)
    compiled = traced.lower().compile()
  except jax.errors.JaxRuntimeError as error:
    return found | dict(error=' '.join(str(error).split())[:400])
  found['compile_s'] = time.perf_counter() - start
  return found | describe(compiled)


def describe(compiled: Any) -> dict[str, Any]:
  """Returns bytes and FLOP of one device, of a compiled program."""
  memory = compiled.memory_analysis()
  sizes = {
    name: getattr(memory, f'{name}_size_in_bytes')
    for name in ('argument', 'output', 'alias', 'temp')
  }
  # Donated arguments and the outputs in their place are there once.
  total = sizes['argument'] + sizes['output'] - sizes['alias'] + sizes['temp']
  return sizes | dict(
    total=total,
    compiler_flop=compiled.cost_analysis().get('flops'),
    collectives=_collectives(compiled),
  )


def _collectives(compiled: Any) -> dict[str, int] | None:
  """`collective_bytes`; None where jax cannot read the program.

  Some programs of a newer compiler have instructions that it does not know.
  """
  try:
    return collective_bytes(compiled.as_text())
  except jax.errors.JaxRuntimeError:
    return None


def collective_bytes(text: str) -> dict[str, int]:
  """Bytes that the collectives of a program result in, on one device.

  Of an asynchronous pair the end counts. What is in a loop counts as often as
  it is known to run, once if that is not known.

  Args:
    text: a compiled module, `compiled.as_text()`.

  Returns:
    Operation -> bytes; those that do not occur are left out.
  """
  computations, entry = _computations(text)
  total: dict[str, int] = {}

  def visit(name: str, times: int) -> None:
    for line in computations.get(name, ()):
      if found := _OPERATION.search(line):
        shape, operation, end = found.groups()
        if end != '-start':
          size = times * _shape_bytes(shape)
          total[operation] = total.get(operation, 0) + size
      called = _CALL.findall(line)
      for branches in _BRANCHES.findall(line):
        called += re.findall(r'[\w.-]+', branches)
      trips = _TRIPS.search(line) if ' while(' in line else None
      for other in called:
        visit(other, times * int(trips[1]) if trips else times)

  visit(entry, 1)
  return total


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  """Returns the instructions of each computation, and the entry's name."""
  computations, entry, name = {}, '', ''
  for line in text.splitlines():
    if line.endswith('{') and not line.startswith((' ', 'HloModule')):
      words = line.split()
      name = words[words[0] == 'ENTRY'].lstrip('%')
      entry = name if words[0] == 'ENTRY' else entry
      computations[name] = []
    elif name:
      computations[name].append(line)
  return computations, entry


def _shape_bytes(shape: str) -> int:
  """Bytes of a shape or of a tuple of shapes, as the compiler writes them."""
  total = 0
  for kind, bits, dims in _SHAPE.findall(shape):
    size = _BYTES.get(kind) if kind in _BYTES else max(1, int(bits) // 8)
    total += size * math.prod(int(n) for n in dims.split(',') if n)
  return total


def find_devices(topology: str) -> list[Any]:
  """Devices of a TPU topology, or virtual ones of the CPU."""
  chip, _, shape = topology.partition(':')
  if chip == 'cpu':
    return jax.devices('cpu')[: int(shape)]
  from jax.experimental import topologies

  return list(
    topologies.get_topology_desc(platform='tpu', topology_name=topology).devices
  )


def start_backend(names: list[str]) -> None:
  """Chooses the CPU as the device, with as many as the largest of `names`."""
  # The TPU's compiler looks for its machine, and for others that use it.
  for name in ('TPU_SKIP_MDS_QUERY', 'ALLOW_MULTIPLE_LIBTPU_LOAD'):
    os.environ.setdefault(name, '1')
  jax.config.update('jax_platforms', 'cpu')
  counts = [int(n.split(':')[1]) for n in names if n.startswith('cpu:')]
  if counts:
    jax.config.update('jax_num_cpu_devices', max(counts))


def _versions() -> dict[str, str]:
  names = ('jax', 'libtpu')
  there = {d.name for d in importlib.metadata.distributions()}
  return {n: importlib.metadata.version(n) for n in names if n in there}


def read_cache(path: pathlib.Path | None) -> dict[str, dict[str, Any]]:
  """Returns the results that are there, by case."""
  if path is None or not path.exists():
    return {}
  return json.loads(path.read_text())


def write_cache(path: pathlib.Path | None, results: dict[str, Any]) -> None:
  """Writes all results, whole or not at all."""
  if path is None:
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  new = path.with_suffix('.new')
  new.write_text(json.dumps(results, indent=1))
  new.replace(path)


def _tell(result: dict[str, Any]) -> None:
  """Says on the terminal's other stream what was found."""
  words = f'{result["phase"]} {result["variant"]} {result["topology"]}'
  words += f' fsdp={result["fsdp"]} frames={result["frames"]}'
  end = result.get('error', f'{result.get("compile_s", 0):.0f} s to compile')
  print(f'{words}: {end}', file=sys.stderr, flush=True)


def table(results: Any) -> str:
  """Returns a Markdown table, a row for each case that was compiled."""
  rows = [
    '| phase | side | devices | fsdp x frames | examples | activations in '
    '| params, average | optimizer | frozen, batch | temporaries | in all '
    '| GFLOP | by the compiler | collectives |',
    '|---' * 14 + '|',
  ]
  order = programs.PHASES.index
  for r in sorted(
    results,
    key=lambda r: (
      *(order(r['phase']), r.get('side', 0), r['topology'].split(':')[0]),
      *(r['devices'], r['fsdp'], r['frames'], r.get('examples', 0)),
    ),
  ):
    if 'examples' in r:
      rows.append(_row(r))
  return '\n'.join(rows)


def _row(r: dict[str, Any]) -> str:
  mesh = f'{r["fsdp"]} x {r["frames"]}'
  compute = r['compute'] + (', remat' if r['rematerialised'] != 'none' else '')
  cells = [
    *(r['phase'], r['side'], f'{r["devices"]} ({r["topology"]})', mesh),
    *(r['examples'], compute),
    f'{(r["params"] + r["average"]) / _MIB:.0f}',
    f'{r["optimizer"] / _MIB:.0f}',
    f'{(r["frozen"] + r["inputs"]) / _MIB:.0f}',
  ]
  if 'temp' not in r:
    cells += ['does not fit' if 'error' in r else '', '', '', '', '']
  else:
    cells += [f'{r["temp"] / _MIB:.0f}', f'{r["total"] / _MIB:.0f}']
    cells += [f'{r[k] / 1e9:.0f}' for k in ('flop', 'compiler_flop')]
    cells.append(_moved(r['collectives']))
  return '| ' + ' | '.join(str(cell) for cell in cells) + ' |'


def _moved(collectives: dict[str, int] | None) -> str:
  if collectives is None:
    return 'not read'
  named = (f'{k} {size / _MIB:.0f}' for k, size in collectives.items())
  return ', '.join(named) or 'none'


if __name__ == '__main__':
  main()

"""Memory that a generation takes on the device, by stages and frames.

  python bench/memory.py --frames 200 1600
  python bench/memory.py --variant base,512 --device v5e:1x1 --frames 200 1600

Compiles every stage ahead of time and reads the compiled programs: nothing runs
or is allocated, and no weights are needed. `--device` is `cpu` or a chip of a
TPU topology, which needs `pip install libtpu` and no TPU; the CPU's compiler
keeps temporaries of bfloat16 at twice their size. A stage's column is what it
takes beside all weights: arguments, temporaries and results. The peak is the
weights and the largest of these.
"""

import argparse
import dataclasses
import pathlib
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from bench import scaling  # noqa: E402
from configs import diffusion  # noqa: E402
from mdcf_jax.clips import bucket_length  # noqa: E402
from mdcf_jax.data.records import AUDIO_ENCODERS  # noqa: E402
from mdcf_jax.devices import DTYPES  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.models import hubert, sizes  # noqa: E402
from mdcf_jax.ops.sampling import SAMPLERS  # noqa: E402
from mdcf_jax.phases import packed  # noqa: E402
from mdcf_jax.stages import Call, Chunks, Options, Plan, Stages, num_bytes  # noqa: E402

STAGES = ('motion', 'encode', 'speech', 'diffusion', 'frames')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--variant', default='base,256', help='of configs/diffusion.py')
  add('--frames', type=int, nargs='+', default=[200, 1600])
  add('--device', default='cpu', help='cpu, or a TPU topology as v5e:1x1')
  add('--dtype', default='bfloat16', choices=DTYPES)
  add('--audio', default='hubert-large', choices=AUDIO_ENCODERS)
  add('--sampler', default='ddim', choices=SAMPLERS)
  add('--guidance_scale', type=float, default=1.0)
  args = parser.parse_args()
  if min(args.frames) < 1:
    parser.error(f'--frames {min(args.frames)} is less than 1')
  cpu = 'cpu:1'  # One device, whatever compiles for it.
  device = cpu if args.device == 'cpu' else args.device
  scaling.start_backend([device])
  sharding = jax.sharding.SingleDeviceSharding(scaling.find_devices(device)[0])
  print(f'{args.variant}, {args.dtype}, {args.device}, jax {jax.__version__}')
  if args.audio != 'mel':
    size = hubert_bytes(args.audio)
    print(f'weights of {args.audio}, only while it hears: {_gib(size)} GiB')
  print(f'\n| frames | weights | {" | ".join(STAGES)} | peak, GiB |')
  print('|---' * (len(STAGES) + 3) + '|')
  try:
    config, stages, variables = build(args)
  except InputError as error:
    parser.error(str(error))
  options = Options(sampler=args.sampler, guidance_scale=args.guidance_scale)
  backend = 'cpu' if args.device == 'cpu' else 'tpu'
  chunks = Chunks.usual(config.resolution, backend)
  for frames in args.frames:
    conditions = shapes_of_conditions(args.audio, frames)
    calls = stages.calls(
      variables, conditions, config.resolution, options, chunks
    )
    memory = stages.compile(place(calls, sharding))
    found = Plan(frames, config.resolution, num_bytes(variables), memory)
    cells = [
      _gib(found.stages[name].beside_weights) if name in found.stages else ''
      for name in STAGES
    ]
    cells = [str(frames), _gib(found.weights), *cells, _gib(found.peak)]
    print(f'| {" | ".join(cells)} |', flush=True)


def build(args: argparse.Namespace) -> tuple[Any, Stages, dict]:
  """Returns a config, its stages, and the shapes of its weights.

  Raises:
    InputError: the config's resolution is not one that its model can take.
  """
  config = diffusion.get_config(args.variant)
  model = config.model.to_dict()
  names = [n for n in packed.NAMES if sizes.has_weights(model, n)]
  described = dict(
    model=model,
    resolution=config.resolution,
    audio_encoder=args.audio,
    phases={name: {} for name in names},
  )
  multiple = sizes.resolution_multiple(described['model'], packed.NAMES)
  if config.resolution % multiple:
    raise InputError(
      f'resolution {config.resolution} is no multiple of {multiple}'
    )
  phases = packed.build_phases(described, args.dtype)
  shapes = packed.variable_shapes(phases, described, AUDIO_ENCODERS[args.audio])
  variables = {k: _cast(x, args.dtype) for k, x in shapes.items()}
  return config, Stages(phases, config.resolution), variables


def place(calls: dict[str, Call], sharding) -> dict[str, Call]:
  """Calls whose arguments are where `sharding` is."""

  def shape(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

  return {
    name: dataclasses.replace(call, args=jax.tree.map(shape, call.args))
    for name, call in calls.items()
  }


def hubert_bytes(name: str) -> int:
  """Of HuBERT's weights in float32, as it computes."""
  module = hubert.HuBERT(**hubert.HUBERT_SIZES[name])
  waveform = jax.ShapeDtypeStruct((1, hubert.SAMPLE_RATE), jnp.float32)
  return num_bytes(jax.eval_shape(module.init, jax.random.key(0), waveform))


def shapes_of_conditions(
  audio: str, frames: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """What is known before, padded to a bucket of lengths."""
  length, width = bucket_length(frames), AUDIO_ENCODERS[audio]
  shapes = dict(
    audio_emb=(length, width),
    frame_mask=(length,),
    source_pose=(6,),
    source_blink=(2,),
    face_box=(4,),
  )
  return {
    name: jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    for name, shape in shapes.items()
  }


def _cast(variables, dtype: str):
  """Shapes of parameters in `dtype`; statistics stay as they are."""

  def cast(x):
    return jax.ShapeDtypeStruct(x.shape, dtype)

  return {
    k: jax.tree.map(cast, x) if k == 'params' else x
    for k, x in variables.items()
  }


def _gib(size: int) -> str:
  return f'{size / 2**30:.3f}'


if __name__ == '__main__':
  main()

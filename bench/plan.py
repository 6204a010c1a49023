"""Memory that XLA plans for denoising clips of several lengths.

  python bench/plan.py --variant dawn,identity --resolution 128
  python bench/plan.py --variant base --resolution 256 --frames 40 120 400

Besides weights and conditions, on the device that jax finds. The programs are
compiled and not run: lengths that would take hours cost no more than others.
"""

import argparse
import functools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from configs import diffusion  # noqa: E402
from mdcf_jax.data.records import AUDIO_ENCODERS  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.models.sizes import resolution_multiple  # noqa: E402
from mdcf_jax.ops.sampling import SAMPLERS  # noqa: E402
from mdcf_jax.phases import PHASES  # noqa: E402


def plan(
  variant: str, resolution: int, frames: int, sampler: str, audio: str
) -> int:
  """Bytes of what a sampler keeps while it works."""
  config = diffusion.get_config(variant)
  config.dtype = 'float32'  # As the pipeline computes.
  multiple = resolution_multiple(config.model, ['diffusion'])
  if resolution < 1 or resolution % multiple:
    raise InputError(f'--resolution {resolution}: no multiple of {multiple}')
  if frames < 1:
    raise InputError(f'--frames {frames} is less than 1')
  phase = PHASES['diffusion'].from_config(config)
  widths = dict(audio_emb=AUDIO_ENCODERS[audio], pose=6, blink=2)
  conditions = dict(
    {name: _shape(frames, width) for name, width in widths.items()},
    source_pose=_shape(6),
    source_blink=_shape(2),
    face_box=_shape(4),
    frame_mask=_shape(frames),
  )
  rng = jax.random.key(0)
  source = _shape(resolution, resolution, 3)
  batch = dict(conditions, source=source)
  params = jax.eval_shape(phase.init, rng, batch)['params']
  features = jax.eval_shape(
    lambda x: phase.fde.init_with_output(rng, x, method='encode')[0][-1], source
  )
  start = jax.eval_shape(phase.start, features, conditions['frame_mask'], rng)
  if phase.denoiser.opening:
    conditions['opened'] = start.xt
  advance = functools.partial(phase.advance, steps=2, sampler=sampler)
  program = jax.jit(advance).lower(
    params, start, rng, source_features=features, **conditions
  )
  return program.compile().memory_analysis().temp_size_in_bytes


def _shape(*shape: int) -> jax.ShapeDtypeStruct:
  """Of one example."""
  return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--variant', default='base', help='of configs/diffusion.py')
  add('--resolution', type=int, default=256)
  add('--frames', type=int, nargs='+', default=[40, 120, 360])
  add('--sampler', default='ddim', choices=SAMPLERS)
  add('--audio', default='hubert-large', choices=AUDIO_ENCODERS)
  args = parser.parse_args()
  print('| frames | MiB | MiB a frame |\n| --- | --- | --- |')
  for frames in args.frames:
    try:
      used = plan(
        args.variant, args.resolution, frames, args.sampler, args.audio
      )
    except InputError as error:
      parser.error(str(error))
    used /= 2**20
    print(f'| {frames} | {used:.0f} | {used / frames:.2f} |', flush=True)


if __name__ == '__main__':
  main()

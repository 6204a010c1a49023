"""How near few steps of a sampler come to many.

  python bench/steps.py
  python bench/steps.py --samplers dpm++ --steps 8 12 20 --reference 50

Generates the same clip with the same seed, and compares frames with those of
the sampler's own `--reference` steps. `ddim` adds noise on its way, so that two
numbers of steps give two different clips; its rows say how different, not how
bad. `change` is the mean absolute difference of neighbouring frames, of 255:
what shakes or stands still shows there.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mdcf_jax import Pipeline, inputs  # noqa: E402
from mdcf_jax.metrics.psnr import psnr  # noqa: E402
from mdcf_jax.ops.sampling import SAMPLERS  # noqa: E402


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--image', default=str(ROOT / 'assets' / 'portrait.png'))
  add('--audio', default=str(ROOT / 'assets' / 'speech.wav'))
  add('--weights', default='mini')
  add('--seconds', type=float, default=4.0)
  add('--samplers', nargs='+', choices=SAMPLERS, default=['dpm++', 'ddim'])
  add('--steps', nargs='+', type=int, default=[8, 12, 20])
  add('--reference', type=int, default=50)
  args = parser.parse_args()
  samples, rate = inputs.read_audio(args.audio)
  audio = samples[: int(args.seconds * rate)], rate
  pipe = Pipeline.from_pretrained(args.weights)
  print('| sampler | steps | PSNR of frames, dB | change | seconds |')
  print('|---|---|---|---|---|')
  for sampler in args.samplers:
    best, _ = generate(pipe, args.image, audio, sampler, args.reference)
    for steps in [*args.steps, args.reference]:
      frames, seconds = generate(pipe, args.image, audio, sampler, steps)
      near = psnr(frames, best)
      near = '' if steps == args.reference else f'{near.mean():.1f}'
      motion = np.abs(np.diff(frames, axis=0)).mean() * 127.5
      print(
        f'| {sampler} | {steps} | {near} | {motion:.2f} | {seconds:.1f} |',
        flush=True,
      )


def generate(pipe, image, audio, sampler: str, steps: int):
  """Frames `[N, H, W, 3]` in [-1, 1], and the diffusion's seconds."""
  video = pipe(image, audio, sampler=sampler, steps=steps)
  return video.frames / np.float32(127.5) - 1, pipe.timings['diffusion'].seconds


if __name__ == '__main__':
  main()

"""mdcf generate: a portrait and a recording to a talking-head video."""

import argparse
import resource
import sys

HELP = 'portrait and recording to a talking-head video'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags of `mdcf generate`."""
  add = parser.add_argument
  add('--image', required=True, help='portrait: any picture Pillow reads')
  add('--audio', required=True, help='speech: anything FFmpeg reads')
  add('--output', required=True, help='video to write (.mp4)')
  add('--weights', default='mini', help='mini, or a folder of weights')
  add('--hubert', metavar='PATH', help='HuBERT, for weights trained with it')
  add(
    '--resolution',
    type=int,
    help='pixels of a side; by default those trained for',
  )
  add('--steps', type=int, default=20, help='denoising steps')
  add('--sampler', default='ddim', help='ddim, dpm++ or ddim-dawn')
  add('--seed', type=int, default=0, help='same seed, same video')
  add(
    '--guidance_scale',
    '--guidance-scale',
    type=float,
    default=1.0,
    help='above 1: follow the conditions more, at twice the work',
  )
  add('--pose', default='generated', help='generated, still, or .npy/.csv')
  add('--blink', default='generated', help='generated, none, or .npy/.csv')
  add('--crop', default='auto', help='auto, none, or X,Y,W,H in pixels')


def run(args: argparse.Namespace) -> int:
  """Generates the video; prints where it is and how fast it went."""
  from mdcf_jax import inputs
  from mdcf_jax.media import image as media_image
  from mdcf_jax.media.writer import VideoWriter, check_output

  given = args.image, args.audio, args.pose, args.blink
  check_output(args.output, given)
  crop = media_image.parse_crop(args.crop)
  samples, rate = inputs.read_audio(args.audio)
  _keep_programs()
  from mdcf_jax.pipeline import FPS, Pipeline

  pipe = Pipeline.from_pretrained(args.weights, args.hubert)
  frames = pipe.stream(
    args.image,
    (samples, rate),
    seed=args.seed,
    steps=args.steps,
    sampler=args.sampler,
    guidance_scale=args.guidance_scale,
    pose=args.pose,
    blink=args.blink,
    crop=crop,
    resolution=args.resolution,
    progress=Bars(),
  )
  resolution = args.resolution or pipe.resolution
  with VideoWriter(
    args.output, resolution, FPS, samples, sample_rate=rate
  ) as writer:
    for frame in frames:
      writer.write(frame)
  print(args.output)
  for line in report(pipe.timings):
    print(line)
  return 0


def report(timings) -> list[str]:
  """Returns lines that tell the frames per second of each stage."""
  lines = []
  for stage, timing in timings.items():
    speed = f'{timing.fps:9.1f} frames/s' if timing.frames else ''
    lines.append(f'{stage:10} {timing.seconds:7.2f} s {speed}'.rstrip())
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  # Kibibytes on Linux, bytes on macOS.
  peak /= 2**30 if sys.platform == 'darwin' else 2**20
  return [*lines, f'peak memory {peak:.2f} GiB']


class Bars:
  """One progress bar with the time left per stage, on stderr."""

  def __init__(self):
    self._stage, self._bar = '', None

  def __call__(self, stage: str, done: int, total: int) -> None:
    """Shows that `done` of `total` units of `stage` are finished."""
    from tqdm import tqdm

    if stage != self._stage:
      self._stage = stage
      self._bar = tqdm(total=total, desc=stage, disable=None)
    self._bar.update(done - self._bar.n)
    if done >= total:
      self._bar.close()


def _keep_programs() -> None:
  """Lets jax keep compiled programs in the user's cache, unless it does."""
  import jax

  from mdcf_jax.media.download import cache_dir

  if not jax.config.jax_compilation_cache_dir:
    jax.config.update(
      'jax_compilation_cache_dir', str(cache_dir() / 'programs')
    )

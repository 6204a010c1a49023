"""mdcf generate: a portrait and a recording to a talking-head video."""

import argparse
import functools
import os
import resource
import sys
from collections.abc import Callable

from mdcf_jax import jobs
from mdcf_jax.errors import InputError

HELP = 'portrait and recording to a talking-head video'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags of `mdcf generate`."""
  add = parser.add_argument
  add('--image', help='portrait: any picture Pillow reads')
  add('--audio', help='speech: anything FFmpeg reads')
  add('--output', help='video to write (.mp4)')
  add(
    '--manifest',
    metavar='CSV',
    help='many at once: columns image, audio, output, and any flag below but '
    'those of weights; what is there already is left out',
  )
  add('--weights', default='mini', help='mini, or a folder of weights')
  add('--hubert', metavar='PATH', help='HuBERT, for weights trained with it')
  add(
    '--dtype',
    choices=('auto', 'float32', 'bfloat16'),
    default='auto',
    help='to compute in: auto is float32 on a CPU and else bfloat16',
  )
  add(
    '--interrupted',
    choices=('remove', 'keep'),
    default='remove',
    help='after Ctrl-C: no video (remove), or one of the frames so far (keep)',
  )
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
  """Generates the videos; prints where they are and how fast it went."""
  options = {name: getattr(args, name) for name in jobs.OPTIONS}

  @functools.cache
  def open_pipeline():
    """When it is needed, and one for all: it loads and compiles once."""
    _keep_programs()
    from mdcf_jax.pipeline import Pipeline

    dtype = None if args.dtype == 'auto' else args.dtype
    return Pipeline.from_pretrained(args.weights, args.hubert, dtype)

  keep = args.interrupted == 'keep'
  make = functools.partial(_make, open_pipeline, keep=keep)
  given = [name for name in jobs.FILES if getattr(args, name) is not None]
  if args.manifest is not None:
    if given:
      raise InputError(f'--manifest has the files, --{given[0]} is one of them')
    rows = jobs.read_jobs(args.manifest, options)
    new = [job for job in rows if not os.path.isfile(job.output)]
    if new:
      open_pipeline()  # Weights that cannot be used are no fault of a row.
    made = _make_all(make, new)
    there, failed = len(rows) - len(new), len(new) - made
    print(f'{made} made, {there} there already, {failed} failed')
    return 2 if failed else 0
  missing = [name for name in jobs.FILES if name not in given]
  if missing:
    raise InputError(f'--{missing[0]} is missing (or --manifest, for many)')
  job = jobs.Job(args.image, args.audio, args.output, options)
  for line in report(make(job)):
    print(line)
  return 0


def _make_all(make: Callable, rows: list[jobs.Job]) -> int:
  """Goes on after a job that cannot be done; returns how many were."""
  made = 0
  for job in rows:
    try:
      timings = make(job)
    except InputError as error:
      print(f'mdcf: error: {job.output}: {error}', file=sys.stderr)
      continue
    made += 1
    seconds = sum(timing.seconds for timing in timings.values())
    print(f'  {timings["frames"].frames} frames in {seconds:.1f} s', flush=True)
  return made


def _make(open_pipeline: Callable, job: jobs.Job, *, keep: bool):
  """Generates one video, prints where it is, and returns the timings.

  Args:
    keep: leave a video of the frames so far when it is interrupted.
  """
  from mdcf_jax import inputs
  from mdcf_jax.media import image as media_image
  from mdcf_jax.media.writer import VideoWriter, check_output

  check_output(job.output, job.inputs)
  crop = media_image.parse_crop(job.options['crop'])
  samples, rate = inputs.read_audio(job.audio)
  pipe = open_pipeline()
  from mdcf_jax.inputs import FPS

  frames = pipe.stream(
    job.image,
    (samples, rate),
    **job.options | dict(crop=crop, progress=Bars()),
  )
  print(describe_plan(pipe.plan), file=sys.stderr)
  resolution = pipe.plan.resolution
  with VideoWriter(
    job.output, resolution, FPS, samples, sample_rate=rate
  ) as writer:
    interrupted = _write(frames, writer, keep)
  print(job.output, flush=True)
  if interrupted:
    raise interrupted
  return pipe.timings


def _write(frames, writer, keep: bool) -> KeyboardInterrupt | None:
  """Encodes frames while the next are computed.

  Returns:
    What interrupted it, where that is no reason to lose what is there.
  """
  from mdcf_jax.media.background import Background

  try:
    with Background(writer.write) as write:
      for frame in frames:
        write(frame)
  except KeyboardInterrupt as error:
    if not keep or not writer.cut():
      raise
    return error
  return None


def describe_plan(plan) -> str:
  """Returns a line that tells what a generation takes on the device."""
  largest = max(plan.stages, key=lambda k: plan.stages[k].beside_weights)
  return (
    f'{plan.frames} frames of {plan.resolution} x {plan.resolution}: '
    f'{plan.peak / 2**30:.2f} GiB on the device, '
    f'{plan.weights / 2**30:.2f} of weights and most for {largest}'
  )


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

"""mdcf generate: a portrait and a recording to a talking-head video."""

import argparse
import functools
import os
import resource
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from mdcf_jax import jobs
from mdcf_jax.cli import provenance
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
  add(
    '--weights',
    default='mini',
    help='mini, a folder of weights, or user/name[@revision] of the Hub',
  )
  add('--hubert', metavar='PATH', help='HuBERT, for weights trained with it')
  add(
    '--dtype',
    choices=('auto', 'float32', 'bfloat16'),
    default='auto',
    help='to compute in: auto is float32 on a CPU and else bfloat16',
  )
  add(
    '--devices',
    type=int,
    default=1,
    help='that share the frames of each video',
  )
  add(
    '--batch',
    type=int,
    default=1,
    metavar='N',
    help='videos of the manifest whose latents are made together, where they '
    'are of one length and size',
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
  add(
    '--pose-from',
    metavar='VIDEO',
    help='turn the head as a video does; a short one runs to and fro',
  )
  add('--blink-from', metavar='VIDEO', help='the same for the eyes')
  add(
    '--pose-mode',
    choices=('relative', 'absolute'),
    default='relative',
    help="of these: the portrait's own, changed as the video's, or the video's",
  )
  add('--crop', default='auto', help='auto, none, or X,Y,W,H in pixels')
  add(
    '--face',
    type=int,
    metavar='N',
    help='of several faces, from the left, from 1; `mdcf faces` shows them',
  )
  add(
    '--paste-back',
    action='store_true',
    help='a video of the whole picture, with the crop moving in it',
  )
  provenance.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
  """Generates the videos; prints where they are and how fast it went."""
  options = {name: getattr(args, name) for name in jobs.OPTIONS}
  if args.batch < 1:
    raise InputError(f'--batch {args.batch} is less than 1')
  origin = provenance.options(args)

  @functools.cache
  def open_pipeline():
    """When it is needed, and one for all: it loads and compiles once."""
    from mdcf_jax.pipeline import Pipeline
    from mdcf_jax.programs import keep_programs

    keep_programs()
    dtype = None if args.dtype == 'auto' else args.dtype
    return Pipeline.from_pretrained(
      args.weights, args.hubert, dtype, args.devices
    )

  keep = args.interrupted == 'keep'
  if keep and args.manifest is not None:
    raise InputError(
      '--interrupted keep is for one video: in a list a cut one would be taken '
      'for done the next time'
    )
  if args.batch > 1 and args.manifest is None:
    raise InputError('--batch is for the videos of a --manifest')
  make = functools.partial(_make, keep=keep, origin=origin)
  given = [name for name in jobs.FILES if getattr(args, name) is not None]
  if args.manifest is not None:
    if given:
      raise InputError(f'--manifest has the files, --{given[0]} is one of them')
    rows, wrong = jobs.read_jobs(args.manifest, options)
    for error in wrong:
      print(f'mdcf: error: {error}', file=sys.stderr)
    new = [job for job in rows if not os.path.isfile(job.output)]
    if new:
      open_pipeline()  # Weights that cannot be used are no fault of a row.
    made = _make_all(open_pipeline, make, new, args.batch)
    there, failed = len(rows) - len(new), len(new) - made + len(wrong)
    if made:
      _say(provenance.describe(**origin))
    _say(f'{made} made, {there} there already, {failed} failed')
    return 2 if failed else 0
  missing = [name for name in jobs.FILES if name not in given]
  if missing:
    raise InputError(f'--{missing[0]} is missing (or --manifest, for many)')
  if args.pose_mode != 'relative' and not (args.pose_from or args.blink_from):
    raise InputError('--pose-mode is of --pose-from and --blink-from')
  job = jobs.Job(args.image, args.audio, args.output, options)
  read = _read(open_pipeline, job)
  (error,) = make(open_pipeline(), [read])
  if error:
    raise error
  _say(provenance.describe(**origin, output=job.output))
  for line in report(open_pipeline().timings):
    _say(line)
  return 0


def _make_all(
  open_pipeline: Callable, make: Callable, rows: list[jobs.Job], batch: int
) -> int:
  """Goes on after a job that cannot be done; returns how many were."""
  made = 0
  for first in range(0, len(rows), batch):
    kinds = {}
    for job in rows[first : first + batch]:
      try:
        read = _read(open_pipeline, job)
      except InputError as error:
        _tell(job, error)
        continue
      kinds.setdefault(read.clip.kind, []).append(read)
    for group in kinds.values():
      errors = make(open_pipeline(), group)
      for read, error in zip(group, errors):
        if error:
          _tell(read.job, error)
      made += errors.count(None)
      timings = open_pipeline().timings
      seconds = sum(timing.seconds for timing in timings.values())
      if 'frames' in timings:
        _say(f'  {timings["frames"].frames} frames in {seconds:.1f} s')
      timings.clear()
  return made


def _tell(job: jobs.Job, error: InputError) -> None:
  text = str(error)
  if not text.startswith(job.output):
    text = f'{job.output}: {text}'
  print(f'mdcf: error: {text}', file=sys.stderr)


def _say(line: str) -> None:
  """Prints a line; videos are made even where nobody reads it."""
  try:
    print(line, flush=True)
  except OSError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Read(NamedTuple):
  """A job whose files have been read."""

  job: jobs.Job
  clip: Any
  samples: Any
  rate: int


def _read(open_pipeline: Callable, job: jobs.Job) -> _Read:
  """Reads and checks everything; what cannot be used is an InputError."""
  from mdcf_jax import inputs
  from mdcf_jax.media import image as media_image
  from mdcf_jax.media.writer import check_output

  check_output(job.output, job.inputs)
  crop = media_image.parse_crop(job.options['crop'])
  samples, rate = inputs.read_audio(job.audio)
  clip = open_pipeline().prepare(
    job.image, (samples, rate), **job.options | dict(crop=crop)
  )
  return _Read(job, clip, samples, rate)


def _make(
  pipe, group: list[_Read], *, keep: bool, origin: dict[str, Any]
) -> list[InputError | None]:
  """Generates videos together, and prints where they are.

  Args:
    pipe: a Pipeline.
    group: jobs of one kind.
    keep: leave a video of the frames so far when it is interrupted.
    origin: how the videos tell what they are: keywords of `VideoWriter`.

  Returns:
    For each why it could not be written, or None.
  """
  from mdcf_jax.inputs import FPS
  from mdcf_jax.media.writer import VideoWriter

  if not pipe.is_ready([read.clip for read in group]):
    frames = max(read.clip.frames for read in group)
    print(f'preparing programs for {frames} frames', file=sys.stderr)
  try:
    videos = pipe.generate([read.clip for read in group], Bars())
  except InputError as error:
    return [error] * len(group)
  print(describe_plan(pipe.plan), file=sys.stderr)
  errors = []
  for (job, clip, samples, rate), frames in zip(group, videos):
    interrupted = None
    try:
      with VideoWriter(
        job.output, clip.size, FPS, samples, sample_rate=rate, **origin
      ) as writer:
        interrupted = _write(frames, writer, keep)
      _say(job.output)
      errors.append(None)
    except InputError as error:
      errors.append(error)
    if interrupted:
      raise interrupted
  return errors


def _write(frames, writer, keep: bool) -> KeyboardInterrupt | None:
  """Encodes frames while the next are computed.

  Returns:
    What interrupted it, where that is no reason to lose what is there.
  """
  from mdcf_jax.media.background import Background

  try:
    with Background(writer.write, keep=keep) as write:
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
  what = f'{plan.frames} frames of {plan.resolution} x {plan.resolution}'
  if plan.clips > 1:
    what = f'{plan.clips} videos together, of up to {what}'
  return (
    f'{what}: '
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

    # The next video of a group decodes its own frames.
    if stage != self._stage or done < self._bar.n:
      self._stage = stage
      self._bar = tqdm(total=total, desc=stage, disable=None)
    self._bar.update(done - self._bar.n)
    if done >= total:
      self._bar.close()

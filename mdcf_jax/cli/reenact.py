"""mdcf reenact: a portrait that moves as the face of a video does."""

import argparse

from mdcf_jax.cli import generate, provenance

HELP = 'a portrait that moves as the face of a video does'


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  add = parser.add_argument
  add('--source', required=True, help='portrait: any picture Pillow reads')
  add('--driving', required=True, help='video of a face, with sound or without')
  add('--output', required=True, help='video to write (.mp4)')
  add(
    '--weights',
    default='mini',
    help='mini, a folder of weights, or user/name[@revision] of the Hub',
  )
  add(
    '--motion',
    choices=('relative', 'absolute'),
    default='relative',
    help='relative: the portrait moves as the face does since its first frame; '
    'absolute: it takes its place, for videos of the same person',
  )
  add('--crop', default='auto', help='auto, none, or X,Y,W,H in pixels')
  add(
    '--face',
    type=int,
    metavar='N',
    help='of several in the portrait, from the left, from 1',
  )
  add('--driving-crop', default='auto', help='the same as --crop of the video')
  add(
    '--resolution',
    type=int,
    help='pixels of a side; by default those trained for',
  )
  add(
    '--fps',
    type=float,
    help="frames a second; by default the video's, at most 60",
  )
  add(
    '--paste-back',
    action='store_true',
    help='a video of the whole picture, with the crop moving in it',
  )
  provenance.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
  """Makes the video; prints where it is and how fast it went."""
  from mdcf_jax.media import image
  from mdcf_jax.media.audio import read_video_samples
  from mdcf_jax.media.writer import check_output

  origin = provenance.options(args)
  output = check_output(args.output, [args.source, args.driving])
  crop, driving_crop = map(image.parse_crop, (args.crop, args.driving_crop))
  samples, rate = read_video_samples(args.driving) or (None, 1)

  from mdcf_jax.pipeline import Pipeline
  from mdcf_jax.reenact import reenact

  moving = reenact(
    *(Pipeline.from_pretrained(args.weights), args.source, args.driving),
    motion=args.motion,
    crop=crop,
    face=args.face,
    driving_crop=driving_crop,
    resolution=args.resolution,
    fps=args.fps,
    paste_back=args.paste_back,
  )
  _write(output, moving, samples, rate, origin)
  print(output)
  print(provenance.describe(**origin, output=output))
  for line in generate.report(moving.timings):
    print(line)
  return 0


def _write(output, moving, samples, rate: int, origin) -> None:
  """Encodes frames while the next are computed."""
  from mdcf_jax.media.background import Background
  from mdcf_jax.media.writer import VideoWriter

  bars, done = generate.Bars(), 0
  with VideoWriter(
    *(output, moving.size, moving.fps, samples, rate), **origin
  ) as writer:
    with Background(writer.write) as write:
      for done, frame in enumerate(moving.frames, 1):
        write(frame)
        bars('frames', done, max(moving.expected, done + 1))
    bars('frames', done, done)
    writer.cut()  # Sound that goes on without a picture.

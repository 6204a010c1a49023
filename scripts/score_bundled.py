"""Scores a folder of weights on real val clips, and writes the report.

  python scripts/score_bundled.py --output=/tmp/scores --clips=6 --seconds=3

Into the folder of `--output`, which lies outside of the repository because the
clips show people:
  real/            the start of val clips with sound, one of each person first
  generated/       the portrait is the first frame, the sound is the clip's
  reconstruction/  every frame through FDE and LMAE, from the true motion: what
                   a perfect diffusion could reach
  still/           the first frame, as long: what any method must beat
  *.json           scores of the three by `mdcf evaluate`
  report.html      all of it on one page

What is there already is not made again, so that an interrupted run goes on.
Metrics whose networks are not there stay blank.
"""

import argparse
import csv
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mdcf_jax.cli import main as cli  # noqa: E402
from mdcf_jax.cli import reconstruct  # noqa: E402
from mdcf_jax.media import audio, video  # noqa: E402
from mdcf_jax.pipeline import Pipeline  # noqa: E402

SYSTEMS = ('generated', 'reconstruction', 'still')
ABOUT = {
  'generated': 'made from the first frame and the sound, with head motion of '
  'its own.',
  'reconstruction': 'the true motion through FDE and LMAE, which says what the '
  'compression costs; no system for use.',
  'still': 'the first frame all the time. It wins PSNR, SSIM and sharpness by '
  'construction, because it is a true picture that risks no motion.',
}
FPS, SAMPLE_RATE = 25, 16000
CRF = 10  # Of all clips: what is lost in the file should not decide.


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--output', type=pathlib.Path, required=True, help='a folder')
  add('--weights', default='mini', help="folder, or 'mini', the bundled one")
  add(
    '--realset',
    type=pathlib.Path,
    default=ROOT.parent / 'shared' / 'realset',
    help='folder of clips with a manifest.csv (file, identity, split, '
    'has_audio)',
  )
  add('--clips', type=int, default=15, help='at most')
  add('--seconds', type=float, default=5.0, help='of each clip, at most')
  add('--steps', type=int, default=20, help='of the sampler')
  add('--guidance_scale', type=float, default=1.0)
  add('--seed', type=int, default=0)
  add('--networks', help='of `mdcf evaluate`')
  add('--arcface', help='of `mdcf evaluate`')
  add('--metrics', nargs='+', help='of `mdcf evaluate`; all by default')
  args = parser.parse_args(argv)
  if not (args.realset / 'manifest.csv').is_file():
    parser.error(f'--realset {args.realset}: has no manifest.csv')
  if args.output.resolve().is_relative_to(ROOT):
    parser.error(f'--output {args.output}: lies in the repository')
  if args.clips < 1 or args.seconds * FPS < 3:
    parser.error('at least one clip of three frames')
  return args


def choose(realset: pathlib.Path, count: int) -> list[pathlib.Path]:
  """Val clips with sound: the first of each person, then the second, ..."""
  with open(realset / 'manifest.csv', newline='') as file:
    rows = [
      row
      for row in csv.DictReader(file)
      if row['split'] == 'val' and row['has_audio'] == '1'
    ]
  rows = [row for row in rows if row['file'].endswith('.mp4')]
  rounds, seen = [], {}
  for row in sorted(rows, key=lambda row: row['file']):
    turn = seen[row['identity']] = seen.get(row['identity'], -1) + 1
    rounds.append((turn, row['file']))
  return [realset / name for _, name in sorted(rounds)[:count]]


def make_clips(args: argparse.Namespace) -> None:
  """Writes the clips that are not there yet."""
  pipe = Pipeline.from_pretrained(args.weights)
  rebuild = reconstruct.make_reconstruct(pipe.fde, pipe.lmae)
  for path in choose(args.realset, args.clips):
    files = {
      name: args.output / name / f'{path.stem}.mp4'
      for name in ('real', *SYSTEMS)
    }
    if all(file.exists() for file in files.values()):
      continue
    frames, waveform = read(path, pipe.resolution, args.seconds)
    write(
      files['real'], frames, waveform, mark=False, sign=False, comment='true'
    )
    write(files['still'], np.repeat(frames[:1], len(frames), 0), waveform)
    rebuilt = rebuild(pipe.variables, frames, 0).lmae
    write(files['reconstruction'], rebuilt, waveform)
    made = pipe(
      frames[0],
      (waveform, SAMPLE_RATE),
      seed=args.seed,
      steps=args.steps,
      guidance_scale=args.guidance_scale,
      crop='none',
    )
    write(files['generated'], made.frames, waveform)
    print(f'{path.stem}: {len(frames)} frames', flush=True)


def read(path: pathlib.Path, resolution: int, seconds: float):
  """Frames `[T, R, R, 3]` and sound `[640 T]` of the start of a clip."""
  clip = video.read_video(
    path, resolution=resolution, max_frames=round(FPS * seconds)
  )
  wav = path.with_suffix('.wav')  # Free of the delay that AAC adds.
  waveform = audio.read_audio(wav) if wav.exists() else clip.waveform
  samples = len(clip.frames) * SAMPLE_RATE // FPS
  waveform = np.pad(waveform[:samples], (0, max(samples - len(waveform), 0)))
  return clip.frames, waveform.astype(np.float32)


def write(path: pathlib.Path, frames, waveform, **options) -> None:
  if path.exists():
    return
  with video.VideoWriter(
    path, frames.shape[1], FPS, waveform, SAMPLE_RATE, crf=CRF, **options
  ) as writer:
    for frame in frames:
      writer.write(frame)


def main(argv: list[str] | None = None) -> int:
  args = parse_args(argv)
  make_clips(args)
  folder = args.output
  more = [f'--cache={folder / "cache"}']
  more += [f'--networks={args.networks}'] if args.networks else []
  more += [f'--arcface={args.arcface}'] if args.arcface else []
  more += ['--metrics', *args.metrics] if args.metrics else []
  for name in SYSTEMS:
    given = [f'--real={folder / "real"}', f'--fake={folder / name}']
    output = f'--output={folder / name}.json'
    if code := cli.main(['evaluate', *given, output, *more]):
      return code
  scores = [f'{name}={folder / name}.json' for name in SYSTEMS]
  fakes = [f'{name}={folder / name}' for name in SYSTEMS]
  given = ['--real', str(folder / 'real'), '--fake', *fakes]
  given += [f'--about={name}={text}' for name, text in ABOUT.items()]
  output = f'--output={folder / "report.html"}'
  return cli.main(['report', *scores, *given, output])


if __name__ == '__main__':
  sys.exit(main())

"""Measures a folder of weights on the val split of a set of real clips.

  python scripts/evaluate_bundled.py --realset ../shared/realset

Four stages, each with a 95 % bootstrap interval over clips:
  reconstruction  PSNR of a still first frame, of FDE and of FDE + LMAE
  noise           the diffusion's mean squared error of the noise
  mouth           correlation of the mouth opening of generated clips with that
                  of the true clip, beside two rivals: the clip generated from
                  another clip's sound, and the log energy of the true sound
  ceiling         (if asked for) the same for true clips sent through FDE, and
                  through FDE and LMAE, and both with guide points in place of
                  FDE's regions, as the diffusion's labels are made: what a
                  perfect diffusion could reach

The mouth is the gap between the inner lips (landmarks 13-14) over the height
of the face (10-152), smoothed over 3 frames; every series takes its best lag
in -5..5 frames. PSNR is the mean over the frames of a clip. All is seeded: two
runs print the same numbers.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

from configs import diffusion as diffusion_config  # noqa: E402
from mdcf_jax import visualize  # noqa: E402
from mdcf_jax.cli import reconstruct as reconstruct_lib  # noqa: E402
from mdcf_jax.data import mel  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.media import audio, faces, video  # noqa: E402
from mdcf_jax.metrics import mouth  # noqa: E402
from mdcf_jax.metrics.bootstrap import bootstrap_interval  # noqa: E402
from mdcf_jax.phases import PHASES, packed  # noqa: E402
from mdcf_jax.pipeline import Pipeline  # noqa: E402

STAGES = ('reconstruction', 'noise', 'mouth', 'ceiling')
FPS = 25
SAMPLE_RATE = 16000
MIN_FRAMES = 2 * mouth.MAX_LAG + 3


@dataclasses.dataclass(frozen=True)
class Clip:
  """The start of one val clip.

  Attributes:
    name: its path in the realset.
    frames: `[T, R, R, 3]` uint8.
    waveform: `[640 T]` float32 at 16 kHz, None without sound.
  """

  name: str
  frames: np.ndarray
  waveform: np.ndarray | None


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--weights', default='mini', help="folder, or 'mini', the bundled one"
  )
  parser.add_argument(
    '--realset',
    type=pathlib.Path,
    default=ROOT.parent / 'shared' / 'realset',
    help='folder of clips with a manifest.csv (file, split, has_audio)',
  )
  parser.add_argument('--output', type=pathlib.Path, help='JSON report')
  parser.add_argument('--stages', default=','.join(STAGES[:3]))
  parser.add_argument('--max_clips', type=int, default=30)
  parser.add_argument('--seconds', type=float, default=4.0, help='of each clip')
  parser.add_argument(
    '--stride', type=int, default=5, help='every n-th frame is reconstructed'
  )
  parser.add_argument('--steps', type=int, default=20, help='of the sampler')
  parser.add_argument('--sampler', default='ddim')
  parser.add_argument('--guidance_scale', type=float, default=1.0)
  parser.add_argument('--draws', type=int, default=8, help='of noise and level')
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args(argv)
  args.stages = args.stages.split(',')
  if unknown := set(args.stages) - set(STAGES):
    parser.error(f'unknown stages {sorted(unknown)}; there are {STAGES}')
  if not (args.realset / 'manifest.csv').is_file():
    parser.error(f'--realset {args.realset}: has no manifest.csv')
  if args.seconds * FPS < MIN_FRAMES:
    parser.error(f'--seconds {args.seconds}: needs {MIN_FRAMES} frames')
  return args


def read_clips(args: argparse.Namespace, resolution: int) -> list[Clip]:
  """Reads the start of val clips; those with sound come first."""
  with open(args.realset / 'manifest.csv', newline='') as f:
    rows = [row for row in csv.DictReader(f) if row['split'] == 'val']
  rows = [row for row in rows if row['file'].endswith('.mp4')]
  rows.sort(key=lambda row: (row['has_audio'] != '1', row['file']))
  clips = []
  for row in rows[: args.max_clips]:
    path = args.realset / row['file']
    read = video.read_video(
      path, resolution=resolution, max_frames=round(FPS * args.seconds)
    )
    waveform = None
    if row['has_audio'] == '1':
      wav = path.with_suffix('.wav')  # Free of the delay that AAC adds.
      waveform = audio.read_audio(wav) if wav.exists() else read.waveform
      waveform = fit(waveform, len(read.frames))
    clips.append(Clip(row['file'], read.frames, waveform))
  return clips


def fit(waveform: np.ndarray, num_frames: int) -> np.ndarray:
  """Cuts or repeats a sound to the samples of `num_frames`."""
  samples = num_frames * SAMPLE_RATE // FPS
  return np.resize(waveform, samples).astype(np.float32)


def reconstruction(
  pipe: Pipeline, clips: list[Clip], args: argparse.Namespace
) -> dict[str, dict[str, float]]:
  """PSNR in dB and SSIM of every clip, from its first frame."""
  rebuild = reconstruct_lib.make_reconstruct(pipe.fde, pipe.lmae)
  scores = {}
  for clip in clips:
    frames = clip.frames[:: args.stride]
    result = rebuild(pipe.variables, frames, 0)
    still = np.repeat(frames[:1], len(frames), 0)
    scores[clip.name] = {}
    for name, images in (
      ('still', still),
      ('fde', result.fde),
      ('lmae', result.lmae),
    ):
      psnr, ssim = reconstruct_lib.score(frames, images, 0)
      scores[clip.name] |= {f'psnr_{name}': psnr, f'ssim_{name}': ssim}
  return scores


def diffusion_batch(
  clip: Clip, track: Any, latents: tuple, length: int
) -> dict[str, np.ndarray]:
  """One clip as a batch of the diffusion phase, padded to `length`.

  `latents` are the mean and logvar `[length, h, w, C]`.
  """
  count = len(clip.frames)
  opening = faces.openness(track.landmarks)

  def pad(x):
    padded = np.zeros((1, length, *np.shape(x)[1:]), np.float32)
    padded[0, :count] = x
    return padded

  return dict(
    source=visualize.from_uint8(clip.frames[:1]),
    source_pose=track.pose[:1],
    source_blink=track.blink[:1],
    source_opening=opening[:1],
    source_landmarks=guide_points(track)[:1],
    face_box=track.face_box[:1],
    z_mean=latents[0][None],
    z_logvar=latents[1][None],
    audio_emb=pad(mel.log_mel(clip.waveform, count)),
    pose=pad(track.pose),
    blink=pad(track.blink),
    mouth_box=pad(track.mouth_box),
    opening=pad(opening),
    frame_mask=pad(np.ones(count)),
  )


def diffusion_phase(pipe: Pipeline) -> Any:
  """The phase as it is trained, with the sizes of these weights."""
  config = diffusion_config.get_config('mini')
  config.model = ConfigDict(pipe.config['model'])
  packed_phase = packed.build_phases(pipe.config)['diffusion']
  config.loss.objective = packed_phase.objective
  return PHASES['diffusion'].from_config(config)


def noise(
  pipe: Pipeline,
  clips: list[Clip],
  tracks: Mapping[str, Any],
  args: argparse.Namespace,
) -> dict[str, dict[str, float]]:
  """Mean squared error of the predicted noise; 1 is a prediction of zero."""
  phase = diffusion_phase(pipe)
  length = round(FPS * args.seconds)
  split = {name: split_variables(x) for name, x in pipe.variables.items()}
  keys = 'params', 'model_state'
  frozen = {name: dict(zip(keys, split[name])) for name in phase.frozen_names}

  @jax.jit
  def mse(params, model_state, frozen, batch, rng):
    # A batch of one clip: the phase spreads noise levels over a batch.
    batch = {k: jnp.repeat(x, args.draws, axis=0) for k, x in batch.items()}
    _, (_, metrics) = phase.loss_fn(
      params, model_state, frozen, batch, rng, train=False
    )
    return metrics['noise_mse']

  encode = jax.jit(phase.encode_clip)
  rng = jax.random.key(args.seed)  # The same noise for all clips and weights.
  scores = {}
  for clip in clips:
    missing = ((0, length - len(clip.frames)), (0, 0), (0, 0), (0, 0))
    frames = np.pad(visualize.from_uint8(clip.frames), missing, mode='edge')
    points = guide_points(tracks[clip.name])
    points = np.pad(points, missing[:3], mode='edge')
    latents = encode(frozen, frames[0], frames, points[0], points)
    batch = diffusion_batch(clip, tracks[clip.name], latents, length)
    value = mse(*split['diffusion'], frozen, batch, rng)
    scores[clip.name] = {'noise_mse': float(value)}
  return scores


def guide_points(track: Any) -> np.ndarray:
  """Points `[T, 8, 2]` of the face as records have them."""
  return np.float32(track.landmarks[:, list(faces.GUIDE_LANDMARKS)])


def split_variables(variables: Mapping[str, Any]) -> tuple[Any, dict]:
  """Returns (params, model_state) as phases take them."""
  state = dict(variables)
  return state.pop('params'), state


def track(frames: np.ndarray, name: str) -> Any | None:
  """Follows the face; None when there is none in any frame."""
  faces.find_model()  # Not there: an error, and not a clip without a face.
  try:
    return faces.track_faces(frames, name=name)
  except InputError as error:
    if 'no face' not in str(error):
      raise
    return None


def follow(
  frames: np.ndarray, truth: np.ndarray, name: str, clip: Clip
) -> dict[str, float]:
  """Correlation of the mouth in `frames` with the true opening `[T]`.

  Frames in which no face is found count as a correlation of 0.
  """
  found = track(frames, f'{clip.name}, {name}')
  if found is None:
    return {f'mouth_{name}': 0.0, f'lag_{name}': 0.0, f'spread_{name}': 0.0}
  series = faces.openness(found.landmarks)
  score, lag = mouth.best_lag_correlation(series, truth)
  return {
    f'mouth_{name}': score,
    f'lag_{name}': float(lag),
    f'spread_{name}': float(np.std(series)),
  }


def mouth_scores(
  pipe: Pipeline,
  clips: list[Clip],
  tracks: Mapping[str, Any],
  args: argparse.Namespace,
) -> dict[str, dict[str, float]]:
  """Correlation of generated mouths, and of the rivals, with the true one."""
  scores = {}
  for i, clip in enumerate(clips):
    truth = faces.openness(tracks[clip.name].landmarks)
    energy = mouth.log_energy(clip.waveform, len(truth))
    score, lag = mouth.best_lag_correlation(energy, truth)
    row = {'mouth_energy': score, 'lag_energy': float(lag)}
    row['spread_truth'] = float(np.std(truth))
    # Half way round the list: another person, who says something else.
    other = clips[(i + len(clips) // 2) % len(clips)].waveform
    for name, waveform in (('true', clip.waveform), ('shuffled', other)):
      made = pipe(
        clip.frames[0],
        (fit(waveform, len(truth)), SAMPLE_RATE),
        seed=args.seed,
        steps=args.steps,
        sampler=args.sampler,
        guidance_scale=args.guidance_scale,
        crop='none',
      )
      row |= follow(made.frames, truth, name, clip)
    scores[clip.name] = row
  return scores


def ceiling(
  pipe: Pipeline,
  clips: list[Clip],
  tracks: Mapping[str, Any],
  args: argparse.Namespace,
) -> dict[str, dict[str, float]]:
  """Correlation of the mouths of rebuilt clips with the true ones."""
  del args
  rebuild = reconstruct_lib.make_reconstruct(pipe.fde, pipe.lmae)
  scores = {}
  for clip in clips:
    truth = faces.openness(tracks[clip.name].landmarks)
    scores[clip.name] = {}
    points = guide_points(tracks[clip.name])
    for guided, given in (('', None), ('guided_', points)):
      result = rebuild(pipe.variables, clip.frames, 0, given)
      for name in ('fde', 'lmae'):
        images = getattr(result, name)
        scores[clip.name] |= follow(images, truth, guided + name, clip)
  return scores


# Differences over the same clips: (name, minuend, subtrahend).
DIFFERENCES = (
  ('fde_over_still_db', 'psnr_fde', 'psnr_still'),
  ('fde_over_lmae_db', 'psnr_fde', 'psnr_lmae'),
  ('mouth_over_shuffled', 'mouth_true', 'mouth_shuffled'),
  ('mouth_over_energy', 'mouth_true', 'mouth_energy'),
)


def summarize(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
  """Mean and interval over clips of every number, and of differences."""
  rows = {name: dict(row) for name, row in scores.items()}
  for row in rows.values():
    for name, a, b in DIFFERENCES:
      if a in row and b in row:
        row[name] = row[a] - row[b]
  keys = dict.fromkeys(key for row in rows.values() for key in row)
  intervals, counts = {}, {}
  for key in keys:
    values = [row[key] for row in rows.values() if key in row]
    intervals[key], counts[key] = bootstrap_interval(values), len(values)
  return dict(
    means={key: x.mean for key, x in intervals.items()},
    intervals={key: x[1:] for key, x in intervals.items()},
    num_clips=counts,
    clips=rows,
  )


def print_table(report: Mapping[str, Any]) -> None:
  print(f'{"":22}{"mean":>9}   95 % interval        clips')
  for key, mean in report['means'].items():
    low, high = report['intervals'][key]
    count = report['num_clips'][key]
    print(f'{key:22}{mean:9.3f}   [{low:7.3f}, {high:7.3f}]   {count}')


def main(argv: list[str] | None = None) -> None:
  args = parse_args(argv)
  pipe = Pipeline.from_pretrained(args.weights)
  clips = read_clips(args, pipe.resolution)
  spoken = [clip for clip in clips if clip.waveform is not None]
  tracks = {}
  if set(args.stages) - {'reconstruction'}:
    tracks = {clip.name: track(clip.frames, clip.name) for clip in spoken}
    tracks = {name: x for name, x in tracks.items() if x is not None}
  spoken = [clip for clip in spoken if clip.name in tracks]
  long = [clip for clip in spoken if len(clip.frames) >= MIN_FRAMES]
  stages = {
    'reconstruction': lambda: reconstruction(pipe, clips, args),
    'noise': lambda: noise(pipe, spoken, tracks, args),
    'mouth': lambda: mouth_scores(pipe, long, tracks, args),
    'ceiling': lambda: ceiling(pipe, long, tracks, args),
  }
  scores: dict[str, dict[str, float]] = {clip.name: {} for clip in clips}
  for name in args.stages:
    start = time.perf_counter()
    for clip, row in stages[name]().items():
      scores[clip] |= row
    print(f'{name}: {time.perf_counter() - start:.0f} s', flush=True)
  report = summarize(scores)
  print_table(report)
  if args.output:
    settings = {key: str(value) for key, value in vars(args).items()}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    report = dict(settings=settings, **report)
    args.output.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
  main()

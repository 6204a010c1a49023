"""Speed of `mdcf prepare` and of the training pipeline, and its memory.

  python bench/data.py                                   # of made-up clips
  python bench/data.py --videos my-videos --data my-data --workers 2

Preparation is the whole command in a process of its own, with its start and the
writing of the dataset. Each phase's pipeline runs in its own process too, with
the settings of configs/<phase>.py at full size but the batch: first an epoch
from the files, then epochs from memory, all clips once in each. Speeds are
medians over repeats. Processor time, which other programs on the machine change
less, is that of all threads together; decoding is timed alone, in one thread,
on frames of the same clips.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

PHASES = ('fde', 'lmae', 'diffusion', 'pbnet')
FRAMES = 80  # Of each made-up clip of the pipeline.
SECONDS = 12  # Of each made-up video of the preparation.


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--videos', help='folder of videos to prepare')
  parser.add_argument('--data', help='prepared dataset to train on')
  parser.add_argument('--resolution', type=int, default=256)
  parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
  parser.add_argument('--threads', type=int, default=4, help='of the pipeline')
  parser.add_argument('--batch_size', type=int, default=8)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--phases', nargs='*', choices=PHASES, default=PHASES)
  parser.add_argument(
    '--skip', choices=('prepare', 'pipeline'), help='measure the other alone'
  )
  parser.add_argument('--measure', choices=PHASES, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.measure:
    print(json.dumps(measure(args)))
    return
  load = f'load {os.getloadavg()[0]:.1f}' if hasattr(os, 'getloadavg') else ''
  print(f'{os.cpu_count()} cores, {load} before the start')
  with tempfile.TemporaryDirectory() as folder:
    if args.skip != 'prepare':
      videos = args.videos or _write_videos(pathlib.Path(folder, 'videos'))
      print_preparation(videos, pathlib.Path(folder), args)
    if args.skip != 'pipeline':
      args.data = args.data or _write_dataset(
        pathlib.Path(folder, 'data'), args.resolution
      )
      for phase in args.phases:
        print_pipeline(phase, args)


def print_preparation(
  videos: str, folder: pathlib.Path, args: argparse.Namespace
) -> None:
  """Runs the command and prints frames per second."""
  from mdcf_jax.data import builder

  output = folder / 'prepared'
  command = [
    *(sys.executable, '-m', 'mdcf_jax.cli.main', 'prepare'),
    *('--videos', videos, '--output', str(output)),
    *('--resolution', str(args.resolution), '--workers', str(args.workers)),
  ]
  start = time.perf_counter()
  done = subprocess.run(
    command,
    env=dict(os.environ, PYTHONPATH=str(ROOT)),
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
    errors='replace',
  )
  seconds = time.perf_counter() - start
  if done.returncode:
    last = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
    print(f'prepare: not measured, exit code {done.returncode}: {last}')
    return
  infos = [
    info
    for split in builder.splits(output)
    for info in builder.read_index(output, split)
  ]
  frames = sum(info.num_frames for info in infos)
  rate = frames / seconds
  print(
    f'prepare: {frames} frames of {len(infos)} clips at {args.resolution} in '
    f'{seconds:.1f} s with {args.workers} workers: {rate:.1f} frames/s, '
    f'{rate / args.workers:.1f} per worker',
    flush=True,
  )


def print_pipeline(phase: str, args: argparse.Namespace) -> None:
  """Measures one phase in a process of its own, and prints what it found."""
  flags = ('data', 'resolution', 'threads', 'batch_size', 'repeats')
  options = [f'--{flag}={getattr(args, flag)}' for flag in flags]
  done = subprocess.run(
    [sys.executable, __file__, f'--measure={phase}', *options],
    stdout=subprocess.PIPE,
    text=True,
  )
  if done.returncode:
    print(f'{phase}: not measured, exit code {done.returncode}')
    return
  found = json.loads(done.stdout.splitlines()[-1])
  text = f'{phase}: {found["samples_per_s"]:.1f} samples/s'
  if found['frames']:
    text += (
      f', {found["frames_per_s"]:.0f} frames/s, {args.threads} threads; '
      f'{found["cpu_ms"]:.2f} ms of processor time a frame, of it '
      f'{found["decode_ms"]:.2f} ms decoding '
      f'({found["decode_ms"] / found["cpu_ms"]:.0%})'
    )
  memory = [f'{size:.0f}' for size in found['rss_mib']]
  print(
    f'{text}; memory at the start, after 1, 2 and {2 + args.repeats} epochs '
    f'of {found["clips"]} clips: {", ".join(memory)} MiB',
    flush=True,
  )


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Speed and memory of a phase's pipeline, in this process."""
  from mdcf_jax.data import builder, pipeline

  config = _config(args)
  infos = builder.read_index(config.data.dir, 'train')
  clips = len(pipeline.group_clips(config, infos))
  epoch = -(-clips // config.batch_size)
  stream = pipeline.create_dataset(
    config, 'train', process_index=0, process_count=1
  )
  batch = next(stream)
  frames = 0  # Pictures of a sample.
  for key in {'source', 'driving', 'video'} & set(batch):
    frames += batch[key].shape[1] if key == 'video' else 1
  memory = [_memory()]
  for _ in range(2):
    for _ in range(epoch):
      next(stream)
    memory.append(_memory())
  rates, costs = [], []
  for _ in range(args.repeats):
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(epoch):
      next(stream)
    samples = epoch * config.batch_size
    rates.append(samples / (time.perf_counter() - wall))
    costs.append((time.process_time() - cpu) / samples)
  memory.append(_memory())
  rate, cost = statistics.median(rates), statistics.median(costs)
  return dict(
    samples_per_s=rate,
    frames=frames,
    frames_per_s=rate * frames,
    cpu_ms=1e3 * cost / max(frames, 1),
    decode_ms=_decode_ms(config, args.repeats),
    rss_mib=memory,
    clips=clips,
  )


def _config(args: argparse.Namespace) -> Any:
  """The config of a phase at full size; every clip is drawn once an epoch."""
  import importlib

  module = importlib.import_module(f'configs.{args.measure}')
  config = module.get_config('base')
  config.resolution, config.batch_size = args.resolution, args.batch_size
  config.data.dir, config.data.num_threads = args.data, args.threads
  config.data.balance_identities = False
  return config


def _decode_ms(config: Any, repeats: int, count: int = 200) -> float:
  """Processor time of decoding one frame, in one thread."""
  import numpy as np

  from mdcf_jax.data import builder, records

  source = builder.open_source(config.data.dir, 'train')
  files = []
  for index in range(min(8, len(source))):
    found = source[index]['frames']
    files += found[:: max(1, len(found) * 8 // count)]
  times = []
  for _ in range(repeats):
    start = time.thread_time()
    for file in files:
      np.asarray(records.open_jpeg(file, config.resolution))
    times.append((time.thread_time() - start) / len(files))
  return 1e3 * statistics.median(times)


def _memory() -> float:
  """Resident memory of this process in MiB; NaN where it is not to be had."""
  try:
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  except OSError:
    return float('nan')
  return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def _write_dataset(folder: pathlib.Path, resolution: int) -> str:
  """Makes a dataset of drawn heads."""
  from mdcf_jax.data import builder, records, synthetic

  folder.mkdir()
  paths = [folder / f'{seed}.npz' for seed in range(8)]
  for seed, path in enumerate(paths):
    records.save(path, synthetic.make_clip(seed, FRAMES, resolution))
  return str(builder.build({'train': paths}, folder / 'set'))


def _write_videos(folder: pathlib.Path) -> str:
  """Makes videos of the portrait that comes along, which moves and speaks."""
  import numpy as np
  from PIL import Image

  from mdcf_jax.media import audio, image, video

  folder.mkdir()
  picture = Image.fromarray(image.read_image(ROOT / 'assets' / 'portrait.png'))
  waveform = audio.read_audio(ROOT / 'assets' / 'speech.wav')
  waveform = np.resize(waveform, SECONDS * audio.SAMPLE_RATE)
  side = min(picture.size)
  for name in range(4):
    with video.VideoWriter(
      folder / f'{name}.mp4',
      512,
      fps=25,
      waveform=waveform,
      mark=False,
      sign=False,
    ) as writer:
      for frame in range(25 * SECONDS):
        shift = 0.05 * side * np.sin(frame / 20 + name)
        left = (picture.width - side) / 2 + shift
        box = np.clip((left, 0, left + side, side), 0, (*picture.size,) * 2)
        cut = picture.resize((512, 512), Image.Resampling.BILINEAR, tuple(box))
        writer.write(np.asarray(cut.convert('RGB')))
  return str(folder)


if __name__ == '__main__':
  main()

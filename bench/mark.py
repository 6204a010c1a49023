"""What the invisible mark costs and survives, on videos of a folder.

  python bench/mark.py --clips DIR
  python bench/mark.py --clips DIR --side 512 --unmarked 0

Frames are marked, encoded as `mdcf generate` does (CRF 18), then spoilt, and
looked at as `mdcf detect` would. A folder may hold videos, pictures (which are
moved slowly, to be clips) or both. Bits are right of the 16 of the payload, as
read without knowing it. False alarms are counted on frames as they are in the
files, singly, and on two stretches of 25 frames of each video. Output is a
markdown table; its last rows are what is known to remove the mark.
"""

import argparse
import io
import itertools
import os
import pathlib
import sys
import time

# One thread, so that times are of one core; before NumPy is there.
for _name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
  os.environ.setdefault(_name, '1')

import av  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from mdcf_jax.media import mark, mark_search, video  # noqa: E402

VIDEOS, PICTURES = ('.mp4', '.mkv', '.mov', '.webm'), ('.png', '.jpg')
# No version or tool that exists, so that nothing is known of it.
PAYLOAD = 0x6B5A


def encode(frames, crf: int) -> list[np.ndarray]:
  """Frames through x264 in yuv420p."""
  file = io.BytesIO()
  with av.open(file, 'w', format='mp4') as container:
    options = {'crf': str(crf), 'threads': '1'}
    stream = container.add_stream('libx264', rate=25, options=options)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = 'yuv420p'
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  encode.bytes = file.tell()
  file.seek(0)
  with av.open(file) as container:
    return [x.to_ndarray(format='rgb24') for x in container.decode(video=0)]


def scale(frames, factor: float) -> list[np.ndarray]:
  """Frames made smaller, to even sides."""
  size = [2 * round(factor * n / 2) for n in frames[0].shape[1::-1]]
  how = Image.Resampling.BICUBIC
  return [np.asarray(Image.fromarray(x).resize(size, how)) for x in frames]


def crop(frames, part: float, seed: int) -> list[np.ndarray]:
  """Frames without `part` of height and width, cut off at random sides."""
  height, width = frames[0].shape[:2]
  rows, columns = (2 * round((1 - part) * n / 2) for n in (height, width))
  rng = np.random.default_rng(seed)
  top = rng.integers(height - rows + 1)
  left = rng.integers(width - columns + 1)
  return [x[top : top + rows, left : left + columns] for x in frames]


def brighten(frames, gain: float, offset: float) -> list[np.ndarray]:
  """Frames with other contrast and brightness."""
  return [
    np.uint8(np.clip(gain * x.astype(np.float32) + offset, 0, 255))
    for x in frames
  ]


def jpeg(frame, quality: int) -> list[np.ndarray]:
  """One frame as a JPEG file."""
  file = io.BytesIO()
  Image.fromarray(frame).save(file, 'jpeg', quality=quality)
  return [np.asarray(Image.open(file))]


def rotate(frames, degrees: float) -> list[np.ndarray]:
  """Frames turned around their middle, and without the corners."""
  how = Image.Resampling.BICUBIC
  turned = [np.asarray(Image.fromarray(x).rotate(degrees, how)) for x in frames]
  side = turned[0].shape[0] // 10
  return [x[side:-side, side:-side] for x in turned]


def stretch(frames, factor: float) -> list[np.ndarray]:
  """Frames made wider, of an even width."""
  height, width = frames[0].shape[:2]
  size = 2 * round(factor * width / 2), height
  how = Image.Resampling.BICUBIC
  return [np.asarray(Image.fromarray(x).resize(size, how)) for x in frames]


def subtract(frames) -> list[np.ndarray]:
  """What whoever has the source code can do: add the opposite."""
  added = mark.tile(PAYLOAD)
  shape = frames[0].shape
  repeats = -(-shape[0] // mark.TILE), -(-shape[1] // mark.TILE)
  added = np.tile(added, repeats)[: shape[0], : shape[1], None]
  return [np.uint8(np.clip(x.astype(int) - added, 0, 255)) for x in frames]


# What is done to frames that were encoded once, by name.
ATTACKS = {
  'none': lambda x, i: x,
  'CRF 18': lambda x, i: encode(x, 18),
  'CRF 23': lambda x, i: encode(x, 23),
  'CRF 28': lambda x, i: encode(x, 28),
  'CRF 33': lambda x, i: encode(x, 33),
  '75 %, CRF 23': lambda x, i: encode(scale(x, 0.75), 23),
  '50 %, CRF 23': lambda x, i: encode(scale(x, 0.5), 23),
  '150 %, CRF 23': lambda x, i: encode(scale(x, 1.5), 23),
  'crop 10 %, CRF 23': lambda x, i: encode(crop(x, 0.1, i), 23),
  'crop 20 %, CRF 23': lambda x, i: encode(crop(x, 0.2, i), 23),
  'crop 10 %, 75 %, CRF 23': lambda x, i: encode(
    scale(crop(x, 0.1, i), 0.75), 23
  ),
  'crop 10 %, 75 %, CRF 28': lambda x, i: encode(
    scale(crop(x, 0.1, i), 0.75), 28
  ),
  'crop 20 %, 50 %, CRF 23': lambda x, i: encode(
    scale(crop(x, 0.2, i), 0.5), 23
  ),
  'brighter, CRF 23': lambda x, i: encode(brighten(x, 1.15, 12), 23),
  'darker, CRF 23': lambda x, i: encode(brighten(x, 0.8, -8), 23),
  'two frames dropped, CRF 23': lambda x, i: encode(
    x[:5] + x[6:-7] + x[-6:], 23
  ),
  'mirrored, CRF 23': lambda x, i: encode([y[:, ::-1] for y in x], 23),
  'one frame': lambda x, i: x[len(x) // 2 :][:1],
  'one frame of CRF 28': lambda x, i: encode(x, 28)[len(x) // 2 :][:1],
  'one frame, JPEG 90': lambda x, i: jpeg(x[len(x) // 2], 90),
  'one frame, JPEG 60': lambda x, i: jpeg(x[len(x) // 2], 60),
  'one frame, JPEG 30': lambda x, i: jpeg(x[len(x) // 2], 30),
  'CRF 38': lambda x, i: encode(x, 38),
  '35 %, CRF 23': lambda x, i: encode(scale(x, 0.35), 23),
  '2 % wider, CRF 23': lambda x, i: encode(stretch(x, 1.02), 23),
  '10 % wider, CRF 23': lambda x, i: encode(stretch(x, 1.1), 23),
  'turned by 1 degree, CRF 23': lambda x, i: encode(rotate(x, 1), 23),
  'turned by 5 degrees, CRF 23': lambda x, i: encode(rotate(x, 5), 23),
  'subtracted': lambda x, i: subtract(x),
}


def read(path: pathlib.Path, side: int, count: int) -> list[np.ndarray]:
  """The first frames of a video, or of a picture that moves a little."""
  if path.suffix.lower() not in PICTURES:
    return list(video.iter_frames(path, resolution=side, max_frames=count))
  image = Image.open(path).convert('RGB').resize((side, side))
  frames = []
  for k in range(count):
    zoom, move = 0.95 + 0.01 * np.sin(k / 9), side * (1 + np.sin(k / 6)) / 100
    parts = (zoom, 0, move, 0, zoom, move / 2)
    how = Image.Resampling.BICUBIC
    moved = image.transform((side, side), Image.Transform.AFFINE, parts, how)
    frames.append(np.asarray(moved))
  return frames


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  """In dB, of two uint8 pictures."""
  error = np.mean(np.square(a.astype(np.float32) - b))
  return float(10 * np.log10(255**2 / error))


def measure(paths, side: int, count: int) -> None:
  """Prints what the mark costs, and a row for each attack."""
  rows = {name: [] for name in ATTACKS}
  decibels, seconds, sizes = [], [], []
  for number, path in enumerate(paths):
    frames = read(path, side, count)
    mark.embed(frames[0], PAYLOAD)  # The tile is made once.
    start = time.perf_counter()
    marked = [mark.embed(x, PAYLOAD) for x in frames]
    seconds.append((time.perf_counter() - start) / len(frames))
    decibels += [psnr(a, b) for a, b in zip(frames, marked)]
    written, size = encode(marked, 18), encode.bytes
    encode(frames, 18)
    sizes.append(size / encode.bytes)
    for name, attack in ATTACKS.items():
      spoilt = attack(written, number)
      start = time.perf_counter()
      found = mark_search.detect(spoilt)
      rows[name].append((found, time.perf_counter() - start))
  print(
    f'{len(paths)} clips of {count} frames, {side} x {side}: '
    f'PSNR {np.mean(decibels):.2f} dB in the mean, {min(decibels):.2f} at '
    f'worst; files at CRF 18 {100 * np.mean(sizes) - 100:+.0f} %; '
    f'{1000 * np.mean(seconds):.2f} ms a frame on one core\n'
  )
  print('| then | marked | bits right | score, least | mean | s a clip |')
  print('|---|---|---|---|---|---|')
  for name, results in rows.items():
    _print_row(name, results)


def _print_row(name: str, results) -> None:
  found = [detection for detection, _ in results]
  marked = [x for x in found if x.verdict == 'marked']
  right = [16 - (x.payload ^ PAYLOAD).bit_count() for x in marked]
  bits = f'{sum(right)} of {16 * len(right)}' if right else ''
  scores = [x.score for x in found]
  took = np.mean([seconds for _, seconds in results])
  print(
    f'| {name} | {len(marked)} of {len(found)} | {bits} | {min(scores):.1f} | '
    f'{np.mean(scores):.1f} | {took:.2f} |'
  )


def false_alarms(paths, side: int, most: int) -> None:
  """Looks for a mark where there is none, and prints what it saw."""
  singly, stretches = [], []
  each = -(-most // len(paths))
  for path in paths:
    frames = read(path, side, 25 * 8)
    picked = np.linspace(0, len(frames) - 1, min(each, len(frames)))
    for index in sorted({int(x) for x in picked}):
      singly.append(mark_search.detect([frames[index]]))
    for start in range(0, len(frames) - 24, 100):
      stretches.append(mark_search.detect(frames[start : start + 25]))
  print()
  for name, found in (('frames', singly), ('clips', stretches)):
    verdicts = [x.verdict for x in found]
    print(
      f'{len(found)} unmarked {name} of {side} x {side}: '
      f'{verdicts.count("marked")} marked, '
      f'{verdicts.count("cannot tell")} cannot tell; '
      f'highest score {max(x.score for x in found):.2f}, '
      f'least bound {min(x.bound for x in found):.2g}'
    )


def main() -> None:
  """Reads flags, runs both parts."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--clips', type=pathlib.Path, required=True, help='searched throughout')
  add('--side', type=int, default=256, help='pixels of a side')
  add('--count', type=int, default=20, help='clips to mark; evenly chosen')
  add('--frames', type=int, default=50, help='of each')
  add('--unmarked', type=int, default=1000, help='frames for false alarms')
  args = parser.parse_args()
  endings = VIDEOS + PICTURES
  paths = [x for x in args.clips.rglob('*') if x.suffix.lower() in endings]
  if not paths:
    sys.exit(f'{args.clips}: no videos or pictures')
  paths.sort()
  step = max(1, len(paths) // max(args.count, 1))
  chosen = list(itertools.islice(paths[::step], args.count))
  if chosen:
    measure(chosen, args.side, args.frames)
  if args.unmarked:
    false_alarms(paths, args.side, args.unmarked)


if __name__ == '__main__':
  main()

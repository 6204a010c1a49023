"""Draws README's moving picture: portrait, generated video, motion, sound.

  python scripts/readme_pictures.py

It is what `make demo` makes, by the same weights, seed and steps: every second
frame of it, with the invisible mark in it. The motion is what FDE finds between
the portrait and each frame, as colours: hue is the direction, and all frames
have one scale.
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # The package of this checkout.

from mdcf_jax import visualize  # noqa: E402
from mdcf_jax.cli.reconstruct import make_reconstruct  # noqa: E402
from mdcf_jax.media import mark  # noqa: E402
from mdcf_jax.media.provenance import label  # noqa: E402
from mdcf_jax.pipeline import Pipeline  # noqa: E402

IMAGE, AUDIO = ROOT / 'assets' / 'portrait.png', ROOT / 'assets' / 'speech.wav'
OUTPUT = ROOT / 'docs' / 'pictures' / 'demo.webp'
MAX_BYTES = 1_500_000  # A page with it should open at once.
EVERY = 2  # Frames: 12.5 a second.
CAPTIONS = 'portrait', 'generated video', 'its motion, as colours'
SIDE, GAP, BAR, WAVE = 256, 12, 30, 72  # Pixels.
PAGE, INK, SOFT, DONE = (
  (20, 24, 31),
  (228, 231, 235),
  (86, 97, 110),
  (38, 166, 154),
)
DESCRIPTION = 0x010E  # Exif's ImageDescription.


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--weights', default='mini', help='mini, or a folder of weights')
  add('--image', default=IMAGE, type=pathlib.Path, help='a portrait')
  add('--audio', default=AUDIO, type=pathlib.Path, help='speech')
  add('--seed', type=int, default=0)
  add('--quality', type=int, default=55, help='of WebP, 0 to 100')
  add('--output', default=OUTPUT, type=pathlib.Path)
  args = parser.parse_args()
  pictures = draw(args)
  args.output.parent.mkdir(parents=True, exist_ok=True)
  save(args.output, pictures, args.quality)
  size = args.output.stat().st_size
  sys.stdout.write(f'{args.output}: {len(pictures)} frames, {size} bytes\n')
  if size > MAX_BYTES:
    parser.error(f'more than {MAX_BYTES} bytes: lower --quality')


def draw(args: argparse.Namespace) -> list[Image.Image]:
  """Generates the video and draws every second frame with its sound."""
  pipe = Pipeline.from_pretrained(args.weights)
  clip = pipe.prepare(args.image, args.audio, seed=args.seed)
  video = pipe(args.image, args.audio, seed=args.seed)
  motion = find_motion(pipe, clip.image, video.frames)
  sound = np.abs(video.audio).max(axis=1)
  background = page(resize(clip.image), sound)
  return [
    add_frame(
      background, mark.embed(video.frames[i]), motion[i], i, len(motion)
    )
    for i in range(0, len(motion), EVERY)
  ]


def find_motion(pipe, portrait: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """Motion from the portrait to each frame as colours `[N, h, w, 3]` uint8."""
  found = make_reconstruct(pipe.fde, pipe.lmae)(
    pipe.variables, np.concatenate([portrait[None], frames]), 0
  )
  flow = found.fde_dynamics[1:, ..., :2]
  longest = np.linalg.norm(flow, axis=-1).reshape(len(flow), -1)
  # A few pixels at the border would leave the rest pale.
  return visualize.flow_to_color(flow, float(np.quantile(longest, 0.995)))


def page(portrait: Image.Image, sound: np.ndarray) -> Image.Image:
  """What is the same in every frame."""
  width = 3 * SIDE + 4 * GAP
  picture = Image.new('RGB', (width, BAR + SIDE + WAVE + 2 * GAP), PAGE)
  pen, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
  for i, caption in enumerate(CAPTIONS):
    middle = place(i) + SIDE / 2
    pen.text((middle, BAR / 2 + 2), caption, INK, font, anchor='mm')
  picture.paste(portrait, (place(0), BAR))
  draw_sound(pen, sound, len(sound), SOFT)
  picture.info['sound'] = sound
  return picture


def add_frame(
  background: Image.Image, frame: np.ndarray, motion: np.ndarray, i: int, n: int
) -> Image.Image:
  """Frame `i` of `n`, with the sound so far in colour."""
  picture = background.copy()
  sound = background.info['sound']
  for column, panel in ((1, frame), (2, motion)):
    picture.paste(resize(panel), (place(column), BAR))
  draw_sound(ImageDraw.Draw(picture), sound, len(sound) * (i + 1) // n, DONE)
  return picture


def draw_sound(pen, sound: np.ndarray, end: int, color) -> None:
  """Draws the loudness of the first `end` samples as bars."""
  width, step = 3 * SIDE + 2 * GAP, 4
  middle = BAR + SIDE + GAP + WAVE / 2
  parts = np.array_split(sound, width // step)
  heights = np.array([part.max() for part in parts]) / max(sound.max(), 1e-6)
  count = round(len(parts) * end / len(sound))
  for i, height in enumerate(heights[:count]):
    x, half = GAP + step * i, max(1, height * WAVE / 2)
    pen.rectangle((x, middle - half, x + step - 2, middle + half), color)


def place(column: int) -> int:
  """Left edge of a panel."""
  return GAP + column * (SIDE + GAP)


def resize(image: np.ndarray) -> Image.Image:
  return Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def save(path: pathlib.Path, pictures: list[Image.Image], quality: int) -> None:
  """Writes an endless WebP that tells that it was generated."""
  exif = Image.Exif()
  exif[DESCRIPTION] = label(True)
  first, *rest = pictures
  first.save(
    path,
    save_all=True,
    append_images=rest,
    duration=1000 * EVERY // 25,
    loop=0,
    quality=quality,
    method=4,
    exif=exif,
  )


if __name__ == '__main__':
  main()

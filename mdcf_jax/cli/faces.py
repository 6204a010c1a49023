"""mdcf faces: which faces a picture has, and what to crop for each."""

import argparse
import pathlib
import sys

import numpy as np

HELP = 'faces of a picture, numbered, and the crop of each'

_MAX_SIDE = 2048  # Of the preview.
_COLOURS = (255, 200, 0), (0, 0, 0)  # Of boxes and plates, and of numbers.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  add = parser.add_argument
  add('image', metavar='IMAGE', help='any picture Pillow reads')
  add('--output', metavar='FILE', help='.png to draw boxes and numbers in')


def run(args: argparse.Namespace) -> int:
  """Prints a line per face; writes the preview if it is asked for."""
  from mdcf_jax.errors import NoFace
  from mdcf_jax.media.face_search import find_boxes
  from mdcf_jax.media.image import read_image, square_around
  from mdcf_jax.media.writer import check_output

  output = args.output
  if output is not None:
    output = check_output(output, [args.image], ['.png'])
  picture = read_image(args.image)
  height, width = picture.shape[:2]
  boxes = find_boxes(picture)
  if not boxes:
    raise NoFace(f'no face found in {args.image}')
  squares = [square_around(box, width, height) for box in boxes]
  if output is not None:
    _write(output, preview(picture, boxes, squares))
  for i, (box, square) in enumerate(zip(boxes, squares), 1):
    crop = ','.join(map(str, inside(square, width, height)))
    share = round(100 * float(box[3] - box[1]))
    sys.stdout.write(
      f'--face {i}  --crop {crop}  (face: {share} % of the height)\n'
    )
  if output is not None:
    sys.stdout.write(f'{output}\n')
  return 0


def inside(
  square: tuple[int, int, int, int], width: int, height: int
) -> tuple[int, int, int, int]:
  """The square (x, y, side, side) moved, and if need be shrunk, into an image.

  That is what `--crop` takes; `--face` repeats the edge of the image instead.
  """
  x, y, side, _ = square
  fits = min(side, width, height)
  x, y = x + (side - fits) // 2, y + (side - fits) // 2
  return min(max(x, 0), width - fits), min(max(y, 0), height - fits), fits, fits


def preview(
  picture: np.ndarray,
  boxes: list[np.ndarray],
  squares: list[tuple[int, int, int, int]],
) -> np.ndarray:
  """The picture `[H, W, 3]` uint8, at most 2048 on a side, with its faces.

  Args:
    boxes: of the faces, (x0, y0, x1, y1) in [0, 1]; a number stands at each.
    squares: what is cut out for each, in pixels of the picture; thinner lines.
  """
  from PIL import Image, ImageDraw, ImageFont

  height, width = picture.shape[:2]
  scale = min(1.0, _MAX_SIDE / max(height, width))
  size = max(1, round(scale * width)), max(1, round(scale * height))
  image = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
  draw = ImageDraw.Draw(image)
  light, dark = _COLOURS
  line = max(2, max(size) // 400)
  for i, (box, square) in enumerate(zip(boxes, squares), 1):
    x, y, side, _ = (scale * value for value in square)
    draw.rectangle((x, y, x + side, y + side), outline=light, width=line // 2)
    x0, y0, x1, y1 = np.asarray(box, float) * (*size, *size)
    draw.rectangle((x0, y0, x1, y1), outline=light, width=line)
    font = ImageFont.load_default(max(12.0, min(0.25 * (y1 - y0), 96.0)))
    text = draw.textbbox((x0, y0), str(i), font=font, anchor='lt')
    plate = text[0], text[1], text[2] + 2 * line, text[3] + 2 * line
    draw.rectangle(plate, fill=light)
    draw.text((x0 + line, y0 + line), str(i), dark, font=font, anchor='lt')
  return np.asarray(image)


def _write(path: pathlib.Path, image: np.ndarray) -> None:
  from PIL import Image

  from mdcf_jax.errors import InputError

  partial = path.with_name(f'.{path.name}.partial')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(partial, format='png')
    partial.replace(path)
  except OSError as error:
    partial.unlink(missing_ok=True)
    raise InputError(f'{path}: cannot be written ({error.strerror})') from error

"""Pictures of motion: flow as colours, occlusion as grey, panels side by side.

NumPy only; uint8 RGB out.
"""

from collections.abc import Sequence

import numpy as np

# Middlebury's wheel (Baker et al. 2011): the number of steps between
# neighbouring corners, chosen by them to look even to the eye. Each corner is
# an RGB triple; the last arc returns to red.
CORNERS = (
  ((1, 0, 0), 15),  # red to yellow
  ((1, 1, 0), 6),  # yellow to green
  ((0, 1, 0), 4),  # green to cyan
  ((0, 1, 1), 11),  # cyan to blue
  ((0, 0, 1), 13),  # blue to magenta
  ((1, 0, 1), 6),  # magenta to red
)


def color_wheel() -> np.ndarray:
  """The wheel as `[55, 3]` RGB in [0, 1]; the first colour is red."""
  arcs = []
  for i, (start, steps) in enumerate(CORNERS):
    end = np.array(CORNERS[(i + 1) % len(CORNERS)][0], np.float64)
    amount = np.arange(steps)[:, None] / steps
    arcs.append((1 - amount) * np.array(start) + amount * end)
  return np.concatenate(arcs)


def flow_to_color(
  flow: np.ndarray, max_length: float | None = None
) -> np.ndarray:
  """Flow as colours: hue is the direction, saturation the length.

  Middlebury's convention: white where nothing moves, red to the right, and
  turning clockwise, y pointing down: yellow, green, cyan, blue, magenta.

  Args:
    flow: `[..., H, W, 2]` (x, y) in any unit.
    max_length: length of a fully saturated colour; by default the longest
      vector. Longer ones are drawn darker.

  Returns:
    `[..., H, W, 3]` uint8; black where the flow is not finite.
  """
  flow = np.asarray(flow, np.float64)
  finite = np.isfinite(flow).all(axis=-1, keepdims=True)
  flow = np.where(finite, flow, 0.0)
  length = np.linalg.norm(flow, axis=-1, keepdims=True)
  if max_length is None:
    max_length = float(length.max(initial=0.0))
  length = length / max(max_length, 1e-9)

  wheel = color_wheel()
  turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1.0
  position = turn * len(wheel)
  low = np.floor(position).astype(int) % len(wheel)
  high = (low + 1) % len(wheel)
  amount = (position - np.floor(position))[..., None]
  hue = (1 - amount) * wheel[low] + amount * wheel[high]

  color = np.where(length <= 1.0, 1 - length * (1 - hue), 0.75 * hue)
  return np.round(255 * color * finite).astype(np.uint8)


def occlusion_to_gray(occlusion: np.ndarray) -> np.ndarray:
  """Occlusion `[..., H, W, 1]` or `[..., H, W]` in [0, 1] as uint8 RGB.

  White is kept from the source, black is painted anew by the decoder.
  """
  occlusion = np.asarray(occlusion, np.float64)
  if occlusion.shape[-1] != 1:
    occlusion = occlusion[..., None]
  gray = np.round(255 * np.clip(np.nan_to_num(occlusion), 0, 1))
  return np.repeat(gray.astype(np.uint8), 3, axis=-1)


def to_uint8(image: np.ndarray) -> np.ndarray:
  """Pixels in [-1, 1] to uint8, rounded; values outside are clipped."""
  image = np.asarray(image, np.float32)
  return np.round(np.clip(127.5 * (image + 1), 0, 255)).astype(np.uint8)


def from_uint8(image: np.ndarray) -> np.ndarray:
  """uint8 pixels to float32 in [-1, 1]."""
  return np.asarray(image, np.float32) / 127.5 - 1


def enlarge(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Nearest-neighbour resize of `[..., h, w, C]`: pixels stay visible."""
  rows = np.arange(height) * image.shape[-3] // height
  columns = np.arange(width) * image.shape[-2] // width
  return image[..., rows[:, None], columns, :]


def side_by_side(panels: Sequence[np.ndarray], gap: int = 0) -> np.ndarray:
  """Panels in a row, all enlarged to the height and width of the first.

  Args:
    panels: `[..., h, w, 3]` uint8 images or videos with equal leading axes.
    gap: white columns between neighbours.

  Returns:
    `[..., H, W * len(panels) + gap * (len(panels) - 1), 3]` uint8.
  """
  height, width = panels[0].shape[-3:-1]
  white = np.full((*panels[0].shape[:-3], height, gap, 3), 255, np.uint8)
  row = []
  for panel in panels:
    if panel.dtype != np.uint8:
      raise ValueError(f'panels are uint8, got {panel.dtype}')
    row += [enlarge(panel, height, width), white]
  return np.concatenate(row[:-1], axis=-2)


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
  """Rows of panels `[h, w, 3]` as one picture; short rows end in white."""
  width = max(len(row) for row in rows)
  blank = np.full_like(rows[0][0], 255)
  lines = []
  for row in rows:
    filled = [rows[0][0], *row, *[blank] * (width - len(row))]
    line = side_by_side(filled, gap)  # The first panel only sets the size.
    line = line[:, blank.shape[1] + gap :]
    lines += [line, np.full((gap, line.shape[1], 3), 255, np.uint8)]
  return np.concatenate(lines[:-1], axis=0)

"""Inputs of compare_dawn.py: pictures, and random conditions of a clip."""

import pathlib
from typing import Any

import numpy as np
import torch
from PIL import Image

from mdcf_jax.convert import dawn_pose

ROOT = pathlib.Path(__file__).resolve().parent.parent


def portraits(size: int):
  """The portrait in assets, and moved, mirrored, dimmed: `[4, H, W, 3]`."""
  image = Image.open(ROOT / 'assets' / 'portrait.png').convert('RGB')
  image = np.asarray(image.resize((size, size)), np.float32) / 255
  moved = np.roll(image, (size // 16, -size // 10), axis=(0, 1))
  return np.stack([image, moved, image[:, ::-1], 0.7 * image])


def as_torch(x: Any):
  """`[B, ..., C]` to a tensor `[B, C, ...]`."""
  return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def from_torch(x: Any):
  """`[B, C, ...]` to `[B, ..., C]`."""
  return np.moveaxis(x.numpy(), 1, -1)


class Clip:
  """Random conditions of one clip, as the public code and as ours takes them.

  Attributes:
    features: E(x_src) `[1, h, w, 256]`.
    audio: `[1, T, 1024]`.
    pose, blink: `[1, T, 6]` and `[1, T, 2]` in the public units.
    box: (left, top, right, bottom) in pixels.
  """

  def __init__(self, frames: int, size: int):
    import numpy as np

    rng = np.random.RandomState(frames)
    draw = lambda *shape: rng.randn(*shape).astype(np.float32)
    self.size, self.frames = size, frames
    self.features = draw(1, size // 4, size // 4, 256)
    self.audio = draw(1, frames, 1024)
    # Degrees, share of a pixel, pixels.
    units = np.array([10, 10, 10, 5e-5, 5, 5], np.float32)
    self.pose = draw(1, frames, 6) * units
    self.blink = 0.2 + 0.1 * draw(1, frames, 2)
    # Whole pixels: the public mask is of those that a box touches.
    self.box = (size // 4, size // 8, 3 * size // 4, 7 * size // 8)

  @property
  def public_condition(self):
    """Sound, change of pose, change of blink: `[1, T, 1032]`."""
    import numpy as np
    import torch

    changes = [x - x[:, :1] for x in (self.pose, self.blink)]
    return torch.from_numpy(np.concatenate([self.audio, *changes], axis=-1))

  @property
  def public_box(self):
    """(x0, x1, y0, y1, H, W) of every frame, `[1, 6, T]`."""
    import torch

    x0, y0, x1, y1 = self.box
    # There a box reaches two pixels beyond what it says.
    box = [x0, x1 - 2, y0, y1 - 2, self.size, self.size]
    return torch.tensor(box)[None, :, None].repeat(1, 1, self.frames).float()

  @property
  def ours(self) -> dict[str, Any]:
    """As `DiffusionPhase.advance` takes them."""
    import numpy as np

    pose = self.pose[..., dawn_pose.ORDER] * np.float32(dawn_pose.UNIT)
    return dict(
      audio_emb=self.audio,
      pose=pose,
      blink=self.blink,
      source_pose=pose[:, 0],
      source_blink=self.blink[:, 0],
      face_box=np.float32([self.box]) / self.size,
      frame_mask=np.ones((1, self.frames), np.float32),
    )

"""A portrait that moves as the face of a video does: FDE alone.

  moving = reenact.reenact(pipe, 'me.jpg', 'clip.mp4')
  for frame in moving.frames:
    pass  # [H, W, 3] uint8, as soon as it is decoded.

No diffusion, no sound: regions of both pictures, the motion between them, and
the decoder. The video is read as it is needed, so its length takes no memory.
"""

import dataclasses
import functools
import itertools
import logging
import math
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax import inputs
from mdcf_jax.errors import InputError, NoFace
from mdcf_jax.media import face_search, image, video
from mdcf_jax.media.paste import Paste
from mdcf_jax.models import sizes
from mdcf_jax.ops import pose
from mdcf_jax.stages import Chunks
from mdcf_jax.timing import Timing, timed

MOTIONS = 'relative', 'absolute'
MAX_FPS = 120.0
_USUAL_FPS = 60.0  # What a video is read at, if it says that it has more.
_SEARCHED = 10  # Seconds of the video in which a face has to appear.

Regions = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Reenactment:
  """A video that is being made.

  Attributes:
    frames: yields `[H, W, 3]` uint8, one per frame of the driving video.
    size: (H, W).
    fps: frames a second.
    expected: how many frames there will be, as far as the file tells; else 0.
    timings: stage -> Timing, which grow with the frames.
  """

  frames: Iterator[np.ndarray]
  size: tuple[int, int]
  fps: float
  expected: int
  timings: dict[str, Timing]


def reenact(
  pipe: Any,
  source: Any,
  driving: str | os.PathLike,
  *,
  motion: str = 'relative',
  crop: str | tuple[int, int, int, int] = 'auto',
  face: int | None = None,
  driving_crop: str | tuple[int, int, int, int] = 'auto',
  resolution: int | None = None,
  fps: float | None = None,
  paste_back: bool = False,
) -> Reenactment:
  """Starts a reenactment: everything is checked, read or compiled.

  Args:
    pipe: `Pipeline`, or whatever has its `fde`, `variables`, `resolution` and
      `config['model']`; the other networks may be missing.
    source: the portrait: path, PIL image, or `[H, W, 3]` uint8.
    driving: path of a video.
    motion: 'absolute': the portrait takes the place of the driving face, as FDE
      was trained; for videos of the same person. 'relative': its regions move
      as those of the driving face have since frame 0, see `moved`; for others,
      best from a frame 0 that looks like the portrait.
    crop, face, paste_back: of the portrait, as in `Pipeline.prepare`.
    driving_crop: the same of the video, around the first face that is seen; it
      stays where it is.
    resolution: pixels of a side, by default those trained for.
    fps: frames a second of the result; None is those of the video, or 60 where
      it has more. They are met by true time: frames are dropped or repeated.

  Raises:
    InputError: something given cannot be used.
  """
  if motion not in MOTIONS:
    raise InputError(f'motion {motion!r} is none of: {", ".join(MOTIONS)}')
  if 'fde' not in pipe.variables:
    raise InputError("these weights lack the phase 'fde'")
  multiple = sizes.resolution_multiple(pipe.config['model'], ('fde',))
  resolution = inputs.check_resolution(resolution, pipe.resolution, multiple)
  info = video.probe(driving)
  fps = _rate(info, fps)
  timings: dict[str, Timing] = {}
  with timed(timings, 'image', 1):
    portrait = inputs.read_source(source, crop, resolution, face)
    paste = Paste(portrait.picture, portrait.square) if paste_back else None
  with timed(timings, 'driving'):
    pictures = _pictures(driving, info, fps, driving_crop, resolution)
  network = _Network(pipe, motion, resolution)
  with timed(timings, 'compile'):
    network.start(portrait.image, pictures.first)
  return Reenactment(
    _frames(network, pictures, paste, timings),
    paste.size if paste else (resolution, resolution),
    fps,
    round((info.duration or 0) * fps),
    timings,
  )


def moved(source: Regions, driving: Regions, first: Regions) -> Regions:
  """Regions of a source that move as those of a driving video.

  The relative mode of first order motion (`normalize_kp`) and of articulated
  animation (`get_animation_region_params`; MRAA, section 3.5), where shift' =
  s (shift_d - shift_1) + shift_s and affine' = affine_d affine_1^-1 affine_s.
  Other than there, s compares spreads of the shifts, not areas of their hulls;
  the covariance is that of affine' and not the driving one, which has the shape
  of another head; and the sign of an axis, which is arbitrary, is the one that
  turns less.

  Args:
    source, driving, first: shift `[B or 1, K, 2]` and affine `[..., K, 2, 2]`:
      of the source, of driving frames, and of the driving video's frame 0.

  Returns:
    shift, affine and covar, `[B, K, ...]`.
  """
  scale = _spread(source) / _spread(first)
  shift = scale * (driving['shift'] - first['shift']) + source['shift']
  turn = pose.relative_affine(driving['affine'], first['affine'])
  affine = pose.multiply(turn, source['affine'])
  covar = pose.multiply(affine, jnp.swapaxes(affine, -1, -2))
  return dict(shift=shift, affine=affine, covar=covar)


def _spread(regions: Regions) -> jax.Array:
  """Root of the mean square distance from the middle, `[B, 1, 1]`."""
  offset = regions['shift'] - regions['shift'].mean(1, keepdims=True)
  square = jnp.square(offset).sum(-1, keepdims=True)
  return jnp.sqrt(jnp.maximum(square.mean(1, keepdims=True), 1e-8))


class _Network:
  """What runs on the device: two programs, compiled once."""

  def __init__(self, pipe: Any, motion: str, resolution: int):
    self._fde, self._variables = pipe.fde, pipe.variables['fde']
    self._size = pipe.resolution
    self._motion = motion
    self.batch = Chunks.usual(resolution).frames

  def start(self, image: np.ndarray, first: np.ndarray) -> None:
    """Encodes a source `[R, R, 3]` uint8, and takes frame 0 of the video."""
    known = jax.jit(self._known)(self._variables, image[None], first[None])
    self._args = self._variables, jax.block_until_ready(known)
    shape = (self.batch, *first.shape)
    self._program = (
      jax.jit(self._make)
      .lower(*self._args, jax.ShapeDtypeStruct(shape, np.uint8))
      .compile()
    )

  def __call__(self, pictures: np.ndarray) -> jax.Array:
    """Frames `[batch, R, R, 3]` uint8 of as many driving ones."""
    return self._program(*self._args, pictures)

  def _known(self, variables, image, first):
    """What all frames share."""
    source = _to_signed(image)
    features = self._fde.apply(variables, source, method='encode')
    regions = (self._regions(variables, x) for x in (source, _to_signed(first)))
    return source, features, *regions

  def _make(self, variables, known, pictures):
    source, features, source_regions, first = known
    driving = _to_signed(pictures)
    regions = self._regions(variables, driving)
    count = len(pictures)

    def all_of(x):
      return jnp.broadcast_to(x, (count, *x.shape[1:]))

    sources = all_of(source)
    if self._motion == 'relative':
      regions = moved(source_regions, regions, first)
      # Nobody knows what is behind the source; it stays, as in MRAA.
      background = all_of(jnp.eye(3)[None])
    else:
      background = self._fde.apply(
        variables, sources, driving, method='background_motion'
      )
    dynamics = self._fde.apply(
      variables,
      *(sources, jax.tree.map(all_of, source_regions), regions, background),
      method='dynamics',
    )['dynamics']
    made = self._fde.apply(variables, features, dynamics, method='decode')
    made = jnp.round((made + 1) * 127.5)
    return jnp.clip(made, 0, 255).astype(jnp.uint8)

  def _regions(self, variables, images):
    # Found in pictures of the size that they were learnt from.
    shape = (len(images), self._size, self._size, 3)
    images = jax.image.resize(images, shape, 'linear')
    found = self._fde.apply(variables, images, method='regions')
    return {name: found[name] for name in ('shift', 'affine', 'covar')}


def _to_signed(images):
  return images.astype(jnp.float32) / 127.5 - 1


@dataclasses.dataclass(frozen=True)
class _Pictures:
  """Driving frames `[R, R, 3]` uint8, the first one apart."""

  first: np.ndarray
  rest: Iterator[np.ndarray]

  def batches(self, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields `[size, R, R, 3]`, the last one filled up, and how many count."""
    frames = itertools.chain([self.first], self.rest)
    while some := list(itertools.islice(frames, size)):
      filled = some + [some[-1]] * (size - len(some))
      yield np.stack(filled), len(some)


def _frames(
  network: _Network,
  pictures: _Pictures,
  paste: Paste | None,
  timings: dict[str, Timing],
) -> Iterator[np.ndarray]:
  """Yields frames; while the host has one batch the next is computed."""

  def host(made, count):
    with timed(timings, 'frames', count):
      frames = np.asarray(made)[:count]
    for frame in frames:
      if paste is not None:
        with timed(timings, 'paste', 1):
          frame = paste(frame)
      yield frame

  batches = pictures.batches(network.batch)
  before = None
  while True:
    with timed(timings, 'driving') as timing:
      batch, count = next(batches, (None, 0))
      timing.frames += count
    ahead = None if batch is None else (network(batch), count)
    if before is not None:
      yield from host(*before)
    if ahead is None:
      return
    before = ahead


def _rate(info: video.VideoInfo, fps: float | None) -> float:
  """Frames a second to read a video at."""
  if fps is None:
    return min(info.fps, _USUAL_FPS)
  try:
    rate = float(fps)
  except (TypeError, ValueError):
    rate = math.nan
  if not 1 <= rate <= MAX_FPS:
    raise InputError(f'fps {fps} is not in 1 to {MAX_FPS:g}')
  return rate


def _pictures(
  path: str | os.PathLike,
  info: video.VideoInfo,
  fps: float,
  crop: Any,
  resolution: int,
) -> _Pictures:
  """Opens a video, its frames cut as of a portrait."""
  frames = video.iter_frames(path, fps)
  first = next(frames)
  locate = None
  if crop == 'auto':
    size = info.width, info.height
    box = _face_box(path, first, square=info.width == info.height)
    whole = box is None or image.is_portrait(box, *size)
    crop, locate = ('none', None) if whole else (crop, lambda _: box)
  cut, square = image.crop_square(
    first, crop, resolution, locate, name=os.fspath(path)
  )
  cutter = functools.partial(
    image.cut_square, square=square, resolution=resolution
  )
  return _Pictures(cut, map(cutter, frames))


def _face_box(
  path: str | os.PathLike, first: np.ndarray, square: bool
) -> np.ndarray | None:
  """The main face's box in the first frame, or later, or far away in the first;
  None if nobody can look.

  Nothing is said, and None is given where no face is found, of a square video.
  """
  level = logging.DEBUG if square else logging.WARNING
  later = video.iter_frames(path, 1, max_frames=_SEARCHED)
  for frame in itertools.chain([first], later):
    found = inputs.find_faces(frame, level)
    if found is None:
      return None
    if found:
      return found[0].face_box[0]
  if far := face_search.find_boxes(first):
    return face_search.largest(far)
  if square:
    return None
  raise NoFace(
    f'no face found in the first {_SEARCHED} seconds of {path}; give the '
    'square around it (--driving-crop X,Y,W,H), or take the centre '
    '(--driving-crop none)'
  )

"""`mdcf reconstruct`: a clip through the auto-encoders, beside the original."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdcf_jax import visualize
from mdcf_jax.cli import provenance
from mdcf_jax.errors import InputError
from mdcf_jax.metrics.psnr import psnr
from mdcf_jax.metrics.ssim import ssim
from mdcf_jax.ops import warp as warp_ops
from mdcf_jax.ops.resize import resize_bilinear
from mdcf_jax.phases import guides

HELP = 'a clip through the auto-encoders, beside the original'
BATCH_SIZE = 8  # Frames decoded at once: bounds memory, compiles once.


class Reconstruction(NamedTuple):
  """A clip rebuilt from one of its frames and the motion to every other.

  Attributes:
    fde, lmae: `[T, H, W, 3]` uint8, from the dynamics as estimated and from
      those that went through LMAE's latent.
    fde_dynamics, lmae_dynamics: `[T, H/4, W/4, 3]` float32.
  """

  fde: np.ndarray
  lmae: np.ndarray
  fde_dynamics: np.ndarray
  lmae_dynamics: np.ndarray


def make_reconstruct(fde: Any, lmae: Any) -> Callable[..., Reconstruction]:
  """Returns `(variables, frames, source_index, points=None) -> Reconstruction`.

  `variables` holds those of `fde` and `lmae` under these names, `frames` is
  `[T, H, W, 3]` uint8; guide points `[T, 8, 2]` take the place of the regions
  that FDE finds. Compiles once for each size of picture.
  """

  @jax.jit
  def encode(variables, source):
    return fde.apply(variables['fde'], source, method='encode')

  @jax.jit
  def decode(variables, features, source, driving, *points):
    # LMAE's posterior mean: the best it can do, without noise.
    source = jnp.broadcast_to(source, driving.shape)
    method = guides.estimate if points else 'estimate'
    dynamics = fde.apply(
      variables['fde'], source, driving, *points, method=method
    )
    mean, _ = lmae.apply(variables['lmae'], dynamics, method='encode')
    decoded = lmae.apply(variables['lmae'], mean, method='decode')
    images = [
      fde.apply(variables['fde'], features, motion, method='decode')
      for motion in (dynamics, decoded)
    ]
    return Reconstruction(*map(_quantize, images), dynamics, decoded)

  def reconstruct(
    variables: Mapping[str, Any],
    frames: np.ndarray,
    source_index: int,
    points: np.ndarray | None = None,
  ) -> Reconstruction:
    source = visualize.from_uint8(frames[source_index][None])
    features = encode(variables, source)
    parts = []
    for start in range(0, len(frames), BATCH_SIZE):
      rows = np.arange(start, start + BATCH_SIZE)
      rows = np.minimum(rows, len(frames) - 1)  # The last one repeated.
      driving = visualize.from_uint8(frames[rows])
      guided = ()
      if points is not None:
        fixed = np.broadcast_to(points[source_index], points[rows].shape)
        guided = fixed, points[rows]
      part = decode(variables, features, source, driving, *guided)
      parts.append([np.asarray(x)[: len(frames) - start] for x in part])
    return Reconstruction(*(np.concatenate(x) for x in zip(*parts)))

  return reconstruct


def _quantize(image: jax.Array) -> jax.Array:
  """Pixels in [-1, 1] to uint8, on the device: a quarter of the transfer."""
  return jnp.round(jnp.clip(127.5 * (image + 1), 0, 255)).astype(jnp.uint8)


def score(
  frames: np.ndarray, rebuilt: np.ndarray, source_index: int
) -> tuple[float, float]:
  """Mean PSNR in dB and mean SSIM over all frames but the source frame.

  Args:
    frames, rebuilt: `[T, H, W, 3]` uint8, T at least 2.
    source_index: the frame that is left out: it is its own best prediction.
  """
  keep = np.arange(len(frames)) != source_index
  total = np.zeros(2)
  for a, b in zip(rebuilt[keep], frames[keep]):
    a, b = visualize.from_uint8(a), visualize.from_uint8(b)
    # Equal to the last bit happens in a frozen clip: 100 dB stands for it.
    total += min(float(psnr(a, b)), 100.0), float(ssim(a, b))
  return tuple(float(x) for x in total / keep.sum())


def motion_picture(
  frames: np.ndarray, result: Reconstruction, source_index: int
) -> tuple[np.ndarray, int]:
  """Flow, occlusion and warped source for the frame of largest motion.

  Returns:
    The picture, uint8: the upper row as FDE estimates, the lower row after
    LMAE; columns are source or true frame, flow, occlusion, warped source,
    result. And the index of the frame.
  """
  lengths = np.linalg.norm(result.fde_dynamics[..., :2], axis=-1)
  index = int(lengths.mean(axis=(1, 2)).argmax())
  source = visualize.from_uint8(frames[source_index])
  scale = float(lengths[index].max())  # One scale, so that rows compare.
  rows = []
  for true, dynamics, image in (
    (frames[source_index], result.fde_dynamics[index], result.fde[index]),
    (frames[index], result.lmae_dynamics[index], result.lmae[index]),
  ):
    flow, occlusion = dynamics[..., :2], dynamics[..., 2:]
    rows.append(
      [
        true,
        visualize.flow_to_color(flow, scale),
        visualize.occlusion_to_gray(occlusion),
        visualize.to_uint8(warp_by_flow(source, flow)),
        image,
      ]
    )
  return visualize.grid(rows), index


def warp_by_flow(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
  """Warps image `[H, W, 3]` by a flow `[h, w, 2]` of lower resolution."""
  height, width = image.shape[:2]
  flow = resize_bilinear(jnp.asarray(flow), (height, width))
  grid = warp_ops.identity_grid(height, width) + flow
  return np.asarray(warp_ops.warp(jnp.asarray(image)[None], grid[None])[0])


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this command."""
  parser.add_argument(
    '--video', required=True, metavar='FILE', help='any clip of one face'
  )
  parser.add_argument(
    '--source-frame',
    '--source_frame',
    type=int,
    default=0,
    metavar='N',
    help='frame that all others are rebuilt from; negative: from the end',
  )
  parser.add_argument(
    '--weights',
    default='mini',
    help='mini, a folder of weights, or user/name[@revision] of the Hub',
  )
  parser.add_argument(
    '--output',
    default='reconstruct.mp4',
    metavar='FILE',
    help='the video',
  )
  parser.add_argument(
    '--picture',
    metavar='FILE',
    help='the picture of flow, occlusion and warped source; by default the '
    "video's name with .motion.png",
  )
  parser.add_argument(
    '--max_frames',
    type=int,
    default=750,
    metavar='N',
    help='rebuild no more than the first N frames (they are held in memory)',
  )
  provenance.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
  """Rebuilds the clip, writes both files, prints the scores."""
  from mdcf_jax.media import writer
  from mdcf_jax.pipeline import Pipeline

  origin = provenance.options(args)
  output = writer.check_output(args.output, [args.video])
  picture = args.picture or output.with_suffix('.motion.png')
  picture = writer.check_output(picture, [args.video], ['.png'])
  pipe = Pipeline.from_pretrained(args.weights)
  for name in ('fde', 'lmae'):
    if name not in pipe.variables:
      raise InputError(f'{args.weights}: these weights lack the phase {name!r}')
  clip, index = _read_clip(args, pipe.resolution)
  result = make_reconstruct(pipe.fde, pipe.lmae)(
    pipe.variables, clip.frames, index
  )
  _write_video(output, clip, result, origin)
  image, moved = motion_picture(clip.frames, result, index)
  _write_picture(picture, image, origin['mark'])

  still = np.repeat(clip.frames[index][None], len(clip.frames), 0)
  print(f'{"":16} PSNR dB   SSIM')
  for name, rebuilt in (
    ('still source', still),
    ('FDE', result.fde),
    ('FDE + LMAE', result.lmae),
  ):
    decibel, similarity = score(clip.frames, rebuilt, index)
    print(f'{name:16} {decibel:7.2f} {similarity:6.3f}')
  print(f'{output}: original | FDE | FDE + LMAE')
  print(f'{picture}: flow, occlusion and warped source of frame {moved}')
  print(provenance.describe(**origin, output=output))
  return 0


def _read_clip(args: argparse.Namespace, resolution: int):
  """Reads the clip and checks the index of the source frame."""
  from mdcf_jax.media import video

  if args.max_frames < 2:
    raise InputError(f'--max_frames {args.max_frames} is less than 2')
  clip = video.read_video(
    args.video, resolution=resolution, max_frames=args.max_frames
  )
  count = len(clip.frames)
  if count < 2:
    raise InputError(f'{args.video}: one frame only, nothing to rebuild')
  if not -count <= args.source_frame < count:
    raise InputError(
      f'{args.video}: --source-frame {args.source_frame} is outside its '
      f'{count} frames (0 to {count - 1})'
    )
  return clip, args.source_frame % count


def _write_video(
  output: pathlib.Path,
  clip,
  result: Reconstruction,
  origin: Mapping[str, Any],
) -> None:
  from mdcf_jax.media import writer

  panels = visualize.side_by_side([clip.frames, result.fde, result.lmae])
  waveform = clip.waveform
  if waveform is not None:
    samples = round(len(clip.frames) * 16000 / clip.fps)
    waveform = waveform[:samples]
  with writer.VideoWriter(
    output, panels.shape[1:3], fps=clip.fps, waveform=waveform, **origin
  ) as file:
    for frame in panels:
      file.write(frame)


def _write_picture(path: pathlib.Path, image: np.ndarray, mark: bool) -> None:
  from PIL import Image, PngImagePlugin

  from mdcf_jax.media import mark as marks
  from mdcf_jax.media.provenance import label

  image = marks.embed(image) if mark else image
  said = PngImagePlugin.PngInfo()
  said.add_text('Comment', label(mark))
  partial = path.with_name(f'.{path.name}.partial')
  try:
    Image.fromarray(image).save(partial, format='png', pnginfo=said)
    partial.replace(path)
  except OSError as error:
    partial.unlink(missing_ok=True)
    raise InputError(f'{path}: cannot be written ({error.strerror})') from error

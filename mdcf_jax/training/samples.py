"""What the averaged weights make of validation data, for eyes and ears."""

from __future__ import annotations

import logging
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mdcf_jax import visualize
from mdcf_jax.errors import InputError
from mdcf_jax.media.writer import VideoWriter
from mdcf_jax.training.watch import Watch

logger = logging.getLogger(__name__)

# Outputs of `predict` that are latents `[..., C]`: drawn or sampled, means of
# the posterior, labels of the diffusion.
LATENTS = ('z', 'z_mean', 'z_label')
LIMIT = 4  # Examples that are shown.


def show(
  watch: Watch,
  step: int,
  phase: Any,
  outputs: Mapping[str, np.ndarray],
  batch: Mapping[str, np.ndarray],
) -> None:
  """Writes pictures, latents' histograms and clips of one step.

  Args:
    watch: of the run.
    step: number of updates so far.
    phase: says by `pictures` what there is to see.
    outputs: of its `predict`, on the host.
    batch: what they came from: the examples that this process has read, which
      are the first of the outputs.
  """
  if not watch.enabled:
    return
  count = len(next(iter(batch.values())))
  outputs = jax.tree.map(lambda x: x[:count], dict(outputs))
  watch.pictures(step, phase.pictures(outputs, batch), LIMIT)
  latents = {k: _real(outputs[k], batch) for k in LATENTS if k in outputs}
  watch.histograms(step, latents)
  if outputs.get('prediction', np.empty(0)).ndim == 5:
    write_clips(watch, step, outputs['prediction'], batch)


def write_clips(
  watch: Watch,
  step: int,
  prediction: np.ndarray,
  batch: Mapping[str, np.ndarray],
) -> list[pathlib.Path]:
  """Writes generated clips beside the true ones, with their sound.

  The files are `<workdir>/samples/step-000123/<n>-<id>.mp4`; the sound is
  written for TensorBoard too. A disk that is full is told of, and training
  goes on.

  Args:
    watch: of the run.
    step: number of updates so far.
    prediction: `[N, T, H, W, 3]` in [-1, 1].
    batch: video `[N, T, H, W, 3]`, or source `[N, H, W, 3]` where the true
      frames are not at hand; waveform `[N, T * 640]` in [-1, 1], where there
      is sound; frame_mask `[N, T]` where clips end early; id, names of clips.

  Returns:
    The paths of the clips that are written.
  """
  folder = watch.workdir / 'samples' / f'step-{step:06d}'
  true = batch.get('video')
  if true is None:
    true = np.broadcast_to(batch['source'][:, None], prediction.shape)
  paths = []
  for i in range(min(LIMIT, len(prediction))):
    length = prediction.shape[1]
    if 'frame_mask' in batch:
      length = int(np.sum(batch['frame_mask'][i] > 0))
    panels = [visualize.to_uint8(x[i, :length]) for x in (true, prediction)]
    waveform = None
    if 'waveform' in batch:
      samples = batch['waveform'][i]
      waveform = samples[: length * len(samples) // prediction.shape[1]]
      watch.sound(step, f'sound/{i}', waveform)
    path = folder / f'{i}-{_name(batch, i)}.mp4'
    frames = visualize.side_by_side(panels)
    try:
      with VideoWriter(
        path, frames.shape[1:3], waveform=waveform, sign=False
      ) as writer:
        for frame in frames:
          writer.write(frame)
    except InputError as error:
      logger.warning('no sampled clip: %s', error)
      break
    paths.append(path)
  return paths


def _real(latents: np.ndarray, batch: Mapping[str, np.ndarray]) -> np.ndarray:
  """Latents without the frames that only fill up a short clip."""
  if 'frame_mask' in batch and latents.ndim == 5:
    return latents[batch['frame_mask'] > 0]
  return latents


def _name(batch: Mapping[str, np.ndarray], index: int) -> str:
  """The clip's name as part of a file's name; 'val' where nobody knows it."""
  if 'id' not in batch:
    return 'val'
  name = batch['id'][index]
  name = name.decode(errors='replace') if isinstance(name, bytes) else str(name)
  return re.sub(r'[^\w.-]+', '_', name)[:80]

"""What a run tells: TensorBoard, JSON lines, and a line on the terminal."""

from __future__ import annotations

import json
import logging
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcf_jax import visualize

logger = logging.getLogger(__name__)


class Watch:
  """Writes scalars and pictures of a run; a context manager.

  Args:
    workdir: TensorBoard reads `<workdir>/tensorboard`; every line of
      `<workdir>/scalars.jsonl` is a dict with `step` and the scalars of it.
    enabled: False writes nothing (all processes but the first).
  """

  def __init__(self, workdir: str | pathlib.Path, enabled: bool = True):
    self._enabled = enabled
    if not enabled:
      return
    from tensorboardX import SummaryWriter

    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    self._writer = SummaryWriter(str(folder / 'tensorboard'))
    self._lines = open(folder / 'scalars.jsonl', 'a', encoding='utf-8')

  def __enter__(self) -> Watch:
    return self

  def __exit__(self, *_) -> None:
    if self._enabled:
      self._writer.close()
      self._lines.close()

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes numbers of one step, under names such as 'train/loss'."""
    if not self._enabled:
      return
    values = {name: float(value) for name, value in values.items()}
    for name, value in values.items():
      self._writer.add_scalar(name, value, step)
    self._lines.write(json.dumps({'step': step, **values}) + '\n')
    self._lines.flush()

  def pictures(
    self, step: int, pictures: Mapping[str, Any], limit: int = 4
  ) -> None:
    """Writes pictures of one step.

    Args:
      step: number of updates so far.
      pictures: name -> `[N, H, W, C]`, or `[N, T, H, W, C]` for clips, of
        which eight frames are shown in a row. C = 3: pixels in [-1, 1]; 2:
        flow, drawn as colours; 1: occlusion in [0, 1], drawn as grey.
      limit: examples that are shown, one below the other.
    """
    if not self._enabled:
      return
    for name, images in pictures.items():
      image = montage(np.asarray(images, np.float32)[:limit])
      self._writer.add_image(name, image, step, dataformats='HWC')
    self._writer.flush()


def montage(images: np.ndarray, columns: int = 8) -> np.ndarray:
  """Lays `[N, H, W, C]` or `[N, T, H, W, C]` out as one picture.

  Returns:
    uint8 `[N * H, columns * W, 3]`: a row per example; of T frames as many as
    there are columns, evenly spaced.
  """
  if images.ndim == 4:
    images = images[:, None]
  count = images.shape[1]
  index = np.linspace(0, count - 1, min(count, columns)).round().astype(int)
  rows = [np.concatenate(list(clip[index]), axis=1) for clip in images]
  picture = np.concatenate(rows, axis=0)
  if picture.shape[-1] == 2:
    return visualize.flow_to_color(picture)
  if picture.shape[-1] == 1:
    return visualize.occlusion_to_gray(picture)
  return visualize.to_uint8(picture)


class Clock:
  """Measures the speed of training, and how long it waits for data.

  Args:
    step: where training starts.
    total: where it ends.
  """

  def __init__(self, step: int, total: int):
    self._total = total
    self._waited = 0.0
    self._last = (step, time.perf_counter())

  def wait(self, seconds: float) -> None:
    """Adds time that went by waiting for a batch."""
    self._waited += seconds

  def lap(self, step: int) -> dict[str, float]:
    """Returns steps/s, the share of waiting, and seconds to go; starts anew."""
    now = time.perf_counter()
    steps, seconds = step - self._last[0], max(now - self._last[1], 1e-9)
    speed = steps / seconds
    lap = {
      'steps_per_second': speed,
      'data_wait': min(1.0, self._waited / seconds),
      # Right after a pause nothing is known yet.
      'seconds_left': (self._total - step) / speed if speed else 0.0,
    }
    self._waited, self._last = 0.0, (step, now)
    return lap

  def elapsed(self) -> float:
    """Returns the seconds since the last lap or pause."""
    return time.perf_counter() - self._last[1]

  def pause(self, step: int) -> None:
    """Leaves out what went by since the last lap (evaluation, pictures)."""
    self._waited, self._last = 0.0, (step, time.perf_counter())


def log_line(
  step: int, total: int, scalars: Mapping[str, float], lap: Mapping[str, float]
) -> None:
  """Logs one line: progress, the loss and its terms, speed, data wait, ETA."""
  numbers = ' '.join(f'{name} {value:.4g}' for name, value in scalars.items())
  logger.info(
    'step %d/%d  %s  %.2f step/s  data wait %.0f%%  ETA %s',
    step,
    total,
    numbers,
    lap['steps_per_second'],
    100 * lap['data_wait'],
    duration(lap['seconds_left']),
  )


def duration(seconds: float) -> str:
  """Spells a duration: '45s', '3m20s', '5h02m'."""
  seconds = int(max(0, min(seconds, 1e8)))
  if seconds < 60:
    return f'{seconds}s'
  if seconds < 3600:
    return f'{seconds // 60}m{seconds % 60:02d}s'
  return f'{seconds // 3600}h{seconds % 3600 // 60:02d}m'

"""Videos, one after the other: each job is a thread that waits for its turn."""

import collections
import contextlib
import dataclasses
import itertools
import logging
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mdcf_jax.app import words
from mdcf_jax.app.flow import FlowPictures
from mdcf_jax.app.limits import Limits
from mdcf_jax.app.pace import Countdown, Pace
from mdcf_jax.errors import InputError
from mdcf_jax.inputs import FPS
from mdcf_jax.media import mark
from mdcf_jax.media.background import Background
from mdcf_jax.media.writer import VideoWriter

logger = logging.getLogger(__name__)

WAITING, READING, COMPILING = 'waiting', 'reading', 'compiling'
DIFFUSION, FRAMES = 'diffusion', 'frames'  # As `Pipeline` calls them.
DONE, STOPPED, FAILED = 'done', 'stopped', 'failed'
ENDS = DONE, STOPPED, FAILED

VIDEO_NAME, MOTION_NAME = 'talking-head.mp4', 'with-motion.mp4'
_SHOWN_EVERY = 0.2  # Seconds between pictures while it is made.
_SHOWN_SIDE = 384  # Pixels of these.
_MOTION_HEIGHT = 512  # Pixels at most of the video beside its motion.


@dataclasses.dataclass(frozen=True)
class Order:
  """What to make.

  Attributes:
    picture: `[H, W, 3]` uint8.
    sound: samples `[n, channels]` and rate.
    options: further keywords of `Pipeline.prepare`.
    folder: of its own, for the results; None: find out what it takes.
    motion: whether to write a video beside its motion as well.
    done: called when the results are whole.
  """

  picture: np.ndarray
  sound: tuple[np.ndarray, int]
  options: dict[str, Any]
  folder: pathlib.Path | None = None
  motion: bool = True
  done: Callable[[], None] = lambda: None


@dataclasses.dataclass(frozen=True)
class Snapshot:
  """How far a job is.

  Attributes:
    stage: one of the words above.
    done, total: units of the stage.
    left: seconds to the end, if they are known.
    place: videos before it, while it waits.
    estimate: what it takes, once that is known.
    frame, flow: the newest frame and its motion, `[h, w, 3]` uint8, marked.
    error: of FAILED, for the visitor.
  """

  stage: str = WAITING
  done: int = 0
  total: int = 0
  left: float | None = None
  place: int = 0
  estimate: str = ''
  frame: np.ndarray | None = None
  flow: np.ndarray | None = None
  error: str = ''


class Stopped(Exception):
  """Somebody has asked for the end."""


class Workshop:
  """Makes videos with one Pipeline, one at a time.

  Attributes:
    pipe: the Pipeline.
    pace: how long things take.
  """

  def __init__(self, pipe: Any, limits: Limits):
    self.pipe, self.limits, self.pace = pipe, limits, Pace()
    self._queue: collections.deque = collections.deque()
    self._turn = threading.Condition()

  def start(self, order: Order) -> 'Job':
    """Begins a job, or lets it wait for its turn.

    Raises:
      InputError: too many wait.
    """
    job = Job(self, order)
    with self._turn:
      if len(self._queue) > self.limits.waiting:
        raise InputError(
          f'{self.limits.waiting} others wait already, try again later'
        )
      self._queue.append(job)
    job.start()
    return job

  @property
  def busy(self) -> bool:
    return bool(self._queue)

  def place(self, job: 'Job') -> int:
    """Videos before it; to find out what one takes does not count."""
    with self._turn:
      before = itertools.takewhile(lambda other: other is not job, self._queue)
      return sum(other.order.folder is not None for other in before)

  @contextlib.contextmanager
  def turn(self, job: 'Job') -> Iterator[None]:
    """Waits until a job is the first, and lets the next go at the end."""
    try:
      with self._turn:
        while self._queue[0] is not job:
          job.check()
          self._turn.wait(0.1)
      yield
    finally:
      with self._turn:
        self._queue.remove(job)
        self._turn.notify_all()


class Job:
  """One order. Its folder is gone unless it ends with DONE."""

  def __init__(self, workshop: Workshop, order: Order):
    self.order, self._workshop = order, workshop
    self._pipe = workshop.pipe
    self._now, self._countdown = Snapshot(), None
    self._cancelled, self._ended = threading.Event(), threading.Event()
    self._flows: FlowPictures | None = None
    self._clip: Any = None

  def start(self) -> None:
    threading.Thread(target=self._run, daemon=True).start()

  def cancel(self) -> None:
    """Stops it before the next step or frame."""
    self._cancelled.set()

  def check(self) -> None:
    """Raises Stopped if it is to end."""
    if self._cancelled.is_set():
      raise Stopped

  @property
  def cancelled(self) -> bool:
    return self._cancelled.is_set()

  @property
  def ended(self) -> bool:
    return self._ended.is_set()

  def wait(self, seconds: float | None = None) -> bool:
    """Waits for the end; returns whether it came."""
    return self._ended.wait(seconds)

  def snapshot(self) -> Snapshot:
    now = self._now
    if now.stage == WAITING:
      return dataclasses.replace(now, place=self._workshop.place(self))
    if self._countdown is not None and now.stage not in ENDS:
      return dataclasses.replace(now, left=self._countdown.left())
    return now

  def _say(self, **values: Any) -> None:
    self._now = dataclasses.replace(self._now, **values)

  def _run(self) -> None:
    end: dict[str, Any] = dict(stage=STOPPED)
    try:
      with self._workshop.turn(self):
        self._make()
      self.order.done()
      end = dict(stage=DONE)
    except Stopped:
      pass
    except InputError as error:
      end = dict(stage=FAILED, error=words.plain(error))
    except Exception:
      logger.exception('a video could not be made')
      if not self._cancelled.is_set():
        text = 'something went wrong here, where the server runs it says what'
        end = dict(stage=FAILED, error=words.plain(text))
    finally:
      folder = self.order.folder
      if folder is not None and end['stage'] != DONE:
        shutil.rmtree(folder, ignore_errors=True)
      self._say(**end, frame=None, flow=None)
      self._flows = self._clip = None
      self._ended.set()

  def _make(self) -> None:
    self.check()
    self._say(stage=READING)
    order = self.order
    # Here it is told what is wrong with the inputs.
    clip = self._pipe.prepare(order.picture, order.sound, **order.options)
    self.check()
    self._say(stage=COMPILING)
    (frames,) = self._pipe.generate([clip], self._progress, self._latents)
    kinds = {DIFFUSION: clip.kind, FRAMES: (clip.resolution, clip.size)}
    totals = {DIFFUSION: clip.options.steps, FRAMES: clip.frames}
    self._countdown = Countdown(self._workshop.pace, kinds, totals)
    self._say(estimate=self._estimate(clip))
    if order.folder is None:
      return
    self._clip = clip
    self.check()
    self._write(clip, frames)
    self.check()

  def _estimate(self, clip) -> str:
    """What it takes; InputError if there is not so much memory."""
    plan, free = self._pipe.plan, self._pipe.devices.free_memory
    size = f'{plan.frames} frames of {plan.resolution} × {plan.resolution}'
    text = f'{size}: {words.memory(plan.peak)} of memory'
    if free is not None:
      if plan.beside_weights > free:
        raise InputError(
          f'{size} need {words.memory(plan.beside_weights)} of memory and '
          f'{words.memory(free)} are free: take a shorter recording or fewer '
          'pixels'
        )
      text += f' ({words.memory(free)} are free)'
    left = self._countdown.left()
    return text if left is None else f'{text}, about {words.duration(left)}'

  def _progress(self, stage: str, done: int, total: int) -> None:
    self.check()
    self._countdown(stage, done, total)
    self._say(stage=stage, done=done, total=total)

  def _latents(self, _: int, z: np.ndarray) -> None:
    self._flows = FlowPictures(self._pipe, z, self._clip.resolution)

  def _write(self, clip, frames: Iterator[np.ndarray]) -> None:
    """Encodes frames while the next are computed, and shows some."""
    folder, (samples, rate) = self.order.folder, self.order.sound
    height = min(clip.size[0], _MOTION_HEIGHT) // 2 * 2
    width = round(clip.size[1] * height / clip.size[0] / 2) * 2
    sizes = {VIDEO_NAME: clip.size}
    if self.order.motion:
      sizes[MOTION_NAME] = height, width + height
    with contextlib.ExitStack() as stack:
      # Marked, labelled and signed: that is how a writer is by default.
      video, *beside = (
        stack.enter_context(
          VideoWriter(folder / name, size, FPS, samples, sample_rate=rate)
        )
        for name, size in sizes.items()
      )

      def write(frame, flow):
        video.write(frame)
        for file in beside:
          file.write(_beside(frame, flow, height, width))

      shown = 0.0
      encode = stack.enter_context(Background(write))
      for i, frame in enumerate(frames):
        self.check()
        show = time.monotonic() - shown > _SHOWN_EVERY
        flow = self._flows(i) if show or beside else None
        encode(frame, flow)
        if show:
          self._say(frame=_small(frame), flow=_small(flow))
          shown = time.monotonic()


def _small(picture: np.ndarray) -> np.ndarray:
  """A marked picture of at most 384 pixels a side."""
  scale = min(1.0, _SHOWN_SIDE / max(picture.shape[:2]))
  size = [max(2, round(scale * side)) for side in picture.shape[:2]]
  return mark.embed(_resize(picture, *size))


def _beside(frame, flow, height: int, width: int) -> np.ndarray:
  """A frame and its flow in a row, `[height, width + height, 3]` uint8."""
  return np.concatenate(
    [_resize(frame, height, width), _resize(flow, height, height)], axis=1
  )


def _resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
  from PIL import Image

  if picture.shape[:2] == (height, width):
    return picture
  image = Image.fromarray(np.ascontiguousarray(picture))
  return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))

"""What a visitor can do, without a page: give files, choose, order a video."""

import dataclasses
import math
import operator
import pathlib
import shutil
from typing import Any

from mdcf_jax.app import framing, uploads, words
from mdcf_jax.app.limits import Limits
from mdcf_jax.app.visits import Made, Store, Visit
from mdcf_jax.app.work import MOTION_NAME, VIDEO_NAME, Job, Order, Workshop
from mdcf_jax.errors import InputError
from mdcf_jax.models import sizes
from mdcf_jax.phases import packed

GENERATED, STILL, VIDEO = 'generated', 'still', 'video'
EXAMPLES = pathlib.Path(__file__).parent / 'examples'
_MOST_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a visitor has set, as it came from the browser.

  Attributes:
    steps, seed, resolution: numbers, whatever they are.
    head, eyes: GENERATED, STILL or VIDEO.
    paste_back: whether the whole picture is wanted.
    motion: whether a video beside its motion is.
  """

  steps: Any = 20
  seed: Any = 0
  resolution: Any = None
  head: Any = GENERATED
  eyes: Any = GENERATED
  paste_back: Any = False
  motion: Any = True


class Studio:
  """Visits, and one workshop for all of them.

  Attributes:
    store, workshop, limits: of it.
    resolutions: that the weights can make, the one trained for among them.
  """

  def __init__(
    self, store: Store, workshop: Workshop, resolution: int | None = None
  ):
    """Takes what it consists of.

    Args:
      store, workshop: of the same limits.
      resolution: that is offered first, by default that of the weights.

    Raises:
      InputError: the weights do not make this resolution.
    """
    self.store, self.workshop = store, workshop
    self.limits: Limits = store.limits
    pipe = workshop.pipe
    multiple = sizes.resolution_multiple(pipe.config['model'], packed.NAMES)
    most = max(self.limits.resolution, pipe.resolution, resolution or 0)
    self.resolutions = list(range(multiple, most + 1, multiple))
    self.resolution = resolution or pipe.resolution
    if self.resolution not in self.resolutions:
      raise InputError(
        f'--resolution {resolution} is not a multiple of {multiple}, which '
        'these weights need'
      )

  def thumbnail(self) -> pathlib.Path:
    """The example portrait, small, where the page finds it."""
    path = self.store.static / 'example.png'
    picture = uploads.read_picture(EXAMPLES / 'portrait.png', self.limits)
    uploads.write_picture(path, picture[::4, ::4])
    return path

  def give_picture(self, key: str, path: Any) -> Visit:
    """Takes a portrait; `Visit.framing` is what was found in it."""
    visit = self.store.visit(key)
    found = uploads.check(path, self.store.root, self.limits)
    return self._set_picture(visit, found)

  def give_sound(self, key: str, path: Any) -> tuple[Visit, pathlib.Path]:
    """Takes a recording; returns it as it was written anew."""
    visit = self.store.visit(key)
    found = uploads.check(path, self.store.root, self.limits)
    return visit, self._set_sound(visit, found)

  def give_motion(self, key: str, path: Any) -> tuple[Visit, pathlib.Path]:
    """Takes a video to move by; returns it as it was written anew."""
    visit = self.store.visit(key)
    found = uploads.check(path, self.store.root, self.limits)
    copy = visit.new_file('motion.mp4')
    with _named(found, 'the video'):
      seconds = uploads.copy_video(found, copy, self.limits)
    _replace(visit.motion and visit.motion[0])
    visit.motion = copy, seconds
    return visit, copy

  def example_picture(self, key: str) -> Visit:
    return self._set_picture(self.store.visit(key), EXAMPLES / 'portrait.png')

  def example_sound(self, key: str) -> tuple[Visit, pathlib.Path]:
    visit = self.store.visit(key)
    return visit, self._set_sound(visit, EXAMPLES / 'speech.wav')

  def order(self, visit: Visit, settings: Settings, *, plan: bool = False):
    """What the workshop takes.

    Args:
      visit: with a portrait and a recording.
      settings: of the visitor.
      plan: only to know what it takes, which depends on the shapes alone.

    Raises:
      InputError: something is missing, or no such setting exists.
    """
    if visit.framing is None:
      raise InputError('a portrait is missing')
    if visit.sound is None:
      raise InputError('a recording is missing')
    options = self._options(visit, settings)
    if plan:
      square = visit.framing.square(visit.framing.middle)
      moved = dict(crop=square, face=None, paste_back=False)
      for name, still in (('pose', 'still'), ('blink', 'none')):
        if options.pop(f'{name}_from', None) is not None:
          moved[name] = still
      options |= moved
    return Order(
      visit.framing.picture,
      visit.sound,
      options,
      None if plan else visit.new_folder(),
      bool(settings.motion),
    )

  def start(self, key: str, settings: Settings) -> tuple[Visit, Job]:
    """Orders a video; a visitor has one at a time."""
    visit = self.store.visit(key)
    if visit.job is not None and not visit.job.ended:
      raise InputError('your video before is not finished: wait, or stop it')
    order = self.order(visit, settings)
    title = self._title(visit, settings)  # As it is now.
    # By the work itself, as the browser may have lost its connection.
    order = dataclasses.replace(
      order, done=lambda: self._finish(visit, order, title)
    )
    try:
      visit.job = self.workshop.start(order)
    except InputError:
      shutil.rmtree(order.folder)
      raise
    return visit, visit.job

  def plan(self, key: str, settings: Settings) -> Job | None:
    """Finds out what a video takes; None if that is not possible now."""
    visit = self.store.visit(key)
    if visit.framing is None or visit.sound is None or self.workshop.busy:
      return None
    return self.workshop.start(self.order(visit, settings, plan=True))

  def stop(self, key: str) -> None:
    """Stops the video of a visitor, if there is one."""
    job = self.store.visit(key).job
    if job is not None:
      job.cancel()

  def _set_picture(self, visit: Visit, path: pathlib.Path) -> Visit:
    with _named(path, 'the picture'):
      picture = uploads.read_picture(path, self.limits)
    visit.framing = framing.look(picture)
    visit.choice = visit.framing.usual
    x, y, side, _ = visit.framing.square(visit.choice)
    visit.own = visit.framing.fit(x, y, side)
    return visit

  def _set_sound(self, visit: Visit, path: pathlib.Path) -> pathlib.Path:
    with _named(path, 'the recording'):
      samples, rate = uploads.read_sound(path, self.limits)
    copy = visit.new_file('voice.wav')
    uploads.write_sound(copy, samples, rate)
    visit.sound = samples, rate
    return copy

  def _options(self, visit: Visit, settings: Settings) -> dict[str, Any]:
    resolution = settings.resolution or self.resolution
    options = visit.framing.options(visit.choice, visit.own)
    options |= dict(
      steps=_whole(settings.steps, 1, self.limits.steps, 'steps'),
      seed=_whole(settings.seed, 0, _MOST_SEED, 'the seed'),
      resolution=_whole(resolution, 1, self.resolutions[-1], 'the resolution'),
      paste_back=bool(settings.paste_back),
    )
    if options['resolution'] not in self.resolutions:
      raise InputError('these weights do not make this resolution')
    for name, value, still in (
      ('pose', settings.head, 'still'),
      ('blink', settings.eyes, 'none'),
    ):
      if value == VIDEO:
        if visit.motion is None:
          raise InputError('the video to move by is missing')
        options[f'{name}_from'] = visit.motion[0]
      elif value in (GENERATED, STILL):
        options[name] = still if value == STILL else value
      else:
        raise InputError('there is no such motion')
    return options

  def _title(self, visit: Visit, settings: Settings) -> str:
    """What a video is, and wherein it is not the usual."""
    samples, rate = visit.sound
    side = settings.resolution or self.resolution
    parts = {
      f'{len(samples) / rate:.1f} s': True,
      f'seed {settings.seed}': True,
      f'{settings.steps} steps': True,
      f'{side} pixels': side != self.resolution,
      visit.choice.lower(): visit.choice != visit.framing.usual,
      'in the whole picture': settings.paste_back,
      'head still': settings.head == STILL,
      'head as in a video': settings.head == VIDEO,
      'eyes open': settings.eyes == STILL,
      'eyes as in a video': settings.eyes == VIDEO,
    }
    return ', '.join(words for words, said in parts.items() if said)

  def _finish(self, visit: Visit, order: Order, title: str) -> None:
    """Puts a finished video into the history."""
    folder = order.folder
    beside = folder / MOTION_NAME
    number = 1 + max((made.number for made in visit.made), default=0)
    made = Made(
      *(number, f'{number}: {title}', folder, folder / VIDEO_NAME),
      beside if beside.exists() else None,
    )
    visit.made.insert(0, made)
    for old in visit.made[self.limits.videos :]:
      shutil.rmtree(old.folder, ignore_errors=True)
    del visit.made[self.limits.videos :]


class _named:
  """Errors that speak of what was given, and not of its path."""

  def __init__(self, path: pathlib.Path, name: str):
    self._names = {path: name}

  def __enter__(self) -> None:
    pass

  def __exit__(self, kind, error, traceback) -> None:
    if isinstance(error, InputError):
      raise InputError(words.plain(error, self._names)) from error


def _whole(value: Any, low: int, high: int, name: str) -> int:
  """A number of a browser as int: it may be 3, 3.0, '3', None or nonsense."""
  try:
    if isinstance(value, float) and math.isfinite(value) and value % 1 == 0:
      value = int(value)
    number = int(value) if isinstance(value, str) else operator.index(value)
  except (TypeError, ValueError) as error:
    raise InputError(f'{name}: give a whole number') from error
  if not low <= number <= high:
    raise InputError(f'{name}: give a number from {low} to {high}')
  return number


def _replace(path: pathlib.Path | None) -> None:
  """Deletes what was given before."""
  if path is not None:
    path.unlink(missing_ok=True)

"""What belongs to a visitor, and its end.

Everything lies in one folder that only this user can read: `visits/<secret>/`
for each visitor, and, for two minutes, what browsers have sent.
"""

import dataclasses
import pathlib
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mdcf_jax.app.framing import Framing, Square
from mdcf_jax.app.limits import Limits
from mdcf_jax.errors import InputError

_VISITS, _STATIC = 'visits', 'static'


@dataclasses.dataclass(frozen=True)
class Made:
  """A finished video of a visit.

  Attributes:
    number: of the visit, from 1.
    title: one line.
    folder: of its own.
    video: the file.
    motion: the same beside its motion, if that was asked for.
  """

  number: int
  title: str
  folder: pathlib.Path
  video: pathlib.Path
  motion: pathlib.Path | None


@dataclasses.dataclass
class Visit:
  """A visitor's folder and what was given so far.

  Attributes:
    folder: with everything in it.
    framing, choice, own: the portrait and the square of it.
    sound: samples and rate.
    motion: a video to move by, and its seconds.
    made: finished videos, the newest first.
    job: the work that goes on, with a method `cancel`.
    used: when somebody last did anything, by the store's clock.
  """

  folder: pathlib.Path
  framing: Framing | None = None
  choice: str = ''
  own: Square | None = None
  sound: tuple[np.ndarray, int] | None = None
  motion: tuple[pathlib.Path, float] | None = None
  made: list[Made] = dataclasses.field(default_factory=list)
  job: Any = None
  used: float = 0.0
  ended: bool = False

  def new_file(self, name: str) -> pathlib.Path:
    """A path that no browser has in its cache."""
    return self.folder / f'{secrets.token_hex(4)}-{name}'

  def new_folder(self) -> pathlib.Path:
    folder = self.folder / secrets.token_hex(8)
    folder.mkdir()
    return folder

  def end(self) -> None:
    """Stops the work and deletes everything."""
    self.ended = True
    if self.job is not None:
      self.job.cancel()
    shutil.rmtree(self.folder, ignore_errors=True)


class Store:
  """All visits. Use it as a context: at the end nothing is left.

  Attributes:
    root: the folder of everything.
    limits: of visits.
  """

  def __init__(
    self,
    limits: Limits,
    root: pathlib.Path | None = None,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Makes the folder, by default one among temporary files."""
    self.limits, self._clock = limits, clock
    self.root = pathlib.Path(root or tempfile.mkdtemp(prefix='mdcf-app-'))
    self.root = self.root.resolve()
    for name in (_VISITS, _STATIC):
      (self.root / name).mkdir(parents=True, exist_ok=True)
    self.root.chmod(0o700)
    self._visits: dict[str, Visit] = {}
    self._lock, self._closed = threading.Lock(), threading.Event()
    threading.Thread(target=self._sweeping, daemon=True).start()

  @property
  def static(self) -> pathlib.Path:
    """The folder of what is the page's own."""
    return self.root / _STATIC

  def __enter__(self) -> 'Store':
    return self

  def __exit__(self, *exception) -> None:
    self.close()

  def __len__(self) -> int:
    return len(self._visits)

  def visit(self, key: str) -> Visit:
    """The visit of a key, which begins with its first use.

    Raises:
      InputError: there are too many.
    """
    with self._lock:
      if key not in self._visits:
        if len(self._visits) >= self.limits.visits or self._closed.is_set():
          raise InputError('too many visitors at the moment, come back later')
        folder = self.root / _VISITS / secrets.token_hex(16)
        folder.mkdir()
        self._visits[key] = Visit(folder)
      visit = self._visits[key]
      visit.used = self._clock()
      return visit

  def touch(self, visit: Visit) -> None:
    """Somebody still uses it."""
    visit.used = self._clock()

  def end(self, key: str) -> None:
    """Ends a visit, if there is one."""
    with self._lock:
      visit = self._visits.pop(key, None)
    if visit is not None:
      visit.end()

  def sweep(self) -> None:
    """Ends visits that nobody uses, and deletes old uploads."""
    limit = self._clock() - self.limits.idle_seconds
    with self._lock:
      old = [key for key, visit in self._visits.items() if visit.used < limit]
    for key in old:
      self.end(key)
    before = time.time() - self.limits.upload_seconds
    for path in self.root.iterdir():
      if path.name in (_VISITS, _STATIC):
        continue
      try:
        # When they came here: a copy may be as old as what it is of.
        times = [x.stat().st_ctime for x in (path, *path.glob('*'))]
        if max(times) < before:
          shutil.rmtree(path) if path.is_dir() else path.unlink()
      except OSError:
        continue  # Somebody else was faster.

  def close(self) -> None:
    """Ends all visits and deletes the folder."""
    self._closed.set()
    for key in list(self._visits):
      self.end(key)
    shutil.rmtree(self.root, ignore_errors=True)

  def _sweeping(self) -> None:
    while not self._closed.wait(self.limits.upload_seconds / 4):
      self.sweep()

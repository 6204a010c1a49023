"""Work of the host beside that of the device."""

import queue
import threading
from collections.abc import Callable
from typing import Any


class Background:
  """Calls a function in a thread, in order, at most a few calls late.

    with Background(writer.write) as write:
      for frame in frames:
        write(frame)

  A video is so encoded while the next frames are computed. When the block ends,
  all calls are done and the thread is at its end, however often somebody
  presses Ctrl-C meanwhile. What the function raises is raised by the next call
  or by the end of the block; it is not called again.
  """

  def __init__(
    self, function: Callable[..., None], most: int = 16, keep: bool = False
  ):
    """Starts the thread.

    Args:
      function: what to call.
      most: calls that may wait; whoever makes more waits instead.
      keep: make the calls that wait even when the block ends by an error, until
        another interrupts that.
    """
    self._function, self._keep, self._dropping = function, keep, False
    self._calls: queue.Queue = queue.Queue(most)
    self._error: BaseException | None = None
    self._ended = threading.Event()
    threading.Thread(target=self._work, daemon=True).start()

  def __call__(self, *args: Any) -> None:
    self._check()
    self._calls.put(args)

  def __enter__(self) -> 'Background':
    return self

  def __exit__(self, kind, error, traceback) -> None:
    self._dropping = kind is not None and not self._keep
    told, again = False, None
    # Who comes next may use what the function uses, so the thread must be done.
    # Not by `join`, which when it is interrupted takes a thread for stopped.
    while not self._ended.is_set():
      try:
        if not told:
          self._calls.put(None)
          told = True
        self._ended.wait()
      except KeyboardInterrupt as interrupt:
        self._dropping, again = True, interrupt
    if kind is None:
      self._check()
      if again is not None:
        raise again

  def _work(self) -> None:
    while (args := self._calls.get()) is not None:
      if self._dropping or self._error is not None:
        continue  # Nobody shall wait for a place.
      try:
        self._function(*args)
      except BaseException as error:
        self._error = error
    self._ended.set()

  def _check(self) -> None:
    if self._error is not None:
      raise self._error

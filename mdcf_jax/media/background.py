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
  all calls are done, whether it ends well or not. What the function raises is
  raised by the next call or by the end of the block; it is not called again.
  """

  def __init__(self, function: Callable[..., None], most: int = 16):
    """Starts the thread.

    Args:
      function: what to call.
      most: calls that may wait; whoever makes more waits instead.
    """
    self._function = function
    self._calls: queue.Queue = queue.Queue(most)
    self._error: BaseException | None = None
    self._thread = threading.Thread(target=self._work, daemon=True)
    self._thread.start()

  def __call__(self, *args: Any) -> None:
    self._check()
    self._calls.put(args)

  def __enter__(self) -> 'Background':
    return self

  def __exit__(self, kind, error, traceback) -> None:
    self._calls.put(None)
    self._thread.join()
    if kind is None:
      self._check()

  def _work(self) -> None:
    while (args := self._calls.get()) is not None:
      if self._error is not None:
        continue  # Nobody shall wait for a place.
      try:
        self._function(*args)
      except BaseException as error:
        self._error = error

  def _check(self) -> None:
    if self._error is not None:
      raise self._error

"""Worker processes that outlive the clips which kill them."""

import concurrent.futures
import multiprocessing
import os
import pathlib
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Libraries that decode anything leak a little; a fresh process does not.
_UNITS_PER_PROCESS = 200
_ATTEMPTS = 2


class WorkerDied(Exception):
  """A unit ended the process that worked on it, every time."""


class NoWorker(Exception):
  """No process could be started."""


def work_on(
  units: Sequence[Any],
  task: Callable[[Any], Any],
  num_workers: int,
  log: pathlib.Path,
) -> Iterator[tuple[Any, Any]]:
  """Yields (unit, what `task(unit)` returned or raised) as they are done.

  A process of its own works on one unit at a time, so whatever happens to it
  (a crash inside a library, the system's out-of-memory killer) costs that unit
  only; it is tried once more, since another process may have taken the memory.

  Args:
    units, task: picklable.
    num_workers: processes.
    log: takes what the processes and their libraries write to stderr.
  """
  todo: queue.SimpleQueue = queue.SimpleQueue()
  done: queue.SimpleQueue = queue.SimpleQueue()
  for unit in units:
    todo.put(unit)
  stop = threading.Event()
  threads = [
    threading.Thread(target=_serve, args=(todo, done, task, log, stop))
    for _ in range(min(num_workers, len(units)))
  ]
  for thread in threads:
    thread.start()
  try:
    for _ in units:
      yield done.get()
  except BaseException:
    stop.set()
    for worker in multiprocessing.active_children():
      worker.terminate()  # What is half done, the next run does anew.
    raise
  finally:
    for thread in threads:
      thread.join()


def _serve(todo, done, task, log, stop) -> None:
  """One thread, and the process that it keeps alive."""
  # The parent alone answers Ctrl-C, and a process has the mask of the thread
  # that starts it.
  signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  pool = None
  try:
    while not stop.is_set():
      try:
        unit = todo.get_nowait()
      except queue.Empty:
        return
      for _ in range(_ATTEMPTS):
        try:
          pool = pool or _open(log)
          future = pool.submit(task, unit)
        except (OSError, RuntimeError) as error:  # Files, threads, memory.
          done.put((unit, NoWorker(f'no process can be started ({error})')))
          return
        try:
          result = future.result()
        except concurrent.futures.process.BrokenProcessPool:
          result = WorkerDied('the worker process died (out of memory?)')
          pool.shutdown()
          pool = None
          if stop.is_set():
            return
          continue
        except Exception as error:
          result = error
        break
      done.put((unit, result))
  finally:
    if pool:
      pool.shutdown()


def _open(log: pathlib.Path) -> concurrent.futures.ProcessPoolExecutor:
  return concurrent.futures.ProcessPoolExecutor(
    1,
    # Not fork: JAX, PyAV and MediaPipe have threads that do not survive it.
    mp_context=multiprocessing.get_context('spawn'),
    initializer=start_worker,
    initargs=(log,),
    max_tasks_per_child=_UNITS_PER_PROCESS,
  )


def start_worker(log: pathlib.Path) -> None:
  """Makes the calling process a worker: quiet, and gone with its parent."""
  # MediaPipe's libraries write notices to stderr, past Python, for each clip.
  with open(log, 'ab') as f:
    os.dup2(f.fileno(), 2)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  """Ends this worker when its parent is gone, were it by `kill -9`.

  Without that it would wait for the next clip for ever: it holds both ends of
  the pipe that clips come through.
  """
  multiprocessing.parent_process().join()
  os._exit(1)

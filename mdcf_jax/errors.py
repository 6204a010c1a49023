"""The errors of this package that speak to the user."""

import contextlib
import os
from collections.abc import Iterator


class InputError(ValueError):
  """Something the user gave cannot be used: what, which file, and why.

  The message is one line. Commands print it to stderr and exit with code 2;
  in Python it is an ordinary exception.
  """


class NoScore(InputError):
  """A clip has no such score: no face in it, or too few frames.

  Whoever scores many clips notes the line and goes on with the next.
  """


class NoFace(NoScore):
  """No face was found in any frame of a clip."""


@contextlib.contextmanager
def reading(path: str | os.PathLike, advice: str = '') -> Iterator[None]:
  """Blames `path` for whatever a library raises inside.

  Libraries raise anything for damaged files, from KeyError to errors of their
  own. Keep what is inside to the reading alone.

  Args:
    path: of the file or folder.
    advice: what the user can do about it.

  Raises:
    InputError: in the place of any other Exception.
  """
  try:
    yield
  except InputError:
    raise
  except Exception as error:
    reason = ' '.join(str(error).split())[:200]
    raise InputError(
      f'{os.fspath(path)} cannot be read, it may be damaged '
      f'({type(error).__name__}: {reason}){advice and "; "}{advice}'
    ) from error

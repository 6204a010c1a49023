"""Errors in the words of the page: no paths, no options of commands."""

import os
import re
from collections.abc import Mapping

# What a command line takes has no place on a page.
_ADVICE = re.compile(r'\s*\([^()]*(?:--\w|`?mdcf )[^()]*\)')
_PATH = re.compile(r'(?<![\w/])(?:/[^\s/:;,\'"()]+){2,}/?')
_MOST = 300  # Characters of a message.


def plain(error: Exception | str, names: Mapping | None = None) -> str:
  """An error as one line for a visitor.

  Args:
    error: or what it says.
    names: paths and what they are called, 'the picture' for one.
  """
  text = ' '.join(str(error).replace('\0', ' ').split())
  for path, name in (names or {}).items():
    text = text.replace(os.fspath(path), name)
    if text.startswith(f'{name}: the '):
      text = text.removeprefix(f'{name}: ')
  text = _PATH.sub('a file', _ADVICE.sub('', text))[:_MOST]
  return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
  """'8 s', '1 min 20 s' or '12 min', for reading and not for measuring."""
  seconds = max(0, round(seconds))
  if seconds < 60:
    return f'{seconds} s'
  if seconds < 600:
    return f'{seconds // 60} min {seconds % 60 // 10 * 10} s'
  return f'{round(seconds / 60)} min'


def memory(size: float) -> str:
  """Bytes as '0.62 GB'."""
  size /= 2**30
  return f'{size:.0f} GB' if size >= 10 else f'{size:.2f} GB'

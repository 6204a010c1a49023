"""Docstrings that describe several names in one line, for the site.

`source, driving: images` is one line of text and two parameters; the reader of
docstrings knows lines of one name alone. An extension of griffe.
"""

import re

import griffe

_NAMES = re.compile(r'^( +)(\w+(?:, \w+)+)(: .*(?:\n\1 +\S.*)*)', re.M)


class SplitNames(griffe.Extension):
  """Gives every name a line of its own, with the same words."""

  def on_instance(self, *, obj, **kwargs):
    if obj.is_alias or obj.docstring is None:
      return
    obj.docstring.value = _NAMES.sub(split, obj.docstring.value)


def split(match: re.Match) -> str:
  """The lines of a match, once for each of its names."""
  indent, names, words = match.groups()
  return '\n'.join(f'{indent}{name}{words}' for name in names.split(', '))

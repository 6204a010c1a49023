"""Reads what `mdcf evaluate` wrote, and checks that it can be believed."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mdcf_jax.errors import InputError, reading

FORMAT = 1
SIDES = 'real', 'fake'
_ADVICE = 'mdcf report takes what `mdcf evaluate` wrote'


@dataclasses.dataclass(frozen=True)
class Score:
  """One number.

  Attributes:
    value: of the generated clips.
    low, high: ends of its interval; None where there is none.
    count: of clips or of features, as text.
    better: 'lower', 'higher', 'truth', 'one', 'zero' or ''.
    real: the true clips' own value, None where there is none.
  """

  value: float
  low: float | None
  high: float | None
  count: str
  better: str
  real: float | None


@dataclasses.dataclass(frozen=True)
class System:
  """The scores of one folder of clips.

  Attributes:
    name: given by the user.
    scores: by name.
    skipped: why a metric was not computed, by its name.
    no_score: reasons why clips lack a score, by its name.
    failed: clips that could not be read, with their reasons.
    sets: 'real' and 'fake' to numbers of clips and frames.
    curves: 'real' and 'fake' to name to (mean, count) of every frame.
    rows: by clip: `scores` by side, `missing` by side, `frames`, `sha256`.
    protocol, weights, versions, hardware: as they were told.
    about: what it is, in a reader's words; may be empty.
  """

  name: str
  scores: dict[str, Score]
  skipped: dict[str, str]
  no_score: dict[str, list[str]]
  failed: dict[str, str]
  sets: dict[str, dict[str, int]]
  curves: dict[str, dict[str, tuple[list[float], list[int]]]]
  rows: dict[str, dict[str, Any]]
  protocol: dict[str, Any]
  weights: dict[str, Any]
  versions: dict[str, str]
  hardware: list[str]
  about: str = ''

  @property
  def fps(self) -> float:
    """Frames a second of the protocol."""
    return float(self.protocol['fps'])


def named(words: Sequence[str]) -> dict[str, pathlib.Path]:
  """'NAME=PATH' or 'PATH' by name, which is else that of the file.

  Raises:
    InputError: two of one name, or an empty one.
  """
  found: dict[str, pathlib.Path] = {}
  for word in words:
    name, equals, path = word.partition('=')
    if not equals or os.path.exists(word):
      name, path = pathlib.Path(word).stem, word
    if not name.strip() or not path:
      raise InputError(f'{word!r} is neither PATH nor NAME=PATH')
    if name in found:
      raise InputError(f'{found[name]} and {path} have one name: {name}')
    found[name] = pathlib.Path(path)
  return found


def read(paths: Mapping[str, pathlib.Path]) -> list[System]:
  """Reads reports of one protocol.

  Args:
    paths: by the names of the systems.

  Raises:
    InputError: a file is missing, damaged, no report, or of another protocol
      than the first.
  """
  systems = [_read(name, path) for name, path in paths.items()]
  first = systems[0]
  for other in systems[1:]:
    if other.protocol['hash'] != first.protocol['hash']:
      raise InputError(
        f'{first.name} and {other.name} are of two protocols, '
        f'{first.protocol["hash"][:12]} and {other.protocol["hash"][:12]}: '
        'their scores do not compare'
      )
  return systems


def described(systems: Sequence[System], words: Sequence[str]) -> list[System]:
  """The systems with what 'NAME=TEXT' says about them.

  Raises:
    InputError: no such system, no text, or two of one system.
  """
  names = [system.name for system in systems]
  found: dict[str, str] = {}
  for word in words:
    # A name may have '=' in it; of two that fit the longer one is meant.
    fitting = [name for name in names if word.startswith(f'{name}=')]
    name = max(fitting, key=len, default='')
    text = word[len(name) + 1 :].strip()
    if not fitting or not text:
      raise InputError(
        f'{word!r} is not NAME=TEXT with a name of: {", ".join(names)}'
      )
    if name in found:
      raise InputError(f'two texts are about {name}')
    found[name] = text
  return [
    dataclasses.replace(system, about=found.get(system.name, ''))
    for system in systems
  ]


def _read(name: str, path: pathlib.Path) -> System:
  with reading(path, _ADVICE):
    data = json.loads(
      path.read_text(encoding='utf-8'), parse_constant=_no_number
    )
    if data['format'] != FORMAT:
      raise ValueError(f'format {data["format"]}, not {FORMAT}')
    if not data['scores']:
      raise ValueError('there are no scores in it')
    return System(
      name=name,
      scores={k: _score(v) for k, v in data['scores'].items()},
      skipped={k: _short(v) for k, v in data['skipped'].items()},
      no_score={k: list(v['reasons']) for k, v in data['no_score'].items()},
      failed={
        f'{clip} ({side})': _short(reason)
        for clip, sides in data['failed'].items()
        for side, reason in sides.items()
      },
      sets={
        side: {k: int(data['sets'][side][k]) for k in ('clips', 'frames')}
        for side in SIDES
      },
      curves={
        side: {k: _curve(v) for k, v in data.get('curves', {})[side].items()}
        if data.get('curves')
        else {}
        for side in SIDES
      },
      rows={k: _row(v) for k, v in data['clips'].items()},
      protocol={'hash': '', 'name': '', **data['protocol']},
      weights=dict(data['weights']),
      versions=dict(data['versions']),
      hardware=[str(x) for x in data.get('hardware', [])],
    )


def _short(reason: Any) -> str:
  """A page is passed on, and nobody's name need be in it."""
  return str(reason).replace(str(pathlib.Path.home()), '~')


def _no_number(text: str):
  raise ValueError(f'{text} is no score')


def _number(value: Any) -> float:
  number = float(value)
  if isinstance(value, (str, bool)) or not math.isfinite(number):
    raise ValueError(f'{value!r} is no number')
  return number


def _score(data: Mapping[str, Any]) -> Score:
  count = data['count']
  if isinstance(count, Mapping):
    count = ' and '.join(f'{int(count[side])}' for side in SIDES)
  ends = [
    _number(data[k]) if data.get(k) is not None else None
    for k in ('low', 'high')
  ]
  real = data.get('real')
  return Score(
    _number(data['value']),
    *ends,
    str(count),
    str(data['better']),
    None if real is None else _number(real['value']),
  )


def _curve(data: Mapping[str, Any]) -> tuple[list[float], list[int]]:
  mean = [math.nan if x is None else _number(x) for x in data['mean']]
  count = [int(x) for x in data['count']]
  if len(mean) != len(count):
    raise ValueError('a curve has not as many counts as numbers')
  return mean, count


def _row(data: Mapping[str, Any]) -> dict[str, Any]:
  row: dict[str, Any] = {'frames': {}, 'sha256': {}}
  for side, about in data['sides'].items():
    row['frames'][side] = int(about['frames'])
    row['sha256'][side] = str(about['sha256'])
  for side in SIDES:
    values = data.get(f'{side}_scores', {})
    row[side] = {k: _number(v) for k, v in values.items()}
    missing = data.get(f'{side}_missing', {})
    row[f'{side}_missing'] = {k: str(v) for k, v in missing.items()}
  return row

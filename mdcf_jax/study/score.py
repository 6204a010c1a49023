"""Scores of a study: means of systems and questions, and their intervals."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdcf_jax.errors import InputError, reading
from mdcf_jax.study.make import KEY_FORMAT, VERSION
from mdcf_jax.study.questions import HIGHEST, KEYS, LOWEST

ANSWERS_FORMAT = 'mdcf-study-answers'
DRAWS, LEVEL = 10000, 0.95


@dataclasses.dataclass(frozen=True)
class Mean:
  """Of one system and one question.

  Attributes:
    value: mean over participants and clips.
    low, high: 95 % interval; None with one participant or one clip.
  """

  value: float
  low: float | None
  high: float | None


@dataclasses.dataclass(frozen=True)
class Study:
  """What a study found.

  Attributes:
    means: system -> question -> Mean.
    participants, clips: how many; each judged each clip of each system.
  """

  means: dict[str, dict[str, Mean]]
  participants: int
  clips: int


def read_key(path: str | os.PathLike) -> dict[str, Any]:
  """Reads what `mdcf study make` wrote beside the page.

  Raises:
    InputError: it is missing, damaged, or no key.
  """
  with reading(path, '--key takes what `mdcf study make` wrote'):
    with open(path, encoding='utf-8') as file:
      key = json.load(file)
    if (key['format'], key['version']) != (KEY_FORMAT, VERSION):
      raise ValueError(f'{key["format"]} {key["version"]} is no key')
    if tuple(key['questions']) != KEYS:
      raise ValueError('its questions are others')
    systems, names = set(key['systems']), {}
    for about in key['clips'].values():
      names.setdefault(about['system'], set()).add(about['clip'])
    if (
      set(names) != systems or len({frozenset(x) for x in names.values()}) != 1
    ):
      raise ValueError('its systems have not the same clips')
  return key


def read_answers(
  path: str | os.PathLike, key: Mapping[str, Any]
) -> tuple[str, dict[str, dict[str, int]]]:
  """Reads the file of one participant: code, and answers by clip.

  Raises:
    InputError: it is missing, damaged, of another study, incomplete, or has an
      answer that is none of 1 to 5.
  """
  path = os.fspath(path)
  with reading(path, 'it should be what the page of the study saved'):
    with open(path, encoding='utf-8') as file:
      data = json.load(file)
    if (data['format'], data['version']) != (ANSWERS_FORMAT, VERSION):
      raise ValueError('these are no answers of a study')
    code, study, answers = data['participant'], data['study'], data['answers']
    if not isinstance(code, str) or not code:
      raise ValueError('the participant has no code')
    found = {clip: dict(given) for clip, given in answers.items()}
  if study != key['study']:
    raise InputError(f'{path}: answers of study {study!r}, not {key["study"]}')
  if unknown := found.keys() - key['clips'].keys():
    raise InputError(f'{path}: clip {min(unknown)!r} is not of this study')
  for clip, given in found.items():
    _check(path, clip, given)
  if missing := len(key['clips']) - len(found):
    raise InputError(
      f'{path}: {missing} of {len(key["clips"])} clips are not judged'
    )
  return code, found


def _check(path: str, clip: str, given: Mapping[str, Any]) -> None:
  if set(given) != set(KEYS):
    raise InputError(
      f'{path}: clip {clip} has answers to {len(given)} of {len(KEYS)} '
      'questions, or to others'
    )
  for question, value in given.items():
    if type(value) is not int or not LOWEST <= value <= HIGHEST:
      raise InputError(
        f'{path}: {question} of clip {clip} is {value!r}, not '
        f'{LOWEST} to {HIGHEST}'
      )


def score(
  paths: Sequence[str | os.PathLike], key: Mapping[str, Any], seed: int = 0
) -> Study:
  """Means and intervals.

  The bootstrap draws participants and clips, both with replacement and each
  by itself, since answers of one participant, and those to one clip, are alike.

  Args:
    paths: files of participants.
    key: of `read_key`.
    seed: of the draws.

  Raises:
    InputError: of `read_answers`, or two files of one participant.
  """
  given: dict[str, dict[str, dict[str, int]]] = {}
  files: dict[str, str] = {}
  for path in paths:
    code, answers = read_answers(path, key)
    if code in given:
      raise InputError(
        f'{os.fspath(path)}: participant {code!r} is that of {files[code]}'
      )
    given[code], files[code] = answers, os.fspath(path)
  means: dict[str, dict[str, Mean]] = {}
  clips = 0
  for system in key['systems']:
    # The same clips in the same order for all systems.
    tokens = sorted(
      (t for t, about in key['clips'].items() if about['system'] == system),
      key=lambda token: key['clips'][token]['clip'],
    )
    clips = len(tokens)
    means[system] = {
      question: _mean(
        np.array(
          [[given[code][t][question] for t in tokens] for code in sorted(given)]
        ),
        seed,
      )
      for question in KEYS
    }
  return Study(means, len(given), clips)


def _mean(answers: np.ndarray, seed: int) -> Mean:
  """Of `answers [participants, clips]`."""
  value, (people, clips) = float(answers.mean()), answers.shape
  if people < 2 or clips < 2:
    return Mean(value, None, None)
  rng = np.random.default_rng(seed)
  # How often each is drawn.
  by_person, by_clip = (
    rng.multinomial(n, np.full(n, 1 / n), DRAWS) / n for n in (people, clips)
  )
  means = np.einsum('np,pc,nc->n', by_person, answers, by_clip, optimize=True)
  tail = 50 * (1 - LEVEL)
  low, high = np.percentile(means, (tail, 100 - tail))
  return Mean(value, float(low), float(high))

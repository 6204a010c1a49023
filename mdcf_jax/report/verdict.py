"""Which of two systems is better, and whether that is more than chance."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from mdcf_jax.metrics.bootstrap import bootstrap_interval
from mdcf_jax.report import labels
from mdcf_jax.report.systems import System

BETTER, WORSE, OPEN = 'better', 'worse', 'open'
MIN_CLIPS = 3  # Fewer have no interval that says anything.
_DRAWS = 4000
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Verdict:
  """Of one score, of one system beside another.

  Attributes:
    word: BETTER, WORSE or OPEN, where the interval of the difference has 0.
    clips: of how many clips that both have.
  """

  word: str
  clips: int


def loss(better: str, value: float, real: float | None) -> float | None:
  """How far a score is from the best, in its own unit; None if unknown."""
  if better == 'lower':
    return value
  if better == 'higher':
    return -value
  if better == 'zero':
    return abs(value)
  if better == 'one':
    # Twice is as far from 1 as a half.
    return abs(math.log(value)) if value > _TINY else None
  if better == 'truth' and real is not None:
    return abs(value - real)
  return None


def compare(ours: System, other: System) -> dict[str, Verdict]:
  """Verdicts on `ours` beside `other`, by score.

  The clips that both have are compared one by one: 95 % bootstrap intervals of
  the mean difference. Scores of sets have no clips, so no verdict; neither
  has the blink rate, which is that of all clips together, nor what the table
  does not show (`labels.HIDDEN`).
  """
  found = {}
  for name in labels.shown(ours.scores.keys() & other.scores.keys()):
    if name == 'blink_rate':
      continue
    score = ours.scores[name]
    differences = [
      a - b
      for a, b in (
        (_loss(row, name, score.better), _loss(beside, name, score.better))
        for row, beside in _pairs(ours, other)
      )
      if a is not None and b is not None
    ]
    if len(differences) < MIN_CLIPS:
      continue
    interval = bootstrap_interval(np.array(differences), num_samples=_DRAWS)
    word = OPEN
    if interval.high < 0:
      word = BETTER
    elif interval.low > 0:
      word = WORSE
    found[name] = Verdict(word, len(differences))
  return found


def _pairs(ours: System, other: System):
  return [
    (row, other.rows[name])
    for name, row in sorted(ours.rows.items())
    if name in other.rows
  ]


def _loss(row: Mapping, name: str, better: str) -> float | None:
  value = row['fake'].get(name)
  return None if value is None else loss(better, value, row['real'].get(name))


def ranked(system: System, name: str) -> list[str]:
  """Clips that have a score, the best first.

  Ties, and there are many where a score is coarse, keep the order of names.
  """
  better = system.scores[name].better
  losses = {
    clip: _loss(row, name, better) for clip, row in sorted(system.rows.items())
  }
  known = {clip: x for clip, x in losses.items() if x is not None}
  return sorted(known, key=known.__getitem__)

"""The scores of one clip, and why some of them are not there."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from mdcf_jax.errors import NoScore


@dataclasses.dataclass(frozen=True)
class ClipScores:
  """What was measured of one clip.

  Attributes:
    values: by name, all finite.
    missing: by name, one line why the clip has no such score.
    frames: of the clip.
    faces: frames in which a face was found; no other enters a score.
    series: by name, a number for each frame, NaN for those that have none.
  """

  values: Mapping[str, float]
  missing: Mapping[str, str]
  frames: int
  faces: int
  series: Mapping[str, Sequence[float]] = dataclasses.field(
    default_factory=dict
  )


# The names of some scores, and what returns them or raises NoScore.
Part = tuple[tuple[str, ...], Callable[[], Mapping[str, float]]]


def single(name: str, score: Callable[[], float]) -> Part:
  """A part of one score."""
  return (name,), lambda: {name: score()}


def collect(parts: Iterable[Part], frames: int, faces: int) -> ClipScores:
  """Runs all parts; one that raises NoScore leaves its reason."""
  values, missing = {}, {}
  for names, part in parts:
    try:
      found = part()
    except NoScore as error:
      missing |= dict.fromkeys(names, str(error))
    else:
      values |= {name: float(found[name]) for name in names}
  return ClipScores(values, missing, frames, faces)

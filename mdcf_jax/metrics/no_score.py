"""Why a clip has no score: an answer of its own, never a NaN in a mean."""

import dataclasses
import enum


class Reason(enum.StrEnum):
  """Kinds of clips that the evaluation of lip sync does not judge."""

  NO_FACE = 'no face'
  SHORT_TRACK = 'face not seen for long enough'
  SMALL_FACE = 'face too small'
  OUTSIDE = 'face outside of the picture'
  SHORT = 'clip too short'
  SILENT = 'no sound'


@dataclasses.dataclass(frozen=True)
class NoScore:
  """The answer in the place of a score.

  Attributes:
    reason: which kind.
    detail: one line with the numbers.
  """

  reason: Reason
  detail: str

  def __str__(self) -> str:
    return f'{self.reason}: {self.detail}'

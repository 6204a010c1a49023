"""How long stages of a generation take."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator


@dataclasses.dataclass
class Timing:
  """Wall-clock time that a stage took, and how many frames it was for."""

  seconds: float = 0.0
  frames: int = 0

  @property
  def fps(self) -> float:
    """Frames a second."""
    return self.frames / self.seconds if self.seconds else 0.0


@contextlib.contextmanager
def timed(
  timings: dict[str, Timing], stage: str, frames: int = 0
) -> Iterator[Timing]:
  """Adds what passes, and the frames, to `timings[stage]`."""
  timing = timings.setdefault(stage, Timing())
  timing.frames += frames
  start = time.perf_counter()
  try:
    yield timing
  finally:
    timing.seconds += time.perf_counter() - start

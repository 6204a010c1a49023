"""How long it will still take, from how long it took."""

import threading
import time
from collections.abc import Callable, Hashable


class Pace:
  """Seconds that a unit of a stage takes, as last measured; for all jobs."""

  def __init__(self):
    self._known: dict[tuple[str, Hashable], float] = {}
    self._lock = threading.Lock()

  def learn(self, stage: str, kind: Hashable, seconds: float) -> None:
    """Notes what a unit took. Kinds of work are timed apart."""
    with self._lock:
      self._known[stage, kind] = seconds

  def of(self, stage: str, kind: Hashable) -> float | None:
    with self._lock:
      return self._known.get((stage, kind))


class Countdown:
  """The time left of one job, through its stages.

  Attributes:
    stage, done, total: where it is; '' before the first stage.
  """

  def __init__(
    self,
    pace: Pace,
    kinds: dict[str, Hashable],
    totals: dict[str, int],
    clock: Callable[[], float] = time.monotonic,
  ):
    """Takes stages in their order.

    Args:
      pace: what is known of earlier jobs, and learns from this one.
      kinds: of each stage.
      totals: units of each stage.
      clock: in seconds.
    """
    self._pace, self._kinds, self._totals = pace, kinds, totals
    self._clock, self._begun, self._seen = clock, 0.0, 0.0
    self.stage, self.done, self.total = '', 0, 0

  def __call__(self, stage: str, done: int, total: int) -> None:
    """Notes that `done` of `total` units of a stage are finished."""
    now = self._clock()
    if stage != self.stage:
      self._begun = now
    self.stage, self.done, self.total, self._seen = stage, done, total, now
    if done:
      seconds = (now - self._begun) / done
      self._pace.learn(stage, self._kinds.get(stage), seconds)

  def left(self) -> float | None:
    """Seconds, or None while a stage was never timed."""
    stages = list(self._totals)
    here = stages.index(self.stage) if self.stage in stages else -1
    seconds = 0.0
    for i, stage in enumerate(stages[max(here, 0) :], max(here, 0)):
      each = self._pace.of(stage, self._kinds.get(stage))
      if each is None:
        return None
      units = self.total - self.done if i == here else self._totals[stage]
      seconds += each * units
    # Since the last unit some of the next has been done.
    waited = self._clock() - self._seen if here >= 0 else 0.0
    return max(0.0, seconds - waited)

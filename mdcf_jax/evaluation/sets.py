"""Metrics of two sets: features of clips, sums that merge, distances."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from mdcf_jax.errors import NoScore
from mdcf_jax.evaluation.clips import Clip
from mdcf_jax.metrics import batches, fid, frechet, fvd, kid

FRAME_BATCH, WINDOW_BATCH = 16, 4


@dataclasses.dataclass(frozen=True)
class Statistics:
  """All that distances need of the features of a set.

  Attributes:
    moments: of all features, in float64; None of no features.
    keys: `[S]` uint64, drawn from the names of clips and the places in them.
    sample: `[S, D]` float32, the features of the smallest keys, in their order.
  """

  moments: frechet.Moments | None = None
  keys: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(0, np.uint64)
  )
  sample: np.ndarray | None = None

  @property
  def count(self) -> int:
    """Of features."""
    return self.moments.count if self.moments else 0

  @classmethod
  def of(cls, name: str, features: np.ndarray, limit: int) -> 'Statistics':
    """Statistics of one clip.

    Args:
      name: of the clip: what is drawn depends on it.
      features: `[N, D]`.
      limit: of the sample.

    Raises:
      ValueError: features that are not finite.
    """
    if not len(features):
      return cls()
    keys = np.array([_key(name, i) for i in range(len(features))], np.uint64)
    order = np.argsort(keys, kind='stable')[:limit]
    sample = np.asarray(features, np.float32)[order]
    return cls(frechet.Moments.of(features), keys[order], sample)

  @staticmethod
  def merge(a: 'Statistics', b: 'Statistics', limit: int) -> 'Statistics':
    """Statistics of both; in any order the same sample, and the same moments
    up to rounding in float64."""
    if not a.count or not b.count:
      return a if a.count else b
    keys = np.concatenate([a.keys, b.keys])
    order = np.argsort(keys, kind='stable')[:limit]
    sample = np.concatenate([a.sample, b.sample])[order]
    moments = frechet.Moments.merge(a.moments, b.moments)
    return Statistics(moments, keys[order], sample)


def _key(name: str, index: int) -> int:
  digest = hashlib.sha256(f'{name}/{index}'.encode()).digest()
  return int.from_bytes(digest[:8], 'big')


def inception_features(context, clip: Clip) -> np.ndarray:
  """`[T - skip, 2048]` of a clip's frames."""
  return fid.inception_features(
    context.networks.variables('inception'),
    clip.frames[context.protocol.skip :],
    batch_size=batches.whole_batch(FRAME_BATCH),
  )


def i3d_features(length: int):
  """Returns the function that gives `[windows, 400]` of a clip."""

  def measure(context, clip: Clip) -> np.ndarray:
    return fvd.i3d_features(
      context.networks.variables('i3d'),
      clip.frames,
      length,
      rule=context.protocol.fvd_rule,
      batch_size=batches.whole_batch(WINDOW_BATCH),
    )

  return measure


def frechet_distance(name: str):
  """Returns the distance under a name."""

  def distance(protocol, real: Statistics, fake: Statistics):
    for side, statistics in (('true', real), ('generated', fake)):
      if statistics.count < 2:
        raise NoScore(
          f'{statistics.count} features of the {side} clips have no covariance'
        )
    return {name: frechet.frechet_distance(real.moments, fake.moments)}

  return distance


def kernel_distance(
  protocol, real: Statistics, fake: Statistics
) -> Mapping[str, float]:
  """KID, and its deviation over subsets."""
  if min(real.count, fake.count) < 2:
    raise NoScore(f'{real.count} and {fake.count} features are too few')
  found = kid.kernel_distance(
    real.sample,
    fake.sample,
    num_subsets=protocol.kid_subsets,
    subset_size=protocol.kid_subset_size,
    seed=protocol.kid_seed,
  )
  return {'kid': found.mean, 'kid_std': found.std}

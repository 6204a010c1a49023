"""All metrics of `mdcf evaluate`, of three kinds, in one tuple.

* 'set': `measure(context, clip)` gives features of every clip of both sets;
  their sums are merged, and `distance(protocol, real, fake)` gives the scores.
* 'clip': `measure(context, clip, truth)` scores a clip of either set; the true
  clips' scores stand beside. `truth` is None where there is none.
* 'pair': `measure(context, clip, truth)` scores a generated clip beside the
  true one of its name.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from mdcf_jax.errors import InputError
from mdcf_jax.evaluation import motion, pictures, sets, speech

# What is better: less, more, nearer to the true clips' own score, to 1, to 0.
LOWER, HIGHER, TRUTH, ONE, ZERO = 'lower', 'higher', 'truth', 'one', 'zero'


@dataclasses.dataclass(frozen=True)
class Metric:
  """One row of METRICS.

  Attributes:
    name: by which it is selected.
    kind: 'set', 'clip' or 'pair'.
    scores: names of its numbers, and which are better.
    measure: see above; raises NoScore for a clip that has no such score.
    needs: networks and packages, by the names of `networks.Networks`.
    features: of 'set': the name of its features, which others may share.
    distance: of 'set'.
    looks_at_truth: of 'clip': a score depends on the true clip.
  """

  name: str
  kind: str
  scores: Mapping[str, str]
  measure: Callable[..., Any]
  needs: tuple[str, ...] = ()
  features: str = ''
  distance: Callable[..., Mapping[str, float]] | None = None
  looks_at_truth: bool = False


def _fvd(length: int) -> Metric:
  name = f'fvd{length}'
  return Metric(
    name,
    'set',
    {name: LOWER},
    sets.i3d_features(length),
    ('i3d',),
    f'i3d-{length}',
    sets.frechet_distance(name),
  )


def _flow(estimator: str, need: str, estimate: Callable) -> tuple[Metric, ...]:
  names = [f'{x}_{estimator}' for x in ('flow_smoothness', 'flow_jitter')]
  measure = motion.measure_flow(estimator, estimate)
  name = f'flow_{estimator}'
  metric = Metric(name, 'clip', dict.fromkeys(names, TRUTH), measure, (need,))
  kinds = 'flow_smoothness_ratio', 'flow_jitter_ratio'
  ratio = Metric(
    f'{name}_ratio',
    'pair',
    {f'{x}_{estimator}': ONE for x in kinds},
    motion.measure_flow_ratio(metric),
    (need,),
  )
  return metric, ratio


def _sync(crop: str, measure: Callable, need: str) -> Metric:
  return Metric(
    f'lse_{crop}',
    'clip',
    {f'lse_c_{crop}': HIGHER, f'lse_d_{crop}': LOWER, f'offset_{crop}': ZERO},
    measure,
    ('syncnet', need),
    looks_at_truth=crop == 'fixed',
  )


_INCEPTION = sets.inception_features, ('inception',), 'inception'
_ANGLES = ('yaw_range', 'pitch_range', 'roll_range')
_FACE = ('mouth_spread', 'blinks', 'blink_seconds', 'blink_rate')
_FACE += ('pose_variance', *_ANGLES)
_DISTANCES = ('lmd', 'lmd_aligned', 'mouth_lmd', 'mouth_lmd_aligned')

METRICS = (
  Metric(
    'fid', 'set', {'fid': LOWER}, *_INCEPTION, sets.frechet_distance('fid')
  ),
  Metric(
    'kid',
    'set',
    {'kid': LOWER, 'kid_std': ''},
    *_INCEPTION,
    sets.kernel_distance,
  ),
  _fvd(16),
  _fvd(32),
  _sync('exact', speech.measure_exact, 's3fd'),
  _sync('fixed', speech.measure_fixed, 'faces'),
  Metric(
    'csim',
    'clip',
    {'csim': HIGHER, 'csim_lowest': HIGHER},
    pictures.measure_csim,
    ('arcface', 'faces'),
    looks_at_truth=True,
  ),
  *_flow('raft-small', 'raft', motion.raft),
  *_flow('farneback', 'opencv', motion.farneback),
  Metric('psnr', 'pair', {'psnr': HIGHER}, pictures.measure_psnr),
  Metric('ssim', 'pair', {'ssim': HIGHER}, pictures.measure_ssim),
  Metric(
    'lpips', 'pair', {'lpips_alex': LOWER}, pictures.measure_lpips, ('lpips',)
  ),
  Metric(
    'detail',
    'pair',
    {'laplacian_ratio_frame': ONE, 'high_frequency_ratio': ONE},
    pictures.measure_detail,
  ),
  Metric(
    'sharpness',
    'pair',
    {
      'laplacian_variance': TRUTH,
      'laplacian_variance_ratio': ONE,
      'high_frequency_ratio_face': ONE,
      'high_frequency_ratio_head': ONE,
    },
    pictures.measure_sharpness,
    ('faces',),
  ),
  Metric(
    'face',
    'clip',
    {'face_share': HIGHER, **dict.fromkeys(_FACE, TRUTH)},
    motion.measure_face,
    ('faces',),
  ),
  Metric(
    'landmarks',
    'pair',
    {
      **dict.fromkeys(_DISTANCES, LOWER),
      'mouth_correlation': HIGHER,
      'mouth_lag': ZERO,
      'mouth_spread_ratio': ONE,
      'pose_variance_ratio': ONE,
    },
    motion.measure_landmarks,
    ('faces',),
  ),
)


def select(names: list[str] | None) -> tuple[Metric, ...]:
  """Returns metrics by their names, in the order of the table; None is all.

  Raises:
    InputError: there is no such metric.
  """
  known = [metric.name for metric in METRICS]
  for name in names or ():
    if name not in known:
      raise InputError(f'no metric {name!r}; there are: {", ".join(known)}')
  return tuple(m for m in METRICS if not names or m.name in names)

"""Made-up scores, in the form of `mdcf evaluate`: no number means anything."""

import json

import numpy as np

from mdcf_jax.metrics.protocol import v1

BETTER = {
  'psnr': 'higher',
  'lpips_alex': 'lower',
  'flow_smoothness_farneback': 'truth',
  'laplacian_ratio_frame': 'one',
  'mouth_lag': 'zero',
  'mouth_correlation': 'higher',
  'mouth_spread_ratio': 'one',
  'pose_variance_ratio': 'one',
  'lmd': 'lower',
  'csim': 'higher',
  'lse_c_fixed': 'higher',
  'blinks': 'truth',
  'blink_seconds': 'truth',
}


def row(values, real=None, frames=50, sha='a'):
  """One clip."""
  sides = {
    side: {'frames': frames, 'sha256': sha * 64} for side in ('real', 'fake')
  }
  return {
    'sides': sides,
    'failed': {},
    'fake_scores': values,
    'real_scores': real or {},
    'fake_missing': {'csim': 'no face'},
    'real_missing': {},
  }


def report(values, *, curves=None, real=0.2, **more):
  """A report.

  Args:
    values: clip -> score -> number.
    curves: score -> numbers of frames.
    real: flow smoothness of true clips.
    **more: in the place of keys.
  """
  rows = {
    name: row(scores, {'flow_smoothness_farneback': real})
    for name, scores in values.items()
  }
  scores = {}
  for name in {name for scores in values.values() for name in scores}:
    numbers = [x[name] for x in values.values() if name in x]
    mean = float(np.mean(numbers))
    scores[name] = {
      'value': mean,
      'low': mean - 0.5,
      'high': mean + 0.5,
      'count': len(numbers),
      'better': BETTER[name],
    }
    if BETTER[name] == 'truth':
      scores[name]['real'] = {'value': real, 'count': len(numbers)}
  curves = {
    name: {'mean': list(x), 'count': [len(values)] * len(x)}
    for name, x in (curves or {}).items()
  }
  count = {'clips': len(values), 'frames': 50 * len(values)}
  return {
    'format': 1,
    'protocol': {'name': 'v1', 'fps': 25, 'hash': v1.hash},
    'paired': True,
    'skipped': {'fid': 'no inception weights: see mdcf download inception'},
    'scores': scores,
    'no_score': {'csim': {'clips': 1, 'reasons': {'fake: no face': 1}}},
    'failed': {},
    'sets': {'real': count, 'fake': count},
    'weights': {'faces': {'sha256': 'f' * 64, 'version': 'mediapipe 1'}},
    'versions': {'jax': '0.10.2'},
    'hardware': ['1 x cpu (cpu), Linux x86_64, 2 CPU cores'],
    'curves': {'fake': curves, 'real': {}},
    'clips': rows,
    **more,
  }


def write(path, data):
  """Writes JSON and returns the path as text."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(data))
  return str(path)

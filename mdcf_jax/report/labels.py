"""Scores in plain words, in the order and the groups of the page."""

import dataclasses
from collections.abc import Iterable

# Name, what it tells, and decimals.
_Entry = tuple[str, str, int]
_RATIO = 'mean of the clips’ ratios'

_SETS: dict[str, _Entry] = {
  'fid': ('FID', 'do single pictures look like true ones, as a set?', 2),
  'kid': ('KID', 'the same, fairer to small sets', 4),
  'fvd16': ('FVD-16', 'do pieces of 16 frames look true, as a set?', 1),
  'fvd32': ('FVD-32', 'the same of 32 frames', 1),
}
_SPEECH: dict[str, _Entry] = {
  'lse_c_exact': ('LSE-C', 'how sure SyncNet is that lips fit the sound', 2),
  'lse_d_exact': ('LSE-D', 'its distance between lips and sound', 2),
  'offset_exact': ('offset', 'frames by which the sound seems off', 1),
  'lse_c_fixed': ('LSE-C, fixed crop', 'of the true clip’s crop', 2),
  'lse_d_fixed': ('LSE-D, fixed crop', 'of the true clip’s crop', 2),
  'offset_fixed': ('offset, fixed crop', 'of the true clip’s crop', 1),
  'mouth_correlation': (
    'mouth follows the true one',
    'correlation of the opening of both mouths',
    3,
  ),
  'mouth_lag': ('lag of the mouth', 'frames', 1),
  'mouth_lmd_aligned': (
    'distance of lips',
    'to the true ones in eye distances, head motion taken out',
    4,
  ),
  'mouth_lmd': ('distance of lips, as they are', 'with head motion', 4),
  'mouth_spread': ('liveliness of the mouth', 'spread of its opening', 4),
  'mouth_spread_ratio': ('… over the true one’s', _RATIO, 2),
}
_LOOKS: dict[str, _Entry] = {
  'csim': ('CSIM', 'is it the same person?', 3),
  'csim_lowest': ('CSIM, worst frame', '', 3),
  'lpips_alex': ('LPIPS', 'difference of pictures as eyes see it', 4),
  'psnr': ('PSNR', 'likeness pixel by pixel, decibels', 2),
  'ssim': ('SSIM', 'likeness of structure', 3),
  'laplacian_ratio_frame': ('sharpness over the true one', 'whole picture', 2),
  'high_frequency_ratio': ('fine detail over the true one', '', 2),
  'laplacian_variance': ('sharpness of the face', '', 1),
  'laplacian_variance_ratio': ('… over the true one’s', _RATIO, 2),
  'high_frequency_ratio_face': ('fine detail of the face', 'ratio', 2),
  'high_frequency_ratio_head': ('fine detail of the head', 'ratio', 2),
}
_MOTION: dict[str, _Entry] = {
  'flow_smoothness': (
    'motion roughness (flow smoothness of the paper)',
    'larger where neighbours move apart',
    4,
  ),
  'flow_smoothness_ratio': ('… over the true one’s', _RATIO, 2),
  'flow_jitter': ('flow jitter', 'change of motion between frames, pixels', 3),
  'flow_jitter_ratio': ('… over the true one’s', _RATIO, 2),
  'lmd': ('distance of the face', 'to the true one in eye distances', 4),
  'lmd_aligned': ('distance of the features', 'head motion taken out', 4),
  'pose_variance': ('head motion', 'variance of angles', 2),
  'pose_variance_ratio': (
    '… over the true one’s',
    f'{_RATIO}: a clip whose true head hardly moves makes it large, so it may '
    'contradict the means above',
    2,
  ),
  'yaw_range': ('turns, left to right', 'degrees', 1),
  'pitch_range': ('nods', 'degrees', 1),
  'roll_range': ('tilts', 'degrees', 1),
  'blink_rate': ('blinks a minute', '', 1),
  'face_share': ('frames with a face', 'share', 3),
}
GROUPS = {
  'Speech': _SPEECH,
  'Looks': _LOOKS,
  'Motion': _MOTION,
  'Sets': _SETS,
}
OTHER = 'Others'
# Not for the table: they are parts of others.
HIDDEN = ('blinks', 'blink_seconds', 'kid_std')
# What a true clip gets beside itself, as follows from what a score is.
_IDEALS = {
  'mouth_correlation': 1,
  'ssim': 1,
  'lpips_alex': 0,
  'mouth_lmd': 0,
  'mouth_lmd_aligned': 0,
  'lmd': 0,
  'lmd_aligned': 0,
}
_ESTIMATORS = {'raft-small': 'RAFT', 'farneback': 'Farnebäck'}
ARROWS = {
  'lower': ('↓', 'less is better'),
  'higher': ('↑', 'more is better'),
  'truth': ('≈', 'the nearer to the true clips the better'),
  'one': ('→ 1', 'the nearer to 1 the better'),
  'zero': ('→ 0', 'the nearer to 0 the better'),
}


@dataclasses.dataclass(frozen=True)
class Label:
  """How a score is shown.

  Attributes:
    title: its name.
    note: what it tells; may be empty.
    digits: decimals.
    group: a key of GROUPS, or OTHER.
    order: of scores in the table.
  """

  title: str
  note: str
  digits: int
  group: str
  order: tuple[int, int]


def shown(names: Iterable[str]) -> list[str]:
  """Scores that a reader sees, in the order of the table."""
  return sorted(
    (name for name in names if name not in HIDDEN),
    key=lambda name: (label(name).order, name),
  )


def ideal(name: str, better: str) -> int | None:
  """What a true clip gets beside itself: 0, 1, or None where unknown."""
  return {'one': 1, 'zero': 0}.get(better, _IDEALS.get(name))


def alone(name: str) -> str:
  """The title of a score where the one that it follows does not stand."""
  title = label(name).title
  if not title.startswith('…'):
    return title
  return f'{label(name.replace("_ratio", "")).title}, ratio'


def label(name: str) -> Label:
  """The label of a score; one that is not known has its own name."""
  head, _, ending = name.rpartition('_')
  estimator = _ESTIMATORS.get(ending, '')
  base = head if estimator else name
  for i, (group, entries) in enumerate(GROUPS.items()):
    if base in entries:
      title, note, digits = entries[base]
      if estimator and title.endswith(')'):
        title = f'{title[:-1]}, {estimator})'
      elif estimator:
        title += f' ({estimator})'
      order = i, 2 * list(entries).index(base)
      return Label(title, note, digits, group, order)
  return Label(name, '', 3, OTHER, (len(GROUPS), 0))

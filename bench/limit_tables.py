"""Tables of bench/limits.py, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdcf_jax.metrics.bootstrap import bootstrap_interval

PLAIN, HAT = 'as it is', 'hat'

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]  # Clip, view, system.


def show(found: Found, most: int, settings: Mapping[str, Any]) -> None:
  """Prints all tables of what is there.

  Args:
    found: clip -> view -> system -> score -> number or None.
    most: clips, the first of them.
    settings: of the measurement.
  """
  found = dict(list(found.items())[:most])
  said = ', '.join(f'{name} {value}' for name, value in settings.items())
  print(f'{len(found)} clips ({", ".join(found)}); {said}')
  print('Mean over clips [95 % bootstrap interval]; (n) if not of all clips.')
  _views(found)
  _hats(found)
  _detail(found)
  _trembling(found)


def values(
  found: Found, view: str, system: str, score: str
) -> dict[str, float]:
  """The numbers there are, by clip."""
  given = {
    clip: views.get(view, {}).get(system, {}).get(score)
    for clip, views in found.items()
  }
  return {clip: x for clip, x in given.items() if x is not None}


def cell(numbers: Sequence[float], clips: int, digits: int) -> str:
  """Mean and interval; blank without numbers."""
  if not len(numbers):
    return ''
  interval = bootstrap_interval(np.asarray(numbers))
  mean, low, high = (f'{x:.{digits}f}' for x in interval)
  count = '' if len(numbers) == clips else f' ({len(numbers)})'
  return f'{mean} [{low}, {high}]{count}'


def _views(found: Found) -> None:
  print('\n**Off-centre and uncropped**\n')
  names = list(dict.fromkeys(v for views in found.values() for v in views))
  columns = [
    ('PSNR of face: still', ('still', 'psnr_face', 1)),
    ('resized', ('resized', 'psnr_face', 1)),
    ('reconstruction', ('reconstruction', 'psnr_face', 1)),
    ('detail of face: reconstruction', _detail_of('reconstruction')),
    ('generated', _detail_of('generated')),
    ('mouth: reconstruction', ('reconstruction', 'mouth_correlation', 2)),
    ('generated', ('generated', 'mouth_correlation', 2)),
    ('spread of generated', ('generated', 'mouth_spread_ratio', 2)),
  ]
  _head('', *(title for title, _ in columns), 'PSNR lost')
  for view in names:
    if view == HAT:
      continue
    cells = [_of(found, view, *given) for _, given in columns]
    _line(view, *cells, _apart(found, view))


def _detail_of(system: str) -> tuple[str, str, int]:
  return system, 'high_frequency_ratio_face', 2


def _apart(found: Found, view: str) -> str:
  """How much the reconstruction loses against the clip as it is, paired."""
  if view == PLAIN:
    return ''
  here, plain = (
    values(found, name, 'reconstruction', 'psnr_face') for name in (view, PLAIN)
  )
  both = [plain[clip] - here[clip] for clip in here if clip in plain]
  return cell(both, len(found), 1)


def _hats(found: Found) -> None:
  print('\n**Above the face: hair, or a drawn hat (synthetic)**\n')
  _head(
    *('', '', 'PSNR', 'detail', 'follows the head', 'head moved by, pixels'),
  )
  for view, title in ((PLAIN, 'hair'), (HAT, 'hat')):
    for system in ('true', 'still', 'reconstruction', 'generated'):
      still = system == 'still'
      _line(
        title,
        system,
        ''
        if system == 'generated'
        else _of(found, view, system, 'psnr_above', 1),
        '' if still else _of(found, view, system, _ABOVE, 2),
        '' if still else _of(found, view, system, 'follows', 2),
        '' if still else _of(found, view, system, 'moved', 1),
      )


_ABOVE = 'high_frequency_ratio_above'


def _detail(found: Found) -> None:
  print('\n**Detail: energy of high frequencies over that of true frames**\n')
  _head('', 'face', 'head', 'frame')
  for system in ('reconstruction', 'generated'):
    names = [f'high_frequency_ratio_{x}' for x in ('face', 'head', 'frame')]
    cells = [_of(found, PLAIN, system, name, 2) for name in names]
    _line(system, *cells)


def _trembling(found: Found) -> None:
  print('\n**Motion above 3 Hz, hundredths of the distance of the eyes**\n')
  parts = ('lips', 'brows', 'lids')
  _head('', *(x for part in parts for x in (part, 'to true')))
  for system in ('true', 'reconstruction', 'generated', 'noise'):
    cells = []
    for part in parts:
      true = values(found, PLAIN, 'true', part)
      ours = values(found, PLAIN, system, part)
      ratios = [x / true[clip] for clip, x in ours.items() if true.get(clip)]
      cells.append(_of(found, PLAIN, system, part, 2))
      cells.append('' if system == 'true' else cell(ratios, len(found), 2))
    title = 'still, noise of 2 grey levels' if system == 'noise' else system
    _line(title, *cells)


def _of(found: Found, view: str, system: str, score: str, digits: int) -> str:
  numbers = list(values(found, view, system, score).values())
  return cell(numbers, len(found), digits)


def _head(*cells: str) -> None:
  _line(*cells)
  print('|---' * len(cells) + '|')


def _line(*cells: str) -> None:
  print(f'| {" | ".join(cells)} |')

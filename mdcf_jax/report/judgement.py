"""What the numbers say of mouth, picture, likeness and their own worth."""

import re
from collections.abc import Callable, Sequence

from mdcf_jax.pages.markup import escape, number, plural
from mdcf_jax.report import labels
from mdcf_jax.report.systems import System

FEW_CLIPS = 30  # Intervals over fewer are wide.
SHARP = 0.8  # Of the true sharpness: below, a picture is called blurred.
_FROZEN = 0.05  # Of the true motion: below, nothing moves but the estimator.
_ALIKE = 0.1  # Relative difference of two sharpnesses that look the same.
# Words for a correlation from this number on; ours, not anybody's standard.
_FOLLOWS = (
  (0.8, 'closely'),
  (0.6, 'well'),
  (0.35, 'in part'),
  (0.2, 'a little'),
  (-1.0, 'hardly'),
)
_SPEECH = ('lse_c_fixed', 'lse_c_exact')


def sentences(systems: Sequence[System]) -> list[str]:
  """Mouth, picture, likeness and trust; without what was not measured."""
  found = (_mouth(systems), _picture(systems), _likeness(systems))
  return [text for text in (*found, _trust(systems)) if text]


def frozen(system: System) -> bool:
  """Whether neither mouth nor head moves, by the numbers."""
  mouth = _value(system, 'mouth_spread_ratio')
  head = _value(system, 'pose_variance_ratio')
  return mouth is not None and mouth < _FROZEN and (head or 0.0) < _FROZEN


def sources(system: System) -> int:
  """Recordings that clips come from: names without the number at their end."""
  return len({re.sub(r'[/_-]\d+$', '', name) for name in system.rows})


def _value(system: System, name: str) -> float | None:
  return system.scores[name].value if name in system.scores else None


def _name(system: System) -> str:
  return f'<bdi>{escape(system.name)}</bdi>'


def _others(
  systems: Sequence[System],
  name: str,
  say: Callable[[System, str], str] | None = None,
  digits: int = 2,
) -> str:
  """The other systems' numbers in brackets; frozen ones are named so.

  Args:
    systems: the first is left out.
    name: of the score.
    say: words for a system and its number, instead.
    digits: decimals.
  """
  said = []
  for system in systems[1:]:
    value = _value(system, name)
    if value is None:
      continue
    text = number(value, digits)
    if say:
      said.append(say(system, text))
    elif frozen(system):
      said.append(f'a frozen picture, {_name(system)}, gets {text}')
    else:
      said.append(f'{_name(system)} {text}')
  return f' ({"; ".join(said)})' if said else ''


def _of_frozen(systems: Sequence[System], name: str) -> list[float]:
  """What frozen pictures beside the first system get."""
  values = [_value(system, name) for system in systems[1:] if frozen(system)]
  return [value for value in values if value is not None]


def _mouth(systems: Sequence[System]) -> str:
  first, said = systems[0], []
  follows = _value(first, 'mouth_correlation')
  if follows is not None:
    word = next(word for least, word in _FOLLOWS if follows >= least)
    still = _of_frozen(systems, 'mouth_correlation')
    if any(value >= follows for value in still):
      word = 'no better than a frozen picture does'
    said.append(
      f'it follows the speech {word}. Its opening goes with the true mouth’s '
      f'by {number(follows, 2)}, where 1 is exactly so'
      f'{_others(systems, "mouth_correlation")}.'
    )
  else:
    said += [_lips(systems, name) for name in _SPEECH if name in first.scores]
    said = said[:1]
  far = _value(first, 'mouth_spread_ratio')
  if far is not None:
    said.append(
      f'It opens {number(far, 2)} times as far as the true one'
      f'{_others(systems, "mouth_spread_ratio")}.'
    )
  return f'<b>Mouth:</b> {" ".join(said)}' if said else ''


def _lips(systems: Sequence[System], name: str) -> str:
  score = systems[0].scores[name]
  true = '' if score.real is None else f', of true clips {score.real:.2f}'
  return (
    f'SyncNet’s confidence that lips fit the sound is {score.value:.2f}{true}'
    f'{_others(systems, name)}.'
  )


def _picture(systems: Sequence[System]) -> str:
  name = 'laplacian_ratio_frame'
  sharp = _value(systems[0], name)
  if sharp is None:
    return ''
  if sharp < SHARP:
    word = 'blurred'
  elif sharp <= 1 / SHARP:
    word = 'about as sharp as the true one'
  else:
    word = 'sharper than the true one, which noise can do'

  def say(system: System, text: str) -> str:
    near = abs(system.scores[name].value - sharp) <= _ALIKE * sharp
    if sharp < SHARP and near:
      return f'{_name(system)} is as blurred, {text}'
    return f'{_name(system)} {text}'

  return (
    f'<b>Picture:</b> {word}, {number(sharp, 2)} of the true sharpness'
    f'{_others(systems, name, say)}.'
  )


def _likeness(systems: Sequence[System]) -> str:
  first, said = systems[0], []
  away = _value(first, 'lmd')
  if away is not None:
    said.append(
      f'the face is {number(away, 2)} eye distances from where the true one is'
      f'{_others(systems, "lmd")}.'
    )
    if any(value < away for value in _of_frozen(systems, 'lmd')):
      said.append(
        'Not to move at all is nearer: scores that compare frame by frame '
        '(PSNR, SSIM, distances) do not tell whether such motion looks right.'
      )
  same = _value(first, 'csim')
  if same is not None:
    said.append(
      f'{"The" if said else "the"} likeness of the person (CSIM) is '
      f'{number(same, 2)} of 1{_others(systems, "csim")}.'
    )
  elif said:
    said.append('Whether it looks like the same person was not measured.')
  else:
    said += [_pixels(systems, x) for x in ('lpips_alex', 'psnr', 'ssim')]
    said = [text for text in said if text][:1]
  return f'<b>Position and likeness:</b> {" ".join(said)}' if said else ''


def _pixels(systems: Sequence[System], name: str) -> str:
  value, about = _value(systems[0], name), labels.label(name)
  if value is None:
    return ''
  return (
    f'{about.title} is {number(value, about.digits)}'
    f'{_others(systems, name, digits=about.digits)}, '
    f'{labels.ARROWS[systems[0].scores[name].better][1]}.'
  )


def _trust(systems: Sequence[System]) -> str:
  count = systems[0].sets['fake']['clips']
  of = (
    f'{plural(count, "clip")} of {plural(sources(systems[0]), "source")} (by '
    'their names)'
  )
  if count >= FEW_CLIPS:
    said = f'fair, {of}'
  else:
    said = f'low, {of} are few'
  if len(systems) > 1:
    said += ': trust only rows marked better or worse'
  else:
    said += ': mind the intervals beside the numbers'
  return f'<b>Trust:</b> {said}.'

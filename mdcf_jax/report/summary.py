"""The page in plain words, for somebody who has not seen the project."""

from collections.abc import Mapping, Sequence

from mdcf_jax.pages.markup import escape, minutes, number, plural
from mdcf_jax.report import judgement, labels
from mdcf_jax.report.curves import drift, kept
from mdcf_jax.report.systems import System
from mdcf_jax.report.verdict import BETTER, OPEN, WORSE, Verdict

FEW_FRAMES = 2048  # Features of Inception: below, FID is biased.
_MUCH = 0.1  # Relative change that counts as drift.
# Of these a change means that pictures get worse. Not of PSNR, which falls as
# soon as a head moves otherwise than the true one.
_DRIFTS = {'laplacian_ratio_frame': 'one', 'csim': 'higher'}


def lead(systems: Sequence[System]) -> str:
  """What the page is about, in a sentence or two."""
  fake = systems[0].sets['fake']
  others = ', '.join(f'<bdi>{escape(x.name)}</bdi>' for x in systems[1:])
  beside = f' Beside them stand: {others}.' if others else ''
  return (
    f'{plural(fake["clips"], "clip")} of talking heads '
    f'({minutes(fake["frames"] / systems[0].fps)} minutes) were compared with '
    f'true recordings.{beside}'
  )


def who(systems: Sequence[System]) -> str:
  """A line for each system that is described."""
  items = ''.join(
    f'<li>{_name(system)}: {escape(system.about)}</li>'
    for system in systems
    if system.about
  )
  return f'<ul class="who">{items}</ul>' if items else ''


def to_html(
  systems: Sequence[System], verdicts: Mapping[str, Mapping[str, Verdict]]
) -> str:
  """What the numbers say, what a talking head is, and how far to trust them."""
  first = systems[0]
  said = [_beside(first, other, verdicts) for other in systems[1:]]
  said += _falling_apart(first)
  said += _doubts(systems)
  return (
    f'{_list(judgement.sentences(systems))}<p>A talking head is a video that a '
    'program makes from one picture of a face and a recording of speech. Here '
    'the picture and the speech come from true videos, so that each generated '
    'clip has a true one to be compared with. What true clips get, by '
    'themselves or beside themselves, stands beside the scores as the measure; '
    'a score that does not tell them from generated ones tells little.</p>'
    f'{_list(said)}'
  )


def _list(said: Sequence[str]) -> str:
  items = ''.join(f'<li>{text}</li>' for text in said)
  return f'<ul class="look">{items}</ul>' if items else ''


def _beside(first: System, other: System, verdicts) -> str:
  found = verdicts[other.name]
  if not found:
    return (
      f'Too few clips to say whether {_name(first)} is better than '
      f'{_name(other)}.'
    )
  count = {
    word: sum(verdict.word == word for verdict in found.values())
    for word in (BETTER, WORSE, OPEN)
  }
  named = {
    word: _names([n for n, v in found.items() if v.word == word])
    for word in (BETTER, WORSE)
  }
  text = (
    f'{_name(first)} beside {_name(other)}, of {len(found)} scores that '
    f'compare clip by clip: better in '
    f'{count[BETTER]}{named[BETTER]}, worse in {count[WORSE]}{named[WORSE]}, '
    f'no clear difference in {count[OPEN]}.'
  )
  return text


def _names(names: Sequence[str], most: int = 4) -> str:
  """A few titles in brackets, the first of the table first."""
  if not names:
    return ''
  names = sorted(names, key=lambda name: labels.label(name).order)
  titles = [
    labels.label(name).title.partition(' (')[0]
    for name in names
    if not labels.label(name).title.startswith('…')
  ]
  text = '; '.join(titles[:most])
  more = '; …' if len(names) > len(titles[:most]) else ''
  return f' ({escape(text)}{more})' if titles else ''


def _name(system: System) -> str:
  return f'<bdi>{escape(system.name)}</bdi>'


def _falling_apart(system: System) -> list[str]:
  """Whether pictures get worse from the start of a clip to its end."""
  worse, known, blurred = [], [], ''
  for name, better in _DRIFTS.items():
    if name not in system.curves['fake']:
      continue
    pair = drift(kept(system.curves['fake'][name]))
    if pair is None or not pair[0]:
      continue
    about, change = labels.label(name), pair[1] / pair[0] - 1
    known.append(about.title)
    bad = change < -_MUCH
    if better == 'one':
      bad = abs(change) > _MUCH and abs(pair[1] - 1) > abs(pair[0] - 1)
    if better == 'one' and pair[0] < judgement.SHARP:
      start = number(pair[0], about.digits)
      blurred = f' Pictures are blurred from the start: {start}.'
    if bad:
      worse.append(
        f'{escape(about.title)} from {number(pair[0], about.digits)} to '
        f'{number(pair[1], about.digits)}'
      )
  if worse:
    return [
      'Pictures change from the first to the last fifth of a clip: '
      f'{"; ".join(worse)}. <a href="#over-time">See the curves</a>.'
    ]
  if known:
    return [
      f'No sign that clips fall apart as they go on, by '
      f'{escape(" and ".join(known))} alone: less than a tenth is lost from '
      f'the first to the last fifth.{blurred}'
    ]
  return []


def _doubts(systems: Sequence[System]) -> list[str]:
  """What keeps one from believing the numbers."""
  first, said = systems[0], []
  if 'fid' in first.scores and first.sets['fake']['frames'] < FEW_FRAMES:
    said.append(
      f'FID is of fewer than {number(FEW_FRAMES)} frames, which makes it too '
      'large by much.'
    )
  if first.skipped:
    said.append(
      f'{plural(len(first.skipped), "metric")} could not be computed: '
      '<a href="#scores">why</a>.'
    )
  if first.failed:
    said.append(
      f'{plural(len(first.failed), "clip")} could not be read: '
      '<a href="#how-it-was-measured">which</a>.'
    )
  others = [
    _name(other) for other in systems[1:] if _true(other) != _true(first)
  ]
  if others:
    said.append(
      f'Of other true clips than {_name(first)}, so hardly to be compared: '
      f'{", ".join(others)}.'
    )
  return said


def _true(system: System) -> dict[str, str | None]:
  """Hashes of the true clips, by name."""
  return {k: row['sha256'].get('real') for k, row in system.rows.items()}

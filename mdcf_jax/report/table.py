"""The table of scores: every system beside the true clips."""

from collections.abc import Mapping, Sequence

from mdcf_jax.pages.markup import escape, number
from mdcf_jax.report import labels
from mdcf_jax.report.systems import Score, System
from mdcf_jax.report.verdict import BETTER, WORSE, Verdict

_WORDS = {BETTER: 'worse', WORSE: 'better'}  # Seen from the other system.


def to_html(
  systems: Sequence[System], verdicts: Mapping[str, Mapping[str, Verdict]]
) -> str:
  """The table and what was not computed.

  Args:
    systems: the first one is what the page is about.
    verdicts: of the first beside each other one, by its name.
  """
  names = {name for system in systems for name in system.scores}
  names = labels.shown(names)
  columns = len(systems) + 2
  body, group = [], None
  for name in names:
    about = labels.label(name)
    if about.group != group:
      group = about.group
      body.append(
        f'<tr class="group"><th colspan="{columns}" scope="rowgroup">'
        f'<span>{escape(group)}</span></th></tr>'
      )
    body.append(_row(name, about, systems, verdicts))
  body += _blank(systems, columns)
  head = ''.join(f'<th>{_name(system)}</th>' for system in systems)
  return (
    f'{_legend(systems)}<div class="scroll"><table class="scores"><thead><tr>'
    f'<th>Score</th><th>True clips</th>{head}</tr></thead><tbody>'
    f'{"".join(body)}</tbody></table></div>'
  )


def _name(system: System) -> str:
  return f'<bdi>{escape(system.name)}</bdi>'


def _row(name, about, systems, verdicts) -> str:
  scores = [system.scores.get(name) for system in systems]
  first = next(score for score in scores if score is not None)
  arrow, meaning = labels.ARROWS.get(first.better, ('', ''))
  mark = (
    f' <span class="arrow" title="{meaning}">{arrow}</span>' if arrow else ''
  )
  note = f'<small>{escape(about.note)}</small>' if about.note else ''
  true = next((s.real for s in scores if s and s.real is not None), None)
  cells = [
    f'<th scope="row">{escape(about.title)}{mark}{note}</th>',
    _true(true, about.digits, labels.ideal(name, first.better)),
  ]
  for system, score in zip(systems, scores):
    if score is None:
      cells.append(f'<td class="why">{escape(_why(system, name))}</td>')
      continue
    verdict = verdicts.get(system.name, {}).get(name)
    cells.append(_cell(score, about.digits, verdict))
  return f'<tr>{"".join(cells)}</tr>'


def _true(value: float | None, digits: int, ideal: int | None) -> str:
  """The true clips' own score; else what they get beside themselves."""
  if value is not None:
    return f'<td>{number(value, digits)}</td>'
  return '<td></td>' if ideal is None else f'<td class="ideal">{ideal}</td>'


def _cell(score: Score, digits: int, verdict: Verdict | None) -> str:
  text, small = number(score.value, digits), ''
  if score.low is not None and score.high is not None:
    small = f'{number(score.low, digits)} to {number(score.high, digits)}'
  if verdict is not None and verdict.word in _WORDS:
    word = _WORDS[verdict.word]
    small += f' <em class="{word}">{word}</em>'
  text += f' <small>{small}</small>' if small else ''
  return f'<td>{text}</td>'


def _why(system: System, name: str) -> str:
  reasons = system.no_score.get(name)
  return f'not computed: {reasons[0]}' if reasons else 'not computed'


def _blank(systems: Sequence[System], columns: int) -> list[str]:
  """Metrics that no system has, by their reasons."""
  reasons: dict[str, list[str]] = {}
  for name, reason in systems[0].skipped.items():
    if all(name in system.skipped for system in systems):
      reasons.setdefault(reason, []).append(name)
  if not reasons:
    return []
  rows = [
    f'<tr class="group"><th colspan="{columns}" scope="rowgroup">'
    '<span>Not computed</span></th></tr>'
  ]
  for reason, names in reasons.items():
    title = ', '.join(name.replace('_', ' ').upper() for name in names)
    rows.append(
      f'<tr class="blank"><th scope="row">{escape(title)}</th>'
      f'<td class="why" colspan="{columns - 1}">not computed: '
      f'{escape(reason)}</td></tr>'
    )
  return rows


def _legend(systems: Sequence[System]) -> str:
  """What the arrows, the small numbers and the words mean."""
  arrows = '; '.join(
    f'{sign} {meaning}'.replace('→ ', '→\N{NO-BREAK SPACE}')
    for sign, meaning in labels.ARROWS.values()
  )
  said = (
    f'{escape(arrows)}. Means over clips; the small numbers are 95 % bootstrap '
    'intervals over clips. In grey: what a true clip gets beside itself.'
  )
  if len(systems) > 1:
    first = _name(systems[0])
    said += (
      f' <em class="better">better</em> or <em class="worse">worse</em> beside '
      f'a number: better or worse than {first}, clip by clip, where the 95 % '
      'interval of the difference does not hold 0. With many scores some of '
      'these words are chance.'
    )
  return f'<p class="note">{said}</p>'

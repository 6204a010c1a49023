"""Whose minutes a dataset has, as a part of the report."""

from collections.abc import Mapping

from mdcf_jax.pages.markup import escape, minutes, number, percent
from mdcf_jax.prepare.report.figures import Total

SHOWN, MAX_ROWS = 12, 500  # The rows between these are folded.
TOP = 5  # So many are named in the headline,
SKEWED = 2.0  # which warns if they hold so many times their even share.
_WORDS = ('', 'One', 'Two', 'Three', 'Four', 'Five')


def ranked(people: Mapping[str, Total]) -> list[tuple[str, Total]]:
  """Those with the most minutes first."""
  return sorted(people.items(), key=lambda p: (-p[1].seconds, p[0]))


def skewed(people: Mapping[str, Total]) -> bool:
  """Whether a few hold much more than their share."""
  share, even = _shares(people)
  return share > SKEWED * even


def headline(people: Mapping[str, Total]) -> str:
  """How the minutes are spread, in a sentence."""
  if len(people) == 1:
    return 'All minutes are of one person.'
  top = _top(people)
  share, even = _shares(people)
  verb = 'holds' if top == 1 else 'hold'
  who = 'person' if top == 1 else 'people'
  return (
    f'{_WORDS[top]} {who} {verb} {percent(share, 1)} of the minutes; even '
    f'shares would give them {percent(even, 1)}.'
  )


def _top(people: Mapping[str, Total]) -> int:
  """How many the headline is about: of a few people, fewer."""
  return min(TOP, max(len(people) // 2, 1))


def _shares(people: Mapping[str, Total]) -> tuple[float, float]:
  """Of the first `_top`: the part of the minutes they hold, and the even."""
  if not people:
    return 0.0, 0.0
  top = _top(people)
  seconds = [total.seconds for _, total in ranked(people)]
  whole = sum(seconds)
  return (sum(seconds[:top]) / whole if whole else 0.0), top / len(people)


def to_html(people: Mapping[str, Total]) -> str:
  """The part of the page; at least one person."""
  rows = ranked(people)
  whole = sum(total.seconds for _, total in rows)
  largest = rows[0][1].seconds
  parts = [
    f'<p>{headline(people)}</p>',
    _table(rows[:SHOWN], whole, largest),
  ]
  folded = rows[SHOWN:MAX_ROWS]
  if folded:
    table = _table(folded, whole, largest)
    parts.append(
      f'<details><summary>{number(len(folded))} more</summary>{table}</details>'
    )
  cut = rows[MAX_ROWS:]
  if cut:
    rest = minutes(sum(total.seconds for _, total in cut))
    parts.append(
      f'<p class="note">{number(len(cut))} people with {rest} minutes '
      'together are not listed; all clips are in clips.csv.</p>'
    )
  return ''.join(parts)


def _table(rows: list[tuple[str, Total]], whole: float, largest: float) -> str:
  """Bars are parts of the largest share, the figures of all minutes."""
  body = []
  for name, total in rows:
    part = 100 * total.seconds / largest if largest else 0.0
    body.append(
      f'<tr><td class="name">{escape(name)}</td>'
      f'<td class="left wide">{escape(", ".join(sorted(total.names)))}</td>'
      f'<td>{number(total.clips)}</td><td>{minutes(total.seconds)}</td>'
      f'<td class="share"><span><i style="--part:{part:.1f}%"></i>'
      f'<b>{percent(total.seconds, whole)}</b></span></td></tr>'
    )
  return (
    '<table><thead><tr><th>Identity</th><th class="left wide">Split</th>'
    '<th>Clips</th><th>Minutes</th><th class="share">Share of the minutes</th>'
    f'</tr></thead><tbody>{"".join(body)}</tbody></table>'
  )

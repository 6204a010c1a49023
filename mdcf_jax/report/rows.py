"""The table of clips, which sorts by a click."""

from collections.abc import Sequence

from mdcf_jax.pages import markup
from mdcf_jax.pages.markup import escape, number, plural
from mdcf_jax.report import labels
from mdcf_jax.report.systems import System

MAX_ROWS = 2000


def to_html(systems: Sequence[System]) -> str:
  """A table of each system, all but the first folded."""
  parts = []
  for i, system in enumerate(systems):
    title = (
      f'<bdi>{escape(system.name)}</bdi>: {plural(len(system.rows), "clip")}'
    )
    opened = ' open' if i == 0 else ''
    parts.append(
      f'<details{opened}><summary>{title}</summary>{_table(system)}</details>'
    )
  return '<p>Click a column’s name to sort by it.</p>' + ''.join(parts)


def _table(system: System) -> str:
  names = {name for row in system.rows.values() for name in row['fake']}
  names = labels.shown(names)
  heads = ['<th><button type="button">Clip</button></th>']
  heads.append('<th><button type="button">Frames</button></th>')
  heads += [
    f'<th><button type="button">{escape(labels.alone(name))}</button></th>'
    for name in names
  ]
  chosen = list(system.rows.items())[:MAX_ROWS]
  body = ''.join(_row(clip, row, names) for clip, row in chosen)
  note = ''
  if len(system.rows) > MAX_ROWS:
    note = (
      f'<p class="note">The first {number(MAX_ROWS)} by name; all are in the '
      'file of scores.</p>'
    )
  return (
    '<div class="scroll"><table class="clips" data-sortable><thead><tr>'
    f'{"".join(heads)}</tr></thead><tbody>{body}</tbody></table></div>{note}'
  )


def _row(clip: str, row, names) -> str:
  frames = row['frames'].get('fake', row['frames'].get('real', 0))
  cells = [
    f'<td class="name" data-v="{escape(clip)}">{escape(clip)}</td>',
    f'<td data-v="{frames}">{number(frames)}</td>',
  ]
  for name in names:
    value = row['fake'].get(name)
    if value is None:
      reason = row['fake_missing'].get(name, '')
      title = f' title="{escape(reason)}"' if reason else ''
      cells.append(f'<td data-v=""{title}>{markup.NONE}</td>')
      continue
    digits = labels.label(name).digits
    cells.append(f'<td data-v="{value!r}">{number(value, digits)}</td>')
  return f'<tr>{"".join(cells)}</tr>'

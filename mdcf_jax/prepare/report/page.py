"""`report.html`: a dataset on one page, which needs nothing but a browser.

No script, no other file, nothing from the network: the page can be mailed,
archived and opened from disk.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mdcf_jax.pages import document, markup
from mdcf_jax.pages.markup import (
  escape,
  minutes,
  number,
  percent,
  plural,
  signed,
)
from mdcf_jax.prepare.report import (
  contact_sheet,
  distributions,
  identities,
  left_out,
)
from mdcf_jax.prepare.report.contact_sheet import ContactSheet
from mdcf_jax.prepare.report.figures import (
  LAG_FRAMES,
  LAG_SCORE,
  Clip,
  Summary,
  Total,
  read_clip,
)
from mdcf_jax.prepare.report.left_out import Dropped, LeftOut

MAX_SUSPECTS_SHOWN = 8  # The others are folded.
MUCH_FILLED = 0.1  # Part of a clip's frames that makes one look at it.
_PAGE = pathlib.Path(__file__).with_name('page.html')


def write_report(
  path: str | os.PathLike,
  name: str,
  records: Iterable[tuple[str, Mapping[str, Any]]],
  dropped: Iterable[Dropped],
  settings: Mapping[str, Any],
) -> None:
  """Writes the page that says what a dataset is.

  Args:
    path: of the page; what was there is replaced when the new one is whole.
    name: of the dataset.
    records: (split, record) of each clip, read once and in order. A few
      numbers of each are kept, and small pictures of some.
    dropped: what gave no clip, and why.
    settings: how the dataset was made, by name; nested ones are flattened.

  Raises:
    InputError: the page cannot be written.
  """
  summary, sheet = Summary(), ContactSheet()
  side = 0
  for split, record in records:
    clip = read_clip(split, record)
    summary.add(clip)
    sheet.add(clip, record)
    side = side or _side(record)
  body = _body(name, summary, sheet, left_out.gather(dropped), settings, side)
  document.write(path, _PAGE, title=f'{name}: dataset report', body=body)


def _side(record: Mapping[str, Any]) -> int:
  """Pixels of a frame's side; 0 if there is none to see."""
  frames = record['frames']
  size = markup.picture_size(frames[0]) if len(frames) else None
  return size[0] if size else 0


def _body(
  name: str,
  summary: Summary,
  sheet: ContactSheet,
  dropped: LeftOut,
  settings: Mapping[str, Any],
  side: int,
) -> str:
  total = summary.total()
  sections = [('Numbers', _splits(summary))]
  if total.clips:
    sections += [
      ('People', identities.to_html(summary.people)),
      ('Faces', distributions.faces(summary)),
      ('Sound and picture', distributions.clips(summary) + _suspects(summary)),
      ('Contact sheet', _contact_sheet(sheet)),
    ]
  sections.append(('Left out', left_out.to_html(dropped, total.clips)))
  sections.append(('How it was made', _settings(settings)))
  links, parts = [], []
  for title, content in sections:
    anchor = title.lower().replace(' ', '-')
    links.append(f'<a href="#{anchor}">{title}</a>')
    parts.append(f'<section id="{anchor}"><h2>{title}</h2>{content}</section>')
  return (
    f'<header><p class="kicker">Dataset report</p><h1>{escape(name)}</h1>'
    f'<p class="lead">{_lead(total, side)}</p><nav>{"".join(links)}</nav>'
    f'{_tiles(total, dropped)}</header>'
    f'<main>{_findings(summary, total, dropped)}{"".join(parts)}</main>'
  )


def _lead(total: Total, side: int) -> str:
  """The dataset in a sentence."""
  if not total.clips:
    return 'No clip was kept.'
  size = f', {side} × {side} pixels' if side else ''
  return (
    f'{plural(total.clips, "clip")} of '
    f'{plural(len(total.names), "person", "people")}, '
    f'{minutes(total.seconds)} minutes{size}; '
    f'{number(total.with_sound)} with sound.'
  )


def _tiles(total: Total, dropped: LeftOut) -> str:
  figures = {
    'clips': number(total.clips),
    'minutes': minutes(total.seconds),
    'identities': number(len(total.names)),
    'frames': number(total.frames),
    'left out': number(dropped.count),
  }
  tiles = ''.join(
    f'<div><dt>{name}</dt><dd>{value}</dd></div>'
    for name, value in figures.items()
  )
  return f'<dl class="tiles">{tiles}</dl>'


def _findings(summary: Summary, total: Total, dropped: LeftOut) -> str:
  """What somebody should know before training on it; '' if nothing."""
  said = []
  if summary.num_suspects:
    said.append(
      f'{plural(summary.num_suspects, "clip")} may have sound that is more '
      f'than {LAG_FRAMES:g} frames off: <a href="#suspects">see which</a>.'
    )
  both = sorted(n for n, p in summary.people.items() if len(p.names) > 1)
  if both:
    names = ', '.join(escape(name) for name in both[:5])
    said.append(
      f'{plural(len(both), "person is", "people are")} in more than one '
      f'split: {names}{", …" if len(both) > 5 else ""}.'
    )
  if identities.skewed(summary.people):
    said.append(identities.headline(summary.people))
  much = int((summary.column('filled') > MUCH_FILLED).sum())
  if much:
    said.append(
      f'In {plural(much, "clip")} the face was not found in more than '
      f'{percent(MUCH_FILLED, 1)} of the frames, and was filled in.'
    )
  if 0 < total.clips - total.with_sound < total.clips:
    said.append(
      f'{plural(total.clips - total.with_sound, "clip")} without sound: '
      'these teach pictures and motion, not speech.'
    )
  if dropped.count > total.clips:
    said.append('More was left out than kept: <a href="#left-out">why</a>.')
  if not said:
    return ''
  items = ''.join(f'<li>{text}</li>' for text in said)
  return (
    f'<section><h2>Worth knowing</h2><ul class="look">{items}</ul></section>'
  )


def _splits(summary: Summary) -> str:
  """The table of numbers by split."""
  names = ('Split', 'Clips', 'With sound', 'Minutes', 'Identities', 'Frames')
  head = ''.join(f'<th>{name}</th>' for name in names)
  order = sorted(summary.splits, key=lambda s: (s != 'train', s))
  rows = [(split, summary.splits[split]) for split in order]
  body = ''.join(f'<tr>{_cells(*row)}</tr>' for row in rows)
  return (
    f'<table class="counts"><thead><tr>{head}</tr></thead>'
    f'<tbody>{body}</tbody><tfoot><tr>{_cells("All", summary.total())}</tr>'
    '</tfoot></table>'
  )


def _cells(name: str, total: Total) -> str:
  values = (
    escape(name),
    number(total.clips),
    number(total.with_sound),
    minutes(total.seconds),
    number(len(total.names)),
    number(total.frames),
  )
  return ''.join(f'<td>{value}</td>' for value in values)


def _suspects(summary: Summary) -> str:
  """The table of clips whose sound seems off."""
  clips = summary.suspects()
  if not clips:
    return ''
  shown, folded = clips[:MAX_SUSPECTS_SHOWN], clips[MAX_SUSPECTS_SHOWN:]
  parts = [
    '<h3 id="suspects">Sound that may be off '
    f'<small>{number(summary.num_suspects)}</small></h3>'
    f'<p>More than {LAG_FRAMES:g} frames, with a score of at least '
    f'{LAG_SCORE:g}. Positive: the sound comes after the picture. It is a '
    'guess by the mouth and the loudness; look and listen.</p>',
    _suspect_table(shown),
  ]
  if folded:
    parts.append(
      f'<details><summary>{number(len(folded))} more</summary>'
      f'{_suspect_table(folded)}</details>'
    )
  if summary.num_suspects > len(clips):
    parts.append(
      f'<p class="note">The {number(len(clips))} farthest off are listed; '
      'all are in clips.csv.</p>'
    )
  return ''.join(parts)


def _suspect_table(clips: list[Clip]) -> str:
  rows = ''.join(
    f'<tr><td class="name">{escape(clip.id)}</td>'
    f'<td class="left wide"><bdi>{escape(clip.identity)}</bdi></td>'
    f'<td>{signed(clip.quality["lag"])}</td>'
    f'<td>{number(clip.quality["lag_score"], 2)}</td></tr>'
    for clip in clips
  )
  return (
    '<table class="counts"><thead><tr><th>Clip</th><th class="left wide">'
    f'Identity</th><th>Frames</th><th>Score</th></tr></thead>'
    f'<tbody>{rows}</tbody></table>'
  )


def _contact_sheet(sheet: ContactSheet) -> str:
  return (
    '<p>White: the box of the face. Yellow: that of the mouth. Blue: the '
    'landmarks of lips, chin, eyelids and nose. Dashed: no face was found in '
    'this frame, and the boxes are filled in between its neighbours.</p>'
    '<label class="toggle"><input type="checkbox" checked> Boxes and '
    f'landmarks</label>{contact_sheet.to_html(sheet)}'
  )


def _settings(settings: Mapping[str, Any]) -> str:
  items = ''.join(
    f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>'
    for key, value in _flatten(settings)
  )
  if not items:
    return '<p>It is not known.</p>'
  return f'<dl class="settings">{items}</dl>'


def _flatten(settings: Mapping[str, Any], prefix: str = ''):
  """Yields (name, text) of each setting, 'outer.inner' for nested ones."""
  for key, value in settings.items():
    name = f'{prefix}{key}'
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{name}.')
    elif isinstance(value, (list, tuple)):
      yield name, ', '.join(str(part) for part in value) or markup.NONE
    elif isinstance(value, bool):
      yield name, 'yes' if value else 'no'
    else:
      yield name, markup.NONE if value in (None, '') else value

"""What gave no clip, sorted by reason, as a part of the report."""

import dataclasses
import re
from collections.abc import Iterable

from mdcf_jax.pages import markup
from mdcf_jax.pages.markup import escape, number, percent, plural

MAX_PICTURES = 200  # In the page, and at most so many of one reason:
MAX_PICTURES_EACH = 24
MAX_ROWS = 2000  # In the page, and at most so many of one reason:
MAX_ROWS_EACH = 500
MAX_REASONS = 40
SHOWN = 6  # Of one reason; the others are folded.
SIDE = 144  # Pixels of a picture.
OTHERS = 'Other reasons'


@dataclasses.dataclass(frozen=True)
class Dropped:
  """A unit, or a stretch of one, that gave no clip.

  Attributes:
    id, source, identity: as they would be in a record.
    reason: why, in one line.
    start, end: of the stretch, seconds after the first frame; None is the end
      of the video.
    picture: a small JPEG file, or None.
  """

  id: str
  source: str
  identity: str
  reason: str
  picture: bytes | None = None
  start: float = 0.0
  end: float | None = None


@dataclasses.dataclass
class Group:
  """Those with one reason; `rows` and `pictures` are the first of them."""

  count: int = 0
  rows: list[Dropped] = dataclasses.field(default_factory=list)
  pictures: int = 0


@dataclasses.dataclass
class LeftOut:
  """All of them: `count`, and a Group by reason."""

  count: int = 0
  groups: dict[str, Group] = dataclasses.field(default_factory=dict)

  def add(self, dropped: Dropped) -> None:
    """Counts one, and keeps it while there is room."""
    self.count += 1
    name = kind(dropped)
    if name not in self.groups and len(self.groups) >= MAX_REASONS:
      name = OTHERS
    group = self.groups.setdefault(name, Group())
    group.count += 1
    groups = self.groups.values()
    full = sum(len(g.rows) for g in groups) >= MAX_ROWS
    if full or len(group.rows) >= MAX_ROWS_EACH:
      return
    picture, pictures = None, sum(g.pictures for g in groups)
    if group.pictures < MAX_PICTURES_EACH and pictures < MAX_PICTURES:
      picture = markup.small_jpeg(dropped.picture, SIDE, quality=72)
    group.pictures += picture is not None
    group.rows.append(dataclasses.replace(dropped, picture=picture))


def gather(dropped: Iterable[Dropped]) -> LeftOut:
  """Sorts them by reason."""
  left_out = LeftOut()
  for entry in dropped:
    left_out.add(entry)
  return left_out


def kind(dropped: Dropped) -> str:
  """A reason without what differs from one video to the next.

  That is the name of the video, numbers, and what follows a colon, a comma or
  a bracket.
  """
  reason = ' '.join(dropped.reason.split())
  video = re.split(r'[/\\]', dropped.source)[-1]
  for name in filter(None, (dropped.source, video, dropped.id)):
    before, found, after = reason.partition(name)
    if found and (' ' not in before or before.startswith('/')):
      reason = after.lstrip(': ')
    elif found:
      reason = f'{before}…{after}'
  short = re.split(r'[:;,(]', reason)[0].strip() or reason
  short = re.sub(r'\d+([.,:/]\d+)*', '…', short)[:100]
  return short[:1].upper() + short[1:] if short else 'No reason given'


def to_html(left_out: LeftOut, num_clips: int) -> str:
  """The part of the page; `num_clips` are those that were kept."""
  if not left_out.count:
    return '<p>Nothing was left out.</p>'
  total = left_out.count + num_clips
  share = percent(left_out.count, total)
  groups = sorted(left_out.groups.items(), key=lambda g: (-g[1].count, g[0]))
  rows = ''.join(
    f'<tr><td><a href="#reason-{i}">{escape(name)}</a></td>'
    f'<td>{number(group.count)}</td></tr>'
    for i, (name, group) in enumerate(groups)
  )
  parts = [
    f'<p>{plural(left_out.count, "stretch", "stretches")} of video gave no '
    f'clip: {share} of what was looked at.</p>'
    '<table class="counts"><thead><tr><th>Reason</th><th>Number</th></tr>'
    f'</thead><tbody>{rows}</tbody></table>'
  ]
  parts += [_group(i, *group) for i, group in enumerate(groups)]
  return ''.join(parts)


def _group(index: int, name: str, group: Group) -> str:
  # What can be seen comes first.
  rows = sorted(group.rows, key=lambda row: row.picture is None)
  shown, folded = rows[:SHOWN], rows[SHOWN:]
  title = f'{escape(name)} <small>{number(group.count)}</small>'
  parts = [f'<h3 id="reason-{index}">{title}</h3>', _list(shown)]
  more = group.count - len(shown)
  if folded:
    parts.append(
      f'<details><summary>{number(more)} more</summary>{_list(folded)}'
    )
  cut = group.count - len(rows)
  if cut:
    parts.append(
      f'<p class="note">{number(cut)} more are not shown; all are in '
      'clips.csv.</p>'
    )
  parts.append('</details>' if folded else '')
  return ''.join(parts)


def _list(rows: list[Dropped]) -> str:
  return f'<ul class="dropped">{"".join(_row(row) for row in rows)}</ul>'


def _times(row: Dropped) -> str:
  if not row.start and row.end is None:
    return ''  # All of it.
  end = 'the end' if row.end is None else f'{number(row.end, 1)} s'
  return f' · {number(row.start, 1)} to {end}'


def _row(row: Dropped) -> str:
  picture = '<span class="nothing">no picture</span>'
  if row.picture:
    uri = markup.data_uri(row.picture)
    picture = f'<img src="{uri}" alt="A frame of {escape(row.id)}">'
  identity = f' · <bdi>{escape(row.identity)}</bdi>' if row.identity else ''
  return (
    f'<li>{picture}<div><b class="name">{escape(row.id)}</b>'
    f'<span><bdi>{escape(row.source)}</bdi>{identity}{_times(row)}</span>'
    f'<span>{escape(row.reason)}</span></div></li>'
  )

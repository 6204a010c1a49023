"""`report.html`: scores of systems on one page, which needs but a browser.

Nothing is loaded from elsewhere: videos and pictures lie in the page, so it can
be mailed, archived and opened from disk.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mdcf_jax.pages import document
from mdcf_jax.pages.markup import escape, minutes, number
from mdcf_jax.report import (
  clips,
  curves,
  flows,
  labels,
  provenance,
  rows,
  summary,
  table,
  verdict,
)
from mdcf_jax.report.systems import System

_PAGE = pathlib.Path(__file__).with_name('page.html')
_SCRIPT = pathlib.Path(__file__).with_name('page.js')
_NO_VIDEOS = (
  '<p class="none">Not shown: the page was made without the folders of the '
  'clips (<code>--real</code>, <code>--fake</code>).</p>'
)


@dataclasses.dataclass(frozen=True)
class Videos:
  """Where the clips are, and how many of them are shown.

  Attributes:
    true: files by the names of clips.
    fakes: the same of each system that has a folder, by its name.
    limits: of what is shown.
    sort_by: name of a score; None for the first of `clips.SORT_BY`.
    estimator: of flow: its name and function, or why there is none.
  """

  true: Mapping[str, pathlib.Path]
  fakes: Mapping[str, Mapping[str, pathlib.Path]]
  limits: clips.Limits
  sort_by: str | None
  estimator: Any


def write_report(
  path: str | os.PathLike,
  systems: Sequence[System],
  videos: Videos | None = None,
  *,
  title: str | None = None,
) -> None:
  """Writes the page.

  Args:
    path: of the page; what was there is replaced when the new one is whole.
    systems: the first is what the page is about, others stand beside it.
    videos: None shows none.
    title: of the page.

  Raises:
    InputError: the page cannot be written, or clips cannot be sorted by that.
  """
  first = systems[0]
  title = title or f'How close does {first.name} come to true recordings?'
  verdicts = {
    other.name: verdict.compare(first, other) for other in systems[1:]
  }
  shown, flow = _pictures(systems, videos)
  sections = [
    ('In short', summary.to_html(systems, verdicts)),
    ('Clips', shown),
    ('Scores', table.to_html(systems, verdicts)),
    ('Over time', curves.to_html(systems)),
    ('Motion', flow),
    ('Every clip', rows.to_html(systems)),
    ('How it was measured', provenance.to_html(systems)),
  ]
  body = _header(title, systems, sections) + ''.join(
    f'<section id="{_anchor(name)}"><h2>{name}</h2>{content}</section>'
    for name, content in sections
  )
  document.write(
    path,
    _PAGE,
    title=title,
    body=f'{body}</main>',
    script=_SCRIPT.read_text(encoding='utf-8'),
  )


def _pictures(systems, videos: Videos | None) -> tuple[str, str]:
  """Videos of clips, and pictures of their motion."""
  if videos is None or systems[0].name not in videos.fakes:
    return _NO_VIDEOS, _NO_VIDEOS
  key = clips.sort_key(systems[0], videos.sort_by)
  if not key:
    none = '<p class="none">Not shown: no clip has a score of its own.</p>'
    return none, none
  there = videos.true.keys() & videos.fakes[systems[0].name].keys()
  chosen = clips.choose(systems[0], key, videos.limits.count, there)
  if not chosen:
    none = '<p class="none">Not shown: no clip with a score is a pair.</p>'
    return none, none
  shown = clips.to_html(
    chosen, key, systems, videos.true, videos.fakes, videos.limits
  )
  if isinstance(videos.estimator, str):
    reason = escape(videos.estimator)
    return shown, f'<p class="none">Not computed: {reason}</p>'
  flow = flows.to_html(
    chosen,
    videos.true,
    videos.fakes,
    videos.estimator,
    size=videos.limits.size,
    seconds=videos.limits.seconds,
  )
  return shown, flow


def _anchor(title: str) -> str:
  return title.lower().replace(' ', '-')


def _header(title: str, systems: Sequence[System], sections) -> str:
  first = systems[0]
  links = ''.join(
    f'<a href="#{_anchor(name)}">{name}</a>' for name, _ in sections
  )
  return (
    f'<header><p class="kicker">Evaluation of talking heads</p>'
    f'<h1>{escape(title)}</h1><p class="lead">{summary.lead(systems)}</p>'
    f'{summary.who(systems)}<nav>{links}</nav>{_tiles(first)}</header><main>'
  )


def _tiles(system: System) -> str:
  fake = system.sets['fake']
  figures = {
    'generated clips': number(fake['clips']),
    'minutes': minutes(fake['frames'] / system.fps),
    'scores': number(len(labels.shown(system.scores))),
    'metrics not computed': number(len(system.skipped)),
  }
  tiles = ''.join(
    f'<div><dt>{name}</dt><dd>{value}</dd></div>'
    for name, value in figures.items()
  )
  return f'<dl class="tiles">{tiles}</dl>'

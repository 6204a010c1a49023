"""Clips of the page: true and generated side by side in one video."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mdcf_jax import visualize
from mdcf_jax.errors import InputError
from mdcf_jax.pages import clips
from mdcf_jax.pages.markup import escape, number, plural
from mdcf_jax.report import labels, verdict
from mdcf_jax.report.systems import System

logger = logging.getLogger(__name__)

# What clips are sorted by unless somebody says: the first that is there.
SORT_BY = (
  *('lse_c_fixed', 'lse_c_exact', 'mouth_correlation', 'lpips_alex', 'psnr'),
  *('ssim', 'face_share'),
)
# What the worst and the best clips are by, in words; else by the score's name.
_HEADINGS = {
  'lse_c_fixed': ('Lips fit the sound least', 'Lips fit the sound most'),
  'lse_c_exact': ('Lips fit the sound least', 'Lips fit the sound most'),
  'mouth_correlation': ('Mouth follows least', 'Mouth follows most'),
  'lpips_alex': ('Looks least like the true clip', 'Looks most like it'),
}
GAP = 4  # White columns between panels, which keep the width even.


@dataclasses.dataclass(frozen=True)
class Limits:
  """What clips may take.

  Attributes:
    count: of clips.
    seconds: of each.
    max_bytes: of each video.
    size: pixels of a panel's side, even.
  """

  count: int = 6
  seconds: float = 6.0
  max_bytes: int = 700_000
  size: int = 256


@dataclasses.dataclass(frozen=True)
class Chosen:
  """A clip that is shown.

  Attributes:
    name: of the clip.
    place: 'worst' or 'best'.
    score: the number that it is sorted by, as text.
    heading: of its place, which tells by which score.
  """

  name: str
  place: str
  score: str
  heading: str


def sort_key(system: System, wanted: str | None) -> str:
  """The score that clips are sorted by.

  Raises:
    InputError: no clip has the score that is wanted.
  """
  having = {name for row in system.rows.values() for name in row['fake']}
  having &= {n for n, score in system.scores.items() if score.better}
  if wanted is not None:
    if wanted not in having:
      raise InputError(
        f'{system.name} has no {wanted!r} of clips; there are: '
        f'{", ".join(sorted(having)) or "none"}'
      )
    return wanted
  return next(
    (name for name in (*SORT_BY, *sorted(having)) if name in having), ''
  )


def choose(system: System, name: str, count: int, there: set[str]):
  """The worst and the best clips, half of each; all, if they are few.

  Args:
    system: whose clips.
    name: of `sort_key`.
    count: of clips at most.
    there: clips that can be shown.
  """
  order = [clip for clip in verdict.ranked(system, name) if clip in there]
  if len(order) > count:
    best = order[: count // 2]
    worst = order[len(order) - (count - count // 2) :]
  else:
    best, worst = order[: len(order) // 2], order[len(order) // 2 :]
  digits = labels.label(name).digits
  return [
    Chosen(
      clip,
      place,
      number(system.rows[clip]['fake'][name], digits),
      _heading(name, place),
    )
    for place, some in (('worst', worst[::-1]), ('best', best))
    for clip in some
  ]


def _heading(name: str, place: str) -> str:
  worst = place == 'worst'
  if name in _HEADINGS:
    return _HEADINGS[name][0 if worst else 1]
  return f'{"Worst" if worst else "Best"} by {labels.alone(name)}'


def to_html(
  chosen: Sequence[Chosen],
  name: str,
  systems: Sequence[System],
  true: Mapping[str, pathlib.Path],
  fakes: Mapping[str, Mapping[str, pathlib.Path]],
  limits: Limits,
) -> str:
  """Videos of the clips.

  Args:
    chosen: which.
    name: the score that they are sorted by.
    systems: all of the page.
    true: files of true clips, by their names.
    fakes: files of each system that has a folder.
    limits: of the videos.
  """
  shown = [system.name for system in systems if system.name in fakes]
  total, cards = 0, {'worst': [], 'best': []}
  for clip in chosen:
    files = [true[clip.name]]
    files += [fakes[who][clip.name] for who in shown if clip.name in fakes[who]]
    names = ['true', *[who for who in shown if clip.name in fakes[who]]]
    try:
      video, poster = _video(files, limits)
    except InputError as error:
      logger.warning('%s is not shown: %s', clip.name, error)
      continue
    total += len(video.content)
    cards[clip.place].append(
      _card(clip, names, labels.alone(name), video, poster)
    )
  count = sum(map(len, cards.values()))
  parts = [
    f'<p>{plural(count, "clip")} of {number(len(systems[0].rows))}, sorted by '
    f'the score “{escape(labels.alone(name))}” of '
    f'<bdi>{escape(systems[0].name)}</bdi>; from left '
    f'to right: true{"".join(f", {escape(who)}" for who in shown)}. At most '
    f'{number(limits.seconds, 1)} s and {number(limits.max_bytes / 1000)} kB '
    f'each ({number(total / 1e6, 1)} MB together), compressed more than the '
    'clips that were scored.</p>'
  ]
  headings = {clip.place: clip.heading for clip in chosen}
  for place in ('worst', 'best'):
    if cards[place]:
      parts.append(f'<h3>{escape(headings[place])}</h3>')
      parts.append(f'<ul class="videos">{"".join(cards[place])}</ul>')
  return ''.join(parts)


def _video(files: Sequence[pathlib.Path], limits: Limits):
  """Panels in one video, and its first picture."""
  read = [clips.read(path, limits.size, limits.seconds) for path in files]
  length = min(len(frames) for frames, _ in read)
  panels = visualize.side_by_side([x[:length] for x, _ in read], GAP)
  # The generated clip's sound; the true one's where it has none.
  waveform = next((w for _, w in [*read[1:], read[0]] if w is not None), None)
  if waveform is not None:
    waveform = waveform[: length * clips.SAMPLE_RATE // clips.FPS]
  small = clips.encode(panels, waveform, limits.max_bytes, mark=True)
  return small, clips.picture_uri(panels[0], quality=70)


def _card(clip, names, title, video, poster) -> str:
  columns = ''.join(f'<span><bdi>{escape(name)}</bdi></span>' for name in names)
  width = len(names)
  return (
    f'<li style="--panels:{width}"><div class="panels">{columns}</div>'
    '<video controls playsinline preload="metadata" '
    f'poster="{poster}" src="{video.uri}"></video>'
    f'<b class="name">{escape(clip.name)}</b><span class="value">'
    f'{escape(title)} {clip.score} · {number(video.seconds, 1)} s</span></li>'
  )


def loudest_moment(frames: np.ndarray) -> int:
  """The frame before the largest change of a clip `[T, H, W, 3]`, T >= 2."""
  changes = [
    np.abs(b.astype(np.int16) - a).mean() for a, b in zip(frames, frames[1:])
  ]
  return int(np.argmax(changes))

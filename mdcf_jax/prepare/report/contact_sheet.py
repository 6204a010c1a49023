"""A picture of some clips, with what was found in it drawn over it.

The pictures are made while the records pass by, and only of clips that stay:
the odd ones of each kind, and a choice that depends on the clips' ids alone.
"""

import dataclasses
import hashlib
import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcf_jax.pages import markup
from mdcf_jax.pages.markup import escape, number, percent, signed
from mdcf_jax.prepare.report.figures import Clip

MAX_CELLS = 200
MAX_ODD = 24  # Of each kind.
SMALL_FACE = 100  # Pixels high, in the video: less is blurred in a portrait.
SIDE = 176  # Pixels of a picture.


@dataclasses.dataclass(frozen=True)
class Cell:
  """One clip on the sheet.

  Attributes:
    clip: its figures.
    picture: a JPEG file, None if the frame cannot be read.
    face, mouth: `[4]` boxes (x0, y0, x1, y1) in [0, 1].
    points: `[n, 2]` landmarks in [0, 1].
    filled: whether the face was not found in this frame.
  """

  clip: Clip
  picture: bytes | None
  face: np.ndarray
  mouth: np.ndarray
  points: np.ndarray
  filled: bool


class ContactSheet:
  """Chooses the clips, and keeps their pictures.

  Args:
    max_cells: how many pictures at most.
    max_odd: how many of them at most for each kind of oddity.
    seed: of the choice.
  """

  def __init__(
    self, max_cells: int = MAX_CELLS, max_odd: int = MAX_ODD, seed: int = 0
  ):
    self.max_cells, self.seed = max_cells, seed
    odd = {kind: (max_odd, []) for kind in ('lag', 'filled', 'face')}
    self._kinds = odd | {'any': (max_cells, [])}
    self._seen = 0

  def add(self, clip: Clip, record: Mapping[str, Any]) -> None:
    """Takes the clip in if it is odder than others, or drawn."""
    self._seen += 1
    if not len(record['frames']):
      return
    ranks = _ranks(clip) | {'any': self._draw(clip.id)}
    wanted = [
      kind
      for kind, (room, heap) in self._kinds.items()
      if np.isfinite(ranks[kind])
      and (len(heap) < room or ranks[kind] > heap[0][0])
    ]
    if not wanted:
      return
    cell = _make_cell(clip, record, gap='filled' in wanted)
    for kind in wanted:
      room, heap = self._kinds[kind]
      heapq.heappush(heap, (ranks[kind], -self._seen, cell))
      if len(heap) > room:
        heapq.heappop(heap)

  def cells(self) -> tuple[list[tuple[Cell, list[str]]], list[Cell]]:
    """(the odd ones, each with what is odd about it; the drawn ones)."""
    kinds: dict[int, list[str]] = {}
    cells = {}
    for kind, (_, heap) in self._kinds.items():
      for _, order, cell in sorted(heap, reverse=True):
        cells.setdefault(order, cell)
        if kind != 'any':
          kinds.setdefault(order, []).append(kind)
    odd = [(cells[order], why) for order, why in kinds.items()]
    odd = odd[: self.max_cells]
    drawn = [cell for order, cell in cells.items() if order not in kinds]
    drawn = drawn[: self.max_cells - len(odd)]
    return odd, sorted(drawn, key=lambda c: (c.clip.identity, c.clip.id))

  def _draw(self, name: str) -> float:
    """A number in [0, 1) by the id: another clip does not change the choice."""
    text = f'{self.seed}/{name}'.encode('utf-8', 'backslashreplace')
    digest = hashlib.blake2b(text, digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def _ranks(clip: Clip) -> dict[str, float]:
  """How odd a clip is in each way; NaN if it is not."""
  lag = abs(clip.quality['lag']) if clip.suspect else np.nan
  filled = clip.filled if clip.filled > 0 else np.nan
  size = clip.quality['face_pixels']
  face = -size if size < SMALL_FACE else np.nan
  return {'lag': lag, 'filled': filled, 'face': face}


def _make_cell(clip: Clip, record: Mapping[str, Any], gap: bool) -> Cell:
  """The frame in the middle of the clip, or of its longest gap."""
  detected = np.asarray(record['detected'], bool)
  index = len(detected) // 2
  if gap:
    index = _middle_of_gap(detected)
  elif detected.any():
    found = np.flatnonzero(detected)
    index = int(found[np.argmin(np.abs(found - index))])
  return Cell(
    clip=dataclasses.replace(clip, frames={}),
    picture=markup.small_jpeg(record['frames'][index], SIDE),
    face=np.array(record['face_box'][index]),
    mouth=np.array(record['mouth_box'][index]),
    points=np.array(record['landmarks'][index]),
    filled=not detected[index],
  )


def _middle_of_gap(detected: np.ndarray) -> int:
  """The frame in the middle of the longest run without a face."""
  edges = np.flatnonzero(np.diff(np.concatenate([[1], detected, [1]])))
  starts, ends = edges[::2], edges[1::2]
  longest = int(np.argmax(ends - starts))
  return int(starts[longest] + ends[longest] - 1) // 2


def to_html(sheet: ContactSheet) -> str:
  """The sheet as a part of the page; '' without any clip."""
  odd, drawn = sheet.cells()
  parts = []
  if odd:
    parts.append('<h3>The odd ones</h3>')
    parts.append(_grid(_card(cell, _tags(cell, why)) for cell, why in odd))
  if drawn:
    title = 'Others, drawn by lot' if odd else 'Drawn by lot'
    parts.append(f'<h3>{title}</h3>')
    parts.append(_grid(_card(cell, []) for cell in drawn))
  return ''.join(parts)


def _grid(cards) -> str:
  return f'<ul class="sheet">{"".join(cards)}</ul>'


def _tags(cell: Cell, kinds: list[str]) -> list[str]:
  """What is odd about a clip, in a few characters each."""
  quality = cell.clip.quality
  said = {
    'lag': f'sound {signed(quality["lag"])} frames',
    'filled': f'{percent(cell.clip.filled, 1)} filled',
    'face': f'face {number(quality["face_pixels"])} px',
  }
  return [said[kind] for kind in kinds]


def _card(cell: Cell, tags: list[str]) -> str:
  clip = cell.clip
  marks = ''.join(f'<em>{escape(tag)}</em>' for tag in tags)
  return (
    f'<li>{_picture(cell)}<b class="name">{escape(clip.id)}</b>'
    f'<span><bdi>{escape(clip.identity)}</bdi> · '
    f'{number(clip.seconds, 1)} s</span>{marks}</li>'
  )


def _picture(cell: Cell) -> str:
  """The frame and its marks; the marks are lines, sharp at any size."""
  title = f'{cell.clip.id}: face, mouth and {len(cell.points)} landmarks'
  if cell.filled:
    title += ', which were filled in: no face was found in this frame'
  inside = '<rect class="blank" width="100" height="100"/>'
  if cell.picture:
    uri = markup.data_uri(cell.picture)
    inside = (
      f'<image href="{uri}" width="100" height="100" '
      'preserveAspectRatio="none"/>'
    )
  marks = _box(cell.face, 'face') + _box(cell.mouth, 'mouth')
  marks += ''.join(
    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.3"/>'
    for x, y in 100 * cell.points
    if np.isfinite(x + y)
  )
  style = 'marks filled' if cell.filled else 'marks'
  return (
    f'<svg viewBox="0 0 100 100" role="img"><title>{escape(title)}</title>'
    f'{inside}<g class="{style}">{marks}</g></svg>'
  )


def _box(box: np.ndarray, style: str) -> str:
  """Drawn twice: the dark line below shows on a light ground."""
  if not np.isfinite(box).all():
    return ''
  x0, y0, x1, y1 = 100 * box
  place = (
    f'x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0):.1f}" '
    f'height="{max(y1 - y0, 0):.1f}"'
  )
  return f'<rect class="under" {place}/><rect class="{style}" {place}/>'

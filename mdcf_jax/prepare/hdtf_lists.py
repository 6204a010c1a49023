"""The lists of HDTF's authors: which clips there are, and where.

Five text files for each of three series (RD, WDA and WRA), a row for a video or
a clip: addresses, resolutions, time stamps, windows and ratios. They are
written by hand. A row that cannot be used costs what it says, not the list, and
is reported; so is one that contradicts another.

https://github.com/MRzzm/HDTF
"""

import dataclasses
import math
import os
import pathlib
import re
from typing import NamedTuple

from mdcf_jax.errors import InputError
from mdcf_jax.prepare.units import VIDEO_SUFFIXES, Window

TIMES, ADDRESSES, RESOLUTIONS, WINDOWS, RATIOS = (
  'annotion_time',
  'video_url',
  'resolution',
  'crop_wh',
  'crop_ratio',
)

# What a name may be, as clips are files that have it.
_NAME = re.compile(r'\w[\w.\-]*')
_STAMP = re.compile(r'(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d*)?)')
_DASH = re.compile(r'\s*[-\u2010-\u2015~]\s*')
_WIDEST = 16 / 9  # Of the pictures of which the lists tell.


class Odd(NamedTuple):
  """A row that is not as it should be: the list, its line, and what it is."""

  file: str
  line: int
  what: str


@dataclasses.dataclass(frozen=True)
class Clip:
  """A clip of the lists.

  Attributes:
    name, number: it is clip `number` of video `name`.
    series: of whose list it is, 'RD' say.
    start, end: seconds.
    window: at the authors' resolution; None where the lists have none.
    ratio: of the square over the face; None where the lists have none.
    place: its row in the list of time stamps.
  """

  name: str
  number: int
  series: str
  start: float
  end: float
  window: Window | None
  ratio: float | None
  place: tuple[str, int]

  @property
  def id(self) -> str:
    return f'{self.name}_{self.number}'


@dataclasses.dataclass
class Lists:
  """What all series say.

  Attributes:
    clips: in the order of the lists.
    addresses: of each video that has clips, '' where it has none.
    odd: what is wrong with the lists.
  """

  clips: list[Clip]
  addresses: dict[str, str]
  odd: list[Odd]


def read_lists(folder: pathlib.Path) -> Lists:
  """Reads the lists of all series in a folder.

  Raises:
    InputError: there is no list of time stamps, a list is no text, or none of
      its rows can be used.
  """
  if not os.path.isdir(folder):
    raise InputError(f'{folder}: there is no such folder of lists')
  found = Lists([], {}, [])
  ends = f'_{TIMES}.txt'
  series = sorted(p.name[: -len(ends)] for p in folder.glob(f'*{ends}'))
  if not series:
    raise InputError(f'{folder}: there is no list of time stamps, RD{ends} say')
  for prefix in series:
    _read_series(folder, prefix, found)
  return found


def split_clip(name: str, series: str = '') -> tuple[str, int | None]:
  """Splits NAME_2, RD_NAME_002.mp4 and the like; None for a whole video."""
  name = strip_suffix(name)
  if series and name.startswith(f'{series}_'):
    name = name[len(series) + 1 :]
  video, _, number = name.rpartition('_')
  if video and number.isascii() and number.isdigit():
    return video, int(number)
  return name, None


def strip_suffix(name: str) -> str:
  """The name of a video without its suffix, if it has one."""
  path = pathlib.PurePath(name)
  return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else name


def read_rows(path: pathlib.Path) -> list[tuple[int, str, str]]:
  """Reads (line, first word, the rest) of each row that is not empty.

  Raises:
    InputError: the file cannot be read as text.
  """
  try:
    content = path.read_bytes()
  except OSError as error:
    raise InputError(f'{path}: cannot be read: {error.strerror}') from error
  wide = content.startswith((b'\xff\xfe', b'\xfe\xff'))
  try:
    text = content.decode('utf-16' if wide else 'utf-8-sig')
  except UnicodeDecodeError as error:
    line = content[: error.start].count(b'\n') + 1
    raise InputError(f'{path}: line {line}: this is not text') from error
  if '\0' in text:
    line = text[: text.index('\0')].count('\n') + 1
    raise InputError(f'{path}: line {line}: this is not text')
  rows = []
  for number, row in enumerate(text.splitlines(), 1):
    words = re.sub(r'[,;|\ufeff\u200b]', ' ', row).split(maxsplit=1)
    if words and not words[0].startswith('#'):
      rows.append((number, words[0], ' '.join(words[1:]).strip()))
  return rows


def _read_series(folder: pathlib.Path, prefix: str, found: Lists) -> None:
  """Adds the clips of one series to what was found."""
  odd = found.odd
  kinds = TIMES, ADDRESSES, RESOLUTIONS, WINDOWS, RATIOS
  tables = {kind: _read_table(folder, prefix, kind, odd) for kind in kinds}
  counts = {}
  for name, (stamps, place) in tables[TIMES].items():
    counts[name] = len(stamps)
    if name in found.addresses:
      odd.append(Odd(*place, f'{name} is in another series, which counts'))
      continue
    found.addresses[name], _ = tables[ADDRESSES].get(name, ('', None))
    height, _ = tables[RESOLUTIONS].get(name, (None, None))
    if not found.addresses[name]:
      odd.append(Odd(*place, f'{name} has no address'))
    if height is None:
      odd.append(Odd(*place, f'{name} has no resolution: windows do not count'))
    for number, stamp in enumerate(stamps):
      clip = f'{name}_{number}'
      if stamp is None:
        continue
      window, where = tables[WINDOWS].get(clip, (None, place))
      if window is None:
        odd.append(Odd(*where, f'{clip} has no window'))
      elif height is None:
        window = None
      else:
        window, complaint = _fit(window, height)
        odd += [Odd(*where, f'{clip}: {complaint}')] if complaint else []
      ratio, where = tables[RATIOS].get(clip, (None, place))
      if ratio is None:
        odd.append(Odd(*where, f'{clip} has no ratio'))
      found.clips.append(
        Clip(name, number, prefix, *stamp, window, ratio, place)
      )
  for kind in (ADDRESSES, RESOLUTIONS):
    for name, (_, place) in tables[kind].items():
      if name not in counts:
        odd.append(Odd(*place, f'{name} has no time stamps'))
  for kind in (WINDOWS, RATIOS):
    for clip, (_, place) in tables[kind].items():
      name, number = split_clip(clip)
      if number is None or number >= counts.get(name, 0):
        odd.append(Odd(*place, f'{clip} has no time stamp'))


def _read_table(
  folder: pathlib.Path, prefix: str, kind: str, odd: list[Odd]
) -> dict[str, tuple]:
  """Reads one list: {name: (what its row says, (file, line))}."""
  path = folder / f'{prefix}_{kind}.txt'
  if not os.path.exists(path):
    odd.append(Odd(path.name, 0, 'there is no such list'))
    return {}
  parse = _PARSERS[kind]
  rows = read_rows(path)
  table, reasons = {}, []
  for line, word, rest in rows:
    place = path.name, line
    name = strip_suffix(word)
    if kind in (WINDOWS, RATIOS):
      video, number = split_clip(name, prefix)
      name = video if number is None else f'{video}_{number}'
    if not _NAME.fullmatch(name):
      reasons.append(Odd(*place, f'{word[:80]!r} cannot be a name'))
    elif name in table:
      reasons.append(Odd(*place, f'{name} again: the first row counts'))
    else:
      value, complaints = parse(rest)
      reasons += [Odd(*place, f'{name}: {text}') for text in complaints]
      if value is not None:
        table[name] = value, place
  if not table:
    first = reasons[0] if reasons else Odd(path.name, 1, 'the list is empty')
    raise InputError(f'{path}: line {first.line}: {first.what}')
  odd += reasons
  return table


def _parse_stamps(text: str):
  """Parses '00:20-01:35 1:02:03-1:03:00' to [(20.0, 95.0), (3723.0, 3780.0)].

  What cannot be a stretch becomes None: it keeps its number.
  """
  stamps, complaints = [], []
  for word in _DASH.sub('-', text.replace('\uff1a', ':')).split():
    ends = [_STAMP.fullmatch(part) for part in word.split('-')]
    if len(ends) != 2 or None in ends:
      complaints.append(f'{word[:80]!r} is no time stamp')
      stamps.append(None)
      continue
    start, end = (_seconds(*match.groups()) for match in ends)
    taken = [stamp for stamp in stamps if stamp is not None]
    if end <= start:
      complaints.append(f'{word} ends before it starts')
    elif any(start < other[1] and other[0] < end for other in taken):
      complaints.append(f'{word} overlaps a clip before it and is left out')
    else:
      stamps.append((start, end))
      continue
    stamps.append(None)
  return (stamps, complaints) if stamps else (None, ['there are no stamps'])


def _seconds(first: str | None, second: str | None, last: str) -> float:
  """Seconds of a time stamp that is h:m:s, m:s or s."""
  hours, minutes = (0, first or 0) if second is None else (first, second)
  return 3600 * int(hours) + 60 * int(minutes) + float(last)


def _parse_address(text: str):
  words = text.split()
  if not words:
    return None, ['there is no address']
  return words[0], []


def _parse_resolution(text: str):
  words = text.lower().removesuffix('p').split()
  if len(words) == 1 and words[0].isascii() and words[0].isdigit():
    if int(words[0]):
      return int(words[0]), []
  return None, [f'{text[:80]!r} is no resolution']


def _parse_window(text: str):
  """Parses 'left width top height' to four numbers."""
  numbers = [_number(word) for word in text.split()]
  if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
    return None, [f'{text[:80]!r} is no window']
  if numbers[1] <= 0 or numbers[3] <= 0:
    return None, [f'a window without area: {text[:80]}']
  return tuple(numbers), []


def _parse_ratio(text: str):
  ratio = _number(text)
  if not 0.1 <= ratio <= 10:
    return None, [f'{text[:80]!r} is no ratio']
  return ratio, []


def _number(word: str) -> float:
  try:
    return float(word)
  except ValueError:
    return math.nan


_PARSERS = {
  TIMES: _parse_stamps,
  ADDRESSES: _parse_address,
  RESOLUTIONS: _parse_resolution,
  WINDOWS: _parse_window,
  RATIOS: _parse_ratio,
}


def _fit(window, height: int) -> tuple[Window | None, str]:
  """Makes a window square and moves it into a picture of that height.

  Returns:
    The window, None if it is too large for the picture; and what is odd.
  """
  left, wide, top, high = window
  what = ''
  side = max(wide, high)
  if wide != high:
    what = f'a window of {wide:g} by {high:g}: made a square'
    left, top = left - (side - wide) / 2, top - (side - high) / 2
  if side > height:
    text = f'a window of {side:g} in a picture {height} high: not used'
    return None, text
  x = min(max(left, 0.0), max(0.0, height * _WIDEST - side))
  y = min(max(top, 0.0), height - side)
  if (x, y) != (left, top):
    what = what or 'a window that leaves the picture: moved into it'
  return Window(x, y, side, side, height), what

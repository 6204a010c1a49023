"""Videos to generate: one from flags, or many from the rows of a CSV."""

import csv
import dataclasses
import os
import pathlib
from typing import Any

from mdcf_jax.errors import InputError

FILES = ('image', 'audio', 'output')


def _yes_or_no(cell: str) -> bool:
  """Raises KeyError for any other word."""
  return dict(yes=True, no=False)[cell.casefold()]


def _video_or_none(cell: str) -> str | None:
  """In a row `none` undoes what holds for all."""
  return None if cell.casefold() == 'none' else cell


# Of `Pipeline.stream`, and what makes it of a cell.
OPTIONS = dict(
  seed=int,
  steps=int,
  sampler=str,
  guidance_scale=float,
  pose=str,
  blink=str,
  crop=str,
  resolution=int,
  face=int,
  pose_from=_video_or_none,
  blink_from=_video_or_none,
  pose_mode=str,
  paste_back=_yes_or_no,
)
_VIDEOS = ('pose_from', 'blink_from')
# Those that name a file, if they are none of the words.
_TABLES = ('pose', 'blink')
_WORDS = ('generated', 'still', 'none')


@dataclasses.dataclass(frozen=True)
class Job:
  """One video.

  Attributes:
    image, audio, output: paths.
    options: keywords of `Pipeline.stream`; `crop` as it was typed.
  """

  image: str
  audio: str
  output: str
  options: dict[str, Any]

  @property
  def inputs(self) -> tuple[Any, ...]:
    """Everything that may be a file to read."""
    return (
      self.image,
      self.audio,
      *(self.options[name] for name in _TABLES + _VIDEOS),
    )


def read_jobs(
  path: str | os.PathLike, defaults: dict[str, Any]
) -> tuple[list[Job], list[InputError]]:
  """The jobs that a CSV lists.

  Args:
    path: a CSV whose first row has names of columns: those of FILES, and any
      of OPTIONS. Files are relative to its folder. An empty cell takes the
      default.
    defaults: a value for each of OPTIONS.

  Returns:
    The jobs, and what is wrong with other rows: one that lacks a file or has
    more cells than columns, a cell that is no number, an output named before.

  Raises:
    InputError: no such file, not such a CSV, an unknown column, or no rows.
  """
  path = pathlib.Path(path)
  header, rows = _read_cells(path)
  jobs, wrong, outputs = [], [], set()
  for number, cells in rows:
    try:
      if len(cells) > len(header):
        raise InputError(f'{path}: line {number} has more cells than columns')
      row = {k: v for k, v in zip(header, cells) if v}
      job = _make_job(path, number, row, defaults)
      place = os.path.realpath(job.output)
      if place in outputs:
        raise InputError(
          f'{path}: line {number}: {job.output} is written twice'
        )
    except InputError as error:
      wrong.append(error)
      continue
    outputs.add(place)
    jobs.append(job)
  return jobs, wrong


def _read_cells(path):
  """Names of columns, and (line, cells) of every row that is not empty."""
  try:
    # Excel begins its CSV with a byte order mark.
    with open(path, newline='', encoding='utf-8-sig') as file:
      reader = csv.reader(file)
      rows = [(reader.line_num, [x.strip() for x in row]) for row in reader]
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise InputError(f'{path}: not a readable CSV ({error})') from error
  rows = [row for row in rows if any(row[1])]
  if any('\0' in cell for _, row in rows for cell in row):
    raise InputError(f'{path}: not a readable CSV (it has zero bytes)')
  header = [name.casefold() for name in rows[0][1]] if rows else []
  known = (*FILES, *OPTIONS)
  for name in FILES:
    if name not in header:
      raise InputError(f'{path}: no column "{name}"')
  for name in header:
    if name not in known:
      raise InputError(
        f'{path}: unknown column "{name}"; there are: {", ".join(known)}'
      )
  if len(set(header)) < len(header):
    raise InputError(f'{path}: a column is there twice')
  if len(rows) == 1:
    raise InputError(f"{path}: there are no rows below the columns' names")
  return header, rows[1:]


def _make_job(path, number, row, defaults):
  """Of the cells of a row that are not empty, by their columns."""
  for name in FILES:
    if name not in row:
      raise InputError(f'{path}: line {number} has no {name}')
  options = dict(defaults)
  for name, kind in OPTIONS.items():
    if name not in row:
      continue
    try:
      options[name] = kind(row[name])
    except ValueError as error:
      raise InputError(
        f'{path}: line {number}: {name} {row[name]!r} is not a number'
      ) from error
    except KeyError as error:
      raise InputError(
        f'{path}: line {number}: {name} {row[name]!r} is neither yes nor no'
      ) from error
    table = name in _TABLES and row[name] not in _WORDS
    if table or (name in _VIDEOS and options[name]):
      options[name] = str(path.parent / row[name])
  files = {name: str(path.parent / row[name]) for name in FILES}
  return Job(**files, options=options)

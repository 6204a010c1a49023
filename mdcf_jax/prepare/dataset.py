"""Units become a dataset, with a report of what became of each."""

import contextlib
import csv
import dataclasses
import datetime
import functools
import logging
import math
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mdcf_jax import speech
from mdcf_jax.data import builder, records
from mdcf_jax.errors import InputError
from mdcf_jax.prepare import clip, pieces, report, work_folder, workers
from mdcf_jax.prepare.units import Unit, assign_splits

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is to be prepared, and how.

  Attributes:
    name: of the tfds builder: 'talking_heads', 'hdtf' or 'voxceleb2'.
    units: of the collection.
    settings: of every record.
    val_fraction: part of the groups that is drawn for validation, of the units
      that have no split.
    seed: of that draw.
    num_workers: processes.
    described: how the units were chosen, for the report.
    files: texts to lie in the dataset, by their names.
  """

  name: str
  units: Sequence[Unit]
  settings: pieces.Settings = pieces.Settings()
  val_fraction: float = 0.1
  seed: int = 0
  num_workers: int = 1
  described: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def make_dataset(plan: Plan, output: pathlib.Path) -> None:
  """Prepares all units and writes the dataset, whole or not at all.

  Work in progress lies in `<output>.work`; a second call goes on from there.

  Args:
    plan: what to do.
    output: an absolute path that is absent or an empty folder.

  Raises:
    InputError: nothing can be used, or `output` cannot be written; what is done
      stays in the work folder.
  """
  work_folder.check_output(output)
  _check_ids(plan.units)
  with work_folder.open_work(output, _identify(plan)) as work:
    try:
      if not work_folder.was_publishing(work):
        outcomes = _work(plan, work / 'clips', output)
        _build(plan, outcomes, work, output)
      work_folder.publish(work, output)
    except KeyboardInterrupt:
      logger.warning('what is done is in %s; the same command goes on', work)
      raise
    shutil.rmtree(work)
  logger.info('%s: see report.html in it', output)


def _check_ids(units: Sequence[Unit]) -> None:
  """Raises InputError if two units would be one file."""
  seen: dict[str, Unit] = {}
  for unit in units:
    other = seen.setdefault(unit.id, unit)
    if other is not unit:
      raise InputError(f'{unit.source} and {other.source} have one name')


def _build(
  plan: Plan,
  outcomes: Mapping[str, dict[str, Any]],
  work: pathlib.Path,
  output: pathlib.Path,
) -> None:
  """Writes what was prepared as a dataset, in the work folder.

  Raises:
    InputError: there is nothing, or it cannot be written.
  """
  kept = [unit for unit in plan.units if outcomes[unit.id]['records']]
  if not kept:
    raise InputError(_nothing(plan, outcomes))
  dataset = work / work_folder.DATASET
  shutil.rmtree(dataset, ignore_errors=True)
  try:
    _write(plan, outcomes, work, dataset)
  # array_record raises RuntimeError where there is no space.
  except (OSError, RuntimeError) as error:
    raise InputError(
      f'{output}: cannot be written ({" ".join(str(error).split())[:200]}); '
      'run the same command again to go on'
    ) from error
  logger.info(
    '%d clips of %d videos; nothing of %d videos',
    *(sum(len(outcomes[u.id]['records']) for u in kept), len(kept)),
    len(plan.units) - len(kept),
  )


def _identify(plan: Plan) -> dict[str, Any]:
  """What records of another run must have in common with this one's."""
  settings = dataclasses.asdict(plan.settings)
  del settings['hubert'], settings['face_model']  # Paths, which may move.
  return settings | speech.describe(plan.settings.hubert)


def _work(
  plan: Plan, folder: pathlib.Path, output: pathlib.Path
) -> dict[str, dict[str, Any]]:
  """Prepares every unit; returns the outcome of each by its id."""
  from tqdm import tqdm

  log = folder.with_name('workers.log')
  settings = plan.settings
  # Without MediaPipe or its model no clip can be prepared: say so once.
  for _, result in workers.work_on([settings.face_model], check_faces, 1, log):
    if isinstance(result, Exception):
      raise result
  task = functools.partial(clip.prepare_unit, folder=folder, settings=settings)
  outcomes = {unit.id: clip.finished(unit, folder) for unit in plan.units}
  outcomes = {name: outcome for name, outcome in outcomes.items() if outcome}
  done, num_frames, began = len(outcomes), 0, time.monotonic()
  if done:
    logger.info('%d of %d videos are done already', done, len(plan.units))
  todo = [unit for unit in plan.units if unit.id not in outcomes]
  bar = tqdm(total=len(plan.units), initial=done, desc='prepare', unit='video')
  results = workers.work_on(todo, task, plan.num_workers, log)
  with contextlib.closing(results), bar:
    for unit, result in results:
      if isinstance(result, OSError | workers.NoWorker):
        raise InputError(
          f'{output}: {result}; {len(outcomes)} of {len(plan.units)} videos '
          'are done, run the same command again to go on'
        ) from result
      outcomes[unit.id] = outcome = _outcome(unit, result)
      num_frames += sum(record['frames'] for record in outcome['records'])
      bar.update()
      if not outcome['records']:
        tqdm.write(f'mdcf: left out: {_reason(unit, outcome)}', file=sys.stderr)
  _log_speed(len(todo), num_frames, time.monotonic() - began)
  return outcomes


def check_faces(face_model: str | None) -> None:
  """Raises InputError if faces cannot be looked for."""
  from mdcf_jax.media import faces

  faces.detect_faces(np.zeros((64, 64, 3), np.uint8), face_model)


def _outcome(unit: Unit, result: Any) -> dict[str, Any]:
  """What `prepare_unit` returned, or the same for a unit that failed."""
  if not isinstance(result, Exception):
    return result
  reason = str(result)
  dropped = dict(start=unit.start, end=unit.end, reason=reason, picture=None)
  return dict(records=[], dropped=[dropped])


def _reason(unit: Unit, outcome: Mapping[str, Any]) -> str:
  """Why a unit gave nothing, with its name."""
  reasons = [entry['reason'] for entry in outcome['dropped']] or ['no frames']
  named = unit.source in reasons[0]
  return reasons[0] if named else f'{unit.source}: {reasons[0]}'


def _nothing(plan: Plan, outcomes: Mapping[str, dict]) -> str:
  first = plan.units[0]
  return (
    f'none of the {len(plan.units)} videos can be used; the first: '
    f'{_reason(first, outcomes[first.id])}'
  )


def _log_speed(num_units: int, num_frames: int, seconds: float) -> None:
  logger.info(
    '%d videos, %d frames in %.0f s: %.2f videos/s, %.0f frames/s',
    *(num_units, num_frames, seconds),
    *(num_units / max(seconds, 1e-3), num_frames / max(seconds, 1e-3)),
  )


def _write(
  plan: Plan,
  outcomes: Mapping[str, dict[str, Any]],
  work: pathlib.Path,
  dataset: pathlib.Path,
) -> None:
  """Writes the dataset, its table, its texts and its report."""
  splits = assign_splits(
    plan.units,
    plan.val_fraction,
    plan.seed,
    kept=lambda unit: bool(outcomes[unit.id]['records']),
  )
  paths = {
    split: [
      work / 'clips' / f'{record["name"]}.npz'
      for unit in units
      for record in outcomes[unit.id]['records']
    ]
    for split, units in splits.items()
  }
  builder.build(paths, dataset, name=plan.name)
  _write_table(dataset / 'clips.csv', plan.units, splits, outcomes)
  for name, text in plan.files.items():
    (dataset / name).write_text(text, encoding='utf-8')
  dropped = (  # Their pictures are read one by one.
    _to_dropped(unit, number, entry, work / 'clips')
    for unit in plan.units
    for number, entry in enumerate(outcomes[unit.id]['dropped'])
  )
  report.write_report(
    dataset / 'report.html',
    plan.name,
    _read(dataset, paths),
    dropped,
    {
      **plan.described,
      **_identify(plan),
      'date': datetime.date.today().isoformat(),
    },
  )


def _read(
  dataset: pathlib.Path, splits: Mapping[str, Sequence[pathlib.Path]]
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields (split, record) of what was built."""
  for split in splits:
    if not splits[split]:
      continue
    source = builder.open_source(dataset, split)
    for index in range(len(source)):
      yield split, records.from_source(source[index])


def _to_dropped(
  unit: Unit, number: int, entry: Mapping[str, Any], folder: pathlib.Path
) -> report.Dropped:
  picture = folder / entry['picture'] if entry['picture'] else None
  has_picture = picture and picture.is_file()
  return report.Dropped(
    id=f'{unit.id}.{number}' if number else unit.id,
    source=unit.source,
    identity=unit.identity,
    reason=entry['reason'],
    picture=picture.read_bytes() if has_picture else None,
    start=entry['start'],
    end=entry['end'],
  )


_COLUMNS = (
  *('id', 'file', 'identity', 'split', 'start', 'end', 'frames'),
  *(*records.QUALITY, 'left_out'),
)


def _write_table(
  path: pathlib.Path,
  units: Sequence[Unit],
  splits: Mapping[str, Sequence[Unit]],
  outcomes: Mapping[str, dict],
) -> None:
  """One row per clip, and one per stretch that was not taken."""
  split_of: dict[str, str] = {}
  for split, members in splits.items():
    for unit in members:
      split_of[unit.id] = f'{split_of.get(unit.id, "")} {split}'.strip()
  with open(
    path, 'w', newline='', encoding='utf-8', errors='backslashreplace'
  ) as f:
    writer = csv.DictWriter(f, _COLUMNS, restval='')
    writer.writeheader()
    for unit in units:
      whose = dict(file=unit.source, identity=unit.identity)
      for record in outcomes[unit.id]['records']:
        cells = {key: _short(record[key]) for key in record if key != 'name'}
        cells |= dict(id=record['name'], split=split_of[unit.id])
        writer.writerow(whose | cells)
      for entry in outcomes[unit.id]['dropped']:
        times = {key: _short(entry[key]) for key in ('start', 'end')}
        cells = dict(id=unit.id, left_out=entry['reason'])
        writer.writerow(whose | times | cells)


def _short(value: float | None) -> str:
  """A number without digits that say nothing; '' if it is not known."""
  if value is None or math.isnan(value):
    return ''
  return f'{round(value, 4):g}' if abs(value) < 1e6 else f'{value:g}'

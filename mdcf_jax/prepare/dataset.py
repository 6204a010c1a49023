"""Units become a dataset, with a report of what became of each."""

import csv
import dataclasses
import functools
import logging
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
from mdcf_jax.prepare import clip, report, work_folder, workers
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
  settings: clip.Settings = clip.Settings()
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
  with work_folder.open_work(output, _identify(plan)) as work:
    began = time.monotonic()
    outcomes = _work(plan, work / 'clips', output)
    num_frames = sum(x['frames'] for x in outcomes.values())
    _log_speed(len(plan.units), num_frames, time.monotonic() - began)
    kept = [unit for unit in plan.units if outcomes[unit.id]['records']]
    if not kept:
      raise InputError(_nothing(plan, outcomes))
    dataset = work / 'dataset'
    shutil.rmtree(dataset, ignore_errors=True)
    try:
      _write(plan, kept, outcomes, work, dataset)
    except OSError as error:
      raise InputError(
        f'{output}: cannot be written ({error}); run the same command again '
        'to go on'
      ) from error
    work_folder.publish(dataset, output)
    shutil.rmtree(work)
  logger.info(
    '%s: %d clips of %d videos; %d videos gave none; see report.html in it',
    *(output, sum(len(outcomes[u.id]['records']) for u in kept), len(kept)),
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
  outcomes = {}
  results = workers.work_on(plan.units, task, plan.num_workers, log)
  bar = tqdm(results, total=len(plan.units), desc='prepare', unit='video')
  with bar:
    for unit, result in bar:
      if isinstance(result, OSError):
        raise InputError(
          f'{output}: cannot be written ({result}); {len(outcomes)} of '
          f'{len(plan.units)} videos are done, run the same command again to '
          'go on'
        ) from result
      outcomes[unit.id] = _outcome(unit, result)
      if not outcomes[unit.id]['records']:
        reason = _reason(outcomes[unit.id])
        tqdm.write(f'mdcf: left out: {reason}', file=sys.stderr)
  return outcomes


def check_faces(face_model: str | None) -> None:
  """Raises InputError if faces cannot be looked for."""
  from mdcf_jax.media import faces

  faces.detect_faces(np.zeros((64, 64, 3), np.uint8), face_model)


def _outcome(unit: Unit, result: Any) -> dict[str, Any]:
  """What `prepare_unit` returned, or the same for a unit that failed."""
  if not isinstance(result, Exception):
    return result
  reason = f'{unit.source}: {result}'
  dropped = dict(start=unit.start, end=unit.end, reason=reason, picture=None)
  return dict(records=[], frames=0, dropped=[dropped])


def _reason(outcome: Mapping[str, Any]) -> str:
  return outcome['dropped'][0]['reason'] if outcome['dropped'] else 'no frames'


def _nothing(plan: Plan, outcomes: Mapping[str, dict]) -> str:
  first = plan.units[0]
  return (
    f'none of the {len(plan.units)} videos can be used; the first: '
    f'{_reason(outcomes[first.id])}'
  )


def _log_speed(num_units: int, num_frames: int, seconds: float) -> None:
  logger.info(
    '%d videos, %d frames in %.0f s: %.2f videos/s, %.0f frames/s',
    *(num_units, num_frames, seconds),
    *(num_units / max(seconds, 1e-3), num_frames / max(seconds, 1e-3)),
  )


def _write(
  plan: Plan,
  kept: Sequence[Unit],
  outcomes: Mapping[str, dict[str, Any]],
  work: pathlib.Path,
  dataset: pathlib.Path,
) -> None:
  """Writes the dataset, its table, its texts and its report."""
  splits = assign_splits(kept, plan.val_fraction, plan.seed)
  paths = {
    split: [
      work / 'clips' / f'{name}.npz'
      for unit in units
      for name in outcomes[unit.id]['records']
    ]
    for split, units in splits.items()
  }
  builder.build(paths, dataset, name=plan.name)
  _write_table(dataset / 'clips.csv', plan.units, outcomes)
  for name, text in plan.files.items():
    (dataset / name).write_text(text, encoding='utf-8')
  dropped = [
    _to_dropped(unit, number, entry, work / 'clips')
    for unit in plan.units
    for number, entry in enumerate(outcomes[unit.id]['dropped'])
  ]
  report.write_report(
    dataset / 'report.html',
    plan.name,
    _read(dataset, paths),
    dropped,
    {**plan.described, **_identify(plan)},
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
  )


def _write_table(
  path: pathlib.Path, units: Sequence[Unit], outcomes: Mapping[str, dict]
) -> None:
  """One row per clip, and one per stretch that was not taken."""
  with open(
    path, 'w', newline='', encoding='utf-8', errors='backslashreplace'
  ) as f:
    writer = csv.writer(f)
    writer.writerow(('id', 'file', 'identity', 'start', 'end', 'left_out'))
    for unit in units:
      row = unit.source, unit.identity
      for name in outcomes[unit.id]['records']:
        writer.writerow((name, *row, '', '', ''))
      for entry in outcomes[unit.id]['dropped']:
        times = entry['start'], entry['end']
        writer.writerow((unit.id, *row, *times, entry['reason']))

"""Many units become one dataset, whole or not at all."""

import csv
import errno
import functools
import os
import pathlib
import tempfile

import pytest

from mdcf_jax.data import builder, records
from mdcf_jax.errors import InputError
from mdcf_jax.prepare import (
  clip,
  dataset,
  folder,
  pieces,
  units,
  work_folder,
  workers,
)

SETTINGS = pieces.Settings(
  resolution=32, min_seconds=0.4, min_face=0, min_sharpness=0
)


@pytest.fixture
def one_process(drawn_faces, monkeypatch):
  """Units are prepared in the test's own process."""

  def work_on(units, task, num_workers, log):
    del num_workers, log
    for unit in units:
      try:
        yield unit, task(unit)
      except Exception as error:
        yield unit, error

  monkeypatch.setattr(workers, 'work_on', work_on)
  monkeypatch.setattr(dataset, 'check_faces', lambda _: None)


@pytest.fixture
def make(one_process, tmp_path):
  """Prepares the videos of `tmp_path / 'videos'`."""
  (tmp_path / 'videos').mkdir()

  def make(output, **changes):
    found = folder.find_units(tmp_path / 'videos', units.Centre())
    plan = dataset.Plan('talking_heads', found, SETTINGS)
    plan = dataset.dataclasses.replace(plan, **changes)
    dataset.make_dataset(plan, pathlib.Path(output).resolve())

  return make


@pytest.mark.parametrize('output', ['new', 'empty', 'link', '.', 'new/er'])
def test_outputs(make, write_video, tmp_path, monkeypatch, output):
  """Absent, empty, a link, the working directory: all hold the dataset."""
  write_video(tmp_path / 'videos' / 'a.mp4', 12)
  inside, temporary = tmp_path / 'inside', tmp_path / 'temporary'
  for place in (inside, temporary, inside / 'empty', inside / 'target'):
    place.mkdir(exist_ok=True)
  monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
  if output == '.':
    inside = inside / 'empty'
  elif output == 'link':
    (inside / 'link').symlink_to('target')
  monkeypatch.chdir(inside)
  make(output)
  assert len(builder.read_index(output, 'train')) == 1
  for name in ('clips.csv', 'report.html'):
    assert (pathlib.Path(output) / name).is_file()
  assert os.path.samefile(os.getcwd(), inside)
  assert not list(temporary.iterdir())
  assert not list(tmp_path.rglob('*.work'))


@pytest.mark.parametrize('name', builder.BUILDERS)
def test_what_became_of_each_is_told(make, write_video, tmp_path, name):
  """In the table and in the report, for every collection."""
  write_video(tmp_path / 'videos' / 'good.mp4', 30)
  (tmp_path / 'videos' / 'bad.mp4').write_bytes(b'no video' * 100)
  output = tmp_path / 'data'
  make(output, name=name, files={'missing.txt': 'x.mp4'})
  assert (output / 'missing.txt').read_text() == 'x.mp4'
  assert list(output.glob(f'{name}/*/dataset_info.json'))
  with open(output / 'clips.csv', newline='') as f:
    rows = {row['file']: row for row in csv.DictReader(f)}
  good = rows['good.mp4']
  assert good['left_out'] == '' and good['split'] == 'train val'
  assert (good['start'], good['end'], good['frames']) == ('0', '1.2', '30')
  assert 'bad.mp4' in rows['bad.mp4']['left_out']
  page = (output / 'report.html').read_text()
  assert 'good' in page and rows['bad.mp4']['left_out'][:20] in page


def test_a_second_run_goes_on(make, write_video, tmp_path, monkeypatch):
  """A full disk ends a run; what was done is not done again."""
  for name in 'abc':
    write_video(tmp_path / 'videos' / f'{name}.mp4', 12)
  save, saved = records.save, []

  def full(path, record, room):
    if len(saved) == room:
      raise OSError(errno.ENOSPC, 'No space left on device')
    saved.append(path.name)
    save(path, record)

  output = tmp_path / 'data'
  monkeypatch.setattr(records, 'save', functools.partial(full, room=2))
  with pytest.raises(InputError, match='2 of 3 videos are done'):
    make(output)
  assert not output.exists() and (tmp_path / 'data.work').exists()
  monkeypatch.setattr(records, 'save', functools.partial(full, room=9))
  make(output)
  assert len(saved) == 3  # The third alone was done by the second run.
  assert sum(len(builder.read_index(output, s)) for s in ('train', 'val')) == 3


def test_a_unit_that_kills_its_process_is_left_out(
  make, write_video, tmp_path, monkeypatch
):
  for name in 'ab':
    write_video(tmp_path / 'videos' / f'{name}.mp4', 12)
  work_on = workers.work_on

  def work(units, task, *args):
    for unit, result in work_on(units, task, *args):
      dies = getattr(unit, 'source', '') == 'a.mp4'
      yield unit, workers.WorkerDied('it died') if dies else result

  monkeypatch.setattr(workers, 'work_on', work)
  make(tmp_path / 'data')
  assert 'it died' in (tmp_path / 'data' / 'clips.csv').read_text()


def test_nothing_stays_of_bad_videos_alone(make, tmp_path):
  (tmp_path / 'videos' / 'a.mp4').write_bytes(b'no video')
  with pytest.raises(InputError, match='none of the 1 videos'):
    make(tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_work_of_other_settings_is_not_taken_over(make, write_video, tmp_path):
  write_video(tmp_path / 'videos' / 'a.mp4', 12)
  output = tmp_path / 'data'
  small = dataset._identify(dataset.Plan('', [], SETTINGS))
  (unit,) = folder.find_units(tmp_path / 'videos', units.Centre())
  with work_folder.open_work(output, small) as work:
    clip.prepare_unit(unit, work / 'clips', SETTINGS)
  larger = dataset.dataclasses.replace(SETTINGS, resolution=64)
  with pytest.raises(InputError, match='resolution 32, now 64'):
    make(output, settings=larger)
  make(output)
  assert len(builder.read_index(output, 'train')) == 1


def test_a_full_disk_while_the_dataset_is_written(
  make, write_video, tmp_path, monkeypatch
):
  def build(*_, **__):
    raise RuntimeError('array_record: No space left on device')

  write_video(tmp_path / 'videos' / 'a.mp4', 12)
  with monkeypatch.context() as patch:
    patch.setattr(builder, 'build', build)
    with pytest.raises(InputError, match='No space left'):
      make(tmp_path / 'data')
  make(tmp_path / 'data')


def test_units_of_one_name(make, write_video, tmp_path):
  write_video(tmp_path / 'videos' / 'a.mp4', 12)
  (unit,) = folder.find_units(tmp_path / 'videos', units.Centre())
  twice = [unit, dataset.dataclasses.replace(unit, source='b.mp4')]
  with pytest.raises(InputError, match='one name'):
    make(tmp_path / 'data', units=twice)

"""One run at a time, and nothing of another setting is taken over."""

import errno

import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.prepare import work_folder


def test_two_runs_do_not_share_their_work(tmp_path):
  with work_folder.open_work(tmp_path / 'data', {}):
    with pytest.raises(InputError, match='another run'):
      with work_folder.open_work(tmp_path / 'data', {}):
        pass
  with work_folder.open_work(tmp_path / 'data', {}):
    pass
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('stored', [b'', b'\xff{', b'{}', b'{"format": 1}'])
def test_work_of_other_settings_is_neither_used_nor_lost(tmp_path, stored):
  output, settings = tmp_path / 'data', {'resolution': 64}
  with work_folder.open_work(output, settings) as work:
    (work / 'clips' / 'kept.json').touch()
  with work_folder.open_work(output, settings) as work:
    assert (work / 'clips' / 'kept.json').exists()
  (work / 'settings.json').write_bytes(stored)
  with pytest.raises(InputError, match='resolution None, now 64'):
    with work_folder.open_work(output, settings):
      pass
  assert (work / 'clips' / 'kept.json').exists()


@pytest.mark.parametrize('done', [0, 1, 2])
def test_a_killed_move_is_ended_by_the_next_run(tmp_path, monkeypatch, done):
  output = tmp_path / 'data'
  output.mkdir()
  moved = []

  def move(source, target):
    if len(moved) == done:
      target.mkdir(exist_ok=True)  # Half of it.
      raise KeyboardInterrupt
    moved.append(source.name)
    source.rename(target)

  with work_folder.open_work(output, {}) as work:
    (work / 'clips' / 'a.json').touch()
    for name in ('one', 'two'):
      (work / work_folder.DATASET / name).mkdir(parents=True)
    (work / work_folder.DATASET / 'three').touch()
    with monkeypatch.context() as patch:
      patch.setattr(work_folder.shutil, 'move', move)
      with pytest.raises(KeyboardInterrupt):
        work_folder.publish(work, output)
  work_folder.check_output(output)  # It is ours.
  with work_folder.open_work(output, {}) as work:
    assert work_folder.was_publishing(work)
    work_folder.publish(work, output)
    work_folder.shutil.rmtree(work)
  names = sorted(path.name for path in output.iterdir())
  assert names == ['one', 'three', 'two'] and (output / 'three').is_file()
  with pytest.raises(InputError, match='not an empty folder'):
    work_folder.check_output(output)


def test_file_systems_without_locks(tmp_path, monkeypatch, caplog):
  def flock(*_):
    raise OSError(errno.ENOLCK, 'no locks')

  monkeypatch.setattr(work_folder.fcntl, 'flock', flock)
  with work_folder.open_work(tmp_path / 'data', {}) as work:
    assert work.is_dir()
  assert 'cannot be locked' in caplog.text


def test_a_linked_work_folder_is_refused(tmp_path):
  (tmp_path / 'data.work').symlink_to(tmp_path)
  with pytest.raises(InputError, match='is a link'):
    with work_folder.open_work(tmp_path / 'data', {}):
      pass

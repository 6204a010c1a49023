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
def test_work_of_other_settings_is_made_anew(tmp_path, stored):
  output, settings = tmp_path / 'data', {'resolution': 64}
  with work_folder.open_work(output, settings) as work:
    (work / 'clips' / 'kept.json').touch()
  with work_folder.open_work(output, settings) as work:
    assert (work / 'clips' / 'kept.json').exists()
  (work / 'settings.json').write_bytes(stored)
  with work_folder.open_work(output, settings) as work:
    assert not list((work / 'clips').iterdir())


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

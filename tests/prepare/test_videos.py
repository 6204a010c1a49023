"""What is found under a folder, and what is left out."""

import os
import pathlib

from mdcf_jax.prepare import videos


def touch(folder, *names):
  for name in names:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return folder


def found(folder):
  return [
    path.relative_to(folder).as_posix() for path in videos.find_videos(folder)
  ]


def test_hidden_and_other_files_are_left_out(tmp_path):
  touch(tmp_path, 'b/c/2.MKV', 'a.mp4', 'b/1.mp4', 'b/1.txt', '._a.mp4')
  touch(tmp_path, '.hid/x.mp4', 'b/.Trash/y.mp4', 'd.mp4/z.mp4')
  os.mkfifo(tmp_path / 'pipe.mp4')
  assert found(tmp_path) == ['a.mp4', 'b/1.mp4', 'b/c/2.MKV', 'd.mp4/z.mp4']
  # The folder that is given may be a hidden one.
  assert found(tmp_path / '.hid') == ['x.mp4']


def test_links(tmp_path):
  """A linked file is one; linked folders may have no end."""
  touch(tmp_path, 'other/a.mp4', 'given/b.mp4')
  given = tmp_path / 'given'
  for name, target in [
    ('linked.mp4', '../other/a.mp4'),
    ('broken.mp4', 'none'),
    ('round.mp4', 'round.mp4'),
    ('folder', '../other'),
    ('itself', '.'),
  ]:
    (given / name).symlink_to(target)
  assert found(given) == ['b.mp4', 'linked.mp4']


def test_folders_that_cannot_be_read(tmp_path, monkeypatch, caplog):
  """Permissions do not hold for every user, so they are made up."""
  touch(tmp_path, 'a.mp4', 'closed/b.mp4', 'names/c.mp4', 'names/d.mp4')
  closed, names = str(tmp_path / 'closed'), str(tmp_path / 'names')
  scandir, isfile = os.scandir, os.path.isfile

  def guarded(path):
    if os.fspath(path) == closed:
      raise PermissionError(13, 'Permission denied', closed)
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', guarded)
  monkeypatch.setattr(os, 'access', lambda path, _: os.fspath(path) != names)
  monkeypatch.setattr(
    os.path, 'isfile', lambda path: names not in str(path) and isfile(path)
  )
  assert found(tmp_path) == ['a.mp4']
  assert sorted(record.getMessage() for record in caplog.records) == [
    f'{closed}: cannot be read: Permission denied',
    f'{names}: its files cannot be read',
  ]


def test_names_to_store():
  name = os.fsdecode(b'a/\xff \xc3\xa9.mp4')
  assert videos.stored_name(name) == 'a/\\xff é.mp4'
  assert videos.stored_name(pathlib.PurePath('a//b')) == 'a/b'

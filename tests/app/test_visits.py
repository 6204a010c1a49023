"""What belongs to a visitor is there as long as the visit, and no longer."""

import os
import stat
import time

import pytest

from mdcf_jax.app.limits import Limits
from mdcf_jax.app.visits import Store
from mdcf_jax.errors import InputError


class Job:
  cancelled = False

  def cancel(self):
    self.cancelled = True


@pytest.fixture
def clock():
  return [100.0]


@pytest.fixture
def store(tmp_path, clock):
  limits = Limits(visits=2, idle_seconds=60.0)
  with Store(limits, tmp_path / 'root', lambda: clock[0]) as store:
    yield store


def test_visits_are_apart_and_secret(store):
  first, second = store.visit('a'), store.visit('b')
  assert first is store.visit('a') and first is not second
  assert first.folder != second.folder and len(first.folder.name) == 32
  assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
  with pytest.raises(InputError, match='too many'):
    store.visit('c')
  store.end('a')
  assert store.visit('c').folder.is_dir()


def test_the_end_deletes_everything_and_stops_the_work(store):
  visit = store.visit('a')
  visit.job = Job()
  (visit.new_folder() / 'a.mp4').write_bytes(b'x')
  visit.new_file('b.png').write_bytes(b'x')
  store.end('a')
  store.end('never there')
  assert visit.job.cancelled and not visit.folder.exists()
  assert len(store) == 0


def test_who_does_nothing_leaves(store, clock):
  old, new = store.visit('old'), store.visit('new')
  clock[0] += 50
  store.touch(new)
  clock[0] += 30
  store.sweep()
  assert not old.folder.exists() and new.folder.exists()


def test_uploads_are_deleted_after_two_minutes(store, monkeypatch):
  kept = store.static / 'icon.png'
  for path in (store.root / 'hash' / 'a.png', store.root / 'tmp', kept):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'x')
    os.utime(path, (0, 0))  # As old as it says, it came now.
  store.sweep()
  assert (store.root / 'hash' / 'a.png').exists()
  now = time.time()
  monkeypatch.setattr(time, 'time', lambda: now + 130)
  store.sweep()
  assert {x.name for x in store.root.iterdir()} == {'visits', 'static'}
  assert kept.exists()


def test_nothing_is_left_at_the_end(tmp_path):
  with Store(Limits(), tmp_path / 'root') as store:
    (store.visit('a').folder / 'x').write_bytes(b'x')
  assert not (tmp_path / 'root').exists()
  with pytest.raises(InputError):
    store.visit('b')

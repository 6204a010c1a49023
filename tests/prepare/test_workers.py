"""Workers die, their units do not take others with them."""

import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import pytest

from mdcf_jax.prepare import workers


def _double(x):
  return 2 * x


def _fail(x):
  raise ValueError(f'{x} is odd')


def _die_at_three(x):
  if x == 3:
    os.kill(os.getpid(), signal.SIGKILL)
  return x


def _die_once(path):
  path = pathlib.Path(path)
  if not path.exists():
    path.touch()
    os._exit(1)
  return 'done'


def test_all_units_are_done_by_several_processes(tmp_path):
  results = workers.work_on(range(5), _double, 2, tmp_path / 'log')
  assert sorted(results) == [(x, 2 * x) for x in range(5)]


def test_what_a_unit_raises_is_its_result(tmp_path):
  ((unit, result),) = workers.work_on([7], _fail, 1, tmp_path / 'log')
  assert unit == 7 and isinstance(result, ValueError)
  assert str(result) == '7 is odd'


def test_a_killed_process_costs_its_unit_alone(tmp_path):
  results = dict(workers.work_on(range(5), _die_at_three, 2, tmp_path / 'log'))
  assert isinstance(results.pop(3), workers.WorkerDied)
  assert results == {x: x for x in (0, 1, 2, 4)}


def test_a_unit_gets_a_second_chance(tmp_path):
  flag = str(tmp_path / 'flag')
  ((_, result),) = workers.work_on([flag], _die_once, 1, tmp_path / 'log')
  assert result == 'done'


def test_stopping_early_ends_the_processes(tmp_path):
  results = workers.work_on([0, 60, 60, 60], time.sleep, 2, tmp_path / 'log')
  began = time.monotonic()
  next(results)
  results.close()  # As when the caller is interrupted.
  assert time.monotonic() - began < 30


_PARENT = """
import os, pathlib, sys, time
from mdcf_jax.prepare import workers

def task(_):
  with open(sys.argv[2], 'w') as f:
    f.write(str(os.getpid()))
  time.sleep(60)

if __name__ == '__main__':
  list(workers.work_on([0], task, 1, pathlib.Path(sys.argv[1])))
"""


def test_workers_end_with_a_killed_parent(repository, tmp_path):
  script, pid = tmp_path / 'parent.py', tmp_path / 'pid'
  script.write_text(_PARENT)
  parent = subprocess.Popen(
    [sys.executable, script, tmp_path / 'log', pid],
    stdout=subprocess.PIPE,
    env=os.environ | {'PYTHONPATH': str(repository)},
  )
  deadline = time.monotonic() + 60
  while not pid.exists() and time.monotonic() < deadline:
    time.sleep(0.1)
  parent.kill()
  parent.wait()
  # The pipe is at its end when the last process that may write to it is.
  ready, *_ = select.select([parent.stdout], [], [], 30)
  assert ready and not parent.stdout.read(), 'the worker goes on'


@pytest.mark.parametrize('count', [0, 1])
def test_fewer_units_than_workers(tmp_path, count):
  results = workers.work_on(range(count), _double, 4, tmp_path / 'log')
  assert len(list(results)) == count


def test_no_process_can_be_started(tmp_path, monkeypatch):
  def open_pool(log):
    raise OSError(24, 'Too many open files')

  monkeypatch.setattr(workers, '_open', open_pool)
  _, result = next(workers.work_on([1, 2], _double, 1, tmp_path / 'log'))
  assert isinstance(result, workers.NoWorker)

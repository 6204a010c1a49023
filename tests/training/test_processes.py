"""Two processes on this machine equal one, and stop and resume together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from mdcf_jax.training import checkpoint

TOY = ('-m', 'tests.training.toy')


def free_port():
  with contextlib.closing(socket.socket()) as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def start(repository, arguments, count, devices):
  """Starts the processes of one run, of so many virtual devices each."""
  port = free_port()
  flags = [
    flag
    for flag in os.environ.get('XLA_FLAGS', '').split()
    if 'device_count' not in flag
  ]
  flags.append(f'--xla_force_host_platform_device_count={devices}')
  runs = []
  for index in range(count):
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ' '.join(flags)}
    if count > 1:
      env |= {
        'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
        'JAX_NUM_PROCESSES': str(count),
        'JAX_PROCESS_ID': str(index),
      }
    runs.append(
      subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=repository,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  return runs


def finish(runs):
  errors = [run.communicate(timeout=600)[1] for run in runs]
  assert not any(run.returncode for run in runs), '\n'.join(errors)
  return errors


def assert_near(one, other):
  """Sums over devices are ordered by process: float32 rounding, no more."""
  one, other = (checkpoint.load_run(path)[0] for path in (one, other))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    one,
    other,
  )


def test_two_processes_equal_one(repository, tmp_path):
  """Of the toy phase, on a mesh that shards parameters within a process."""
  changes = ('mesh.fsdp=2', 'picture_every=6', 'save_every=6')
  # So wide that its first kernel is split: smaller arrays are not.
  changes += ('model.toy.features=512',)
  finish(start(repository, [*TOY, tmp_path / 'one', *changes], 1, 8))
  logs = finish(start(repository, [*TOY, tmp_path / 'two', *changes], 2, 4))
  assert 'process 1 of 2' in logs[1]
  assert_near(tmp_path / 'one', tmp_path / 'two')
  # One of them writes, not both.
  lines = [
    len((tmp_path / name / 'scalars.jsonl').read_text().splitlines())
    for name in ('one', 'two')
  ]
  assert lines[0] == lines[1]


def test_another_number_of_processes_goes_on(repository, tmp_path):
  """Stopped by a signal to one of two, resumed by one, ended by two."""
  changes = ('total_steps=60', 'log_every=10', 'picture_every=0')
  runs = start(repository, [*TOY, tmp_path / 'a', *changes], 2, 2)
  for line in runs[1].stderr:
    if 'first step after' in line:
      break
  runs[1].send_signal(signal.SIGTERM)
  logs = finish(runs)
  assert all('stopped and saved at step' in log for log in logs)
  step = checkpoint.load_run(tmp_path / 'a')[2]
  assert 0 < step < 60
  more = ('total_steps=50', *changes[1:])
  finish(start(repository, [*TOY, tmp_path / 'a', *more], 1, 4))
  finish(start(repository, [*TOY, tmp_path / 'a', *changes], 2, 4))
  finish(start(repository, [*TOY, tmp_path / 'b', *changes], 1, 1))
  assert_near(tmp_path / 'a', tmp_path / 'b')


@pytest.mark.parametrize(
  'phase',
  [
    'pbnet',
    pytest.param('fde', marks=pytest.mark.slow),
  ],
)
def test_a_phase_on_two_processes(repository, tmp_path, phase):
  """Through train.py, with batches of the real pipeline.

  Evaluation and pictures are those of the toy: each is a program to compile.
  """
  config = (f'--config=configs/{phase}.py:tiny', '--config.batch_size=8')
  config += ('--config.total_steps=3', '--config.picture_every=0')
  config += ('--config.mesh.fsdp=2', '--config.eval_every=0')

  def arguments(name):
    return ['train.py', *config, f'--workdir={tmp_path / name}']

  finish(start(repository, arguments('one'), 1, 8))
  finish(start(repository, arguments('two'), 2, 4))
  assert_near(tmp_path / 'one', tmp_path / 'two')

"""train.py: what is wrong with a command line is said in one line."""

import subprocess
import sys

import pytest

CONFIG = '--config=configs/fde.py:tiny'
LMAE = '--config=configs/lmae.py:tiny'
EIGHT = '--config.batch_size=8'  # As many as the devices of the tests.
DIR = '--config.data.dir=/absent'


@pytest.mark.parametrize(
  'arguments,message',
  [
    ((), '--config is missing'),
    ((CONFIG,), '--workdir is missing'),
    ((CONFIG, '--workdir='), '--workdir is missing'),
    (('--config=README.md', '--workdir=x'), 'README.md is no config'),
    (('--config=configs/fed.py', '--workdir=x'), 'cannot read the config'),
    (('--config=configs/fde.py:tinny', '--workdir=x'), 'sizes are base, mini'),
    ((CONFIG, '--workdir=x', '--config.optimiser.b1=0'), 'mean "optimizer"'),
    (
      (CONFIG, '--workdir=x', '--config.optimizer.learning_rat=0'),
      'no such key: \'learning_rat\' Did you mean "learning_rate"',
    ),
    ((CONFIG, '--workdir=x', '--config.batch_size=a'), 'invalid literal'),
    ((CONFIG, '--workdir=x', '--speed=9'), "Unknown command line flag 'speed'"),
    ((CONFIG, '--workdir=x', 'fast'), "unknown argument 'fast'"),
    (('--config=configs/fde.py', EIGHT, '--workdir=x'), 'weights of VGG19'),
    ((LMAE, EIGHT, '--workdir=x'), 'config.init_from.fde'),
    ((CONFIG, EIGHT, '--workdir=x', DIR), 'no such folder'),
    ((CONFIG, '--workdir=x', '--distributed=yes'), 'one of auto, on, off'),
  ],
)
def test_errors_are_one_line(repository, tmp_path, arguments, message):
  arguments = [a.replace('=x', f'={tmp_path / "x"}') for a in arguments]
  done = subprocess.run(
    [sys.executable, 'train.py', *arguments],
    cwd=repository,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith('train.py: error: ')
  assert done.stderr.count('\n') == 1
  assert message in done.stderr
  assert not list(tmp_path.iterdir())

"""bench/data.py prints what it says, with no files given."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_pipeline_is_measured(repository):
  done = subprocess.run(
    [
      *(sys.executable, repository / 'bench' / 'data.py'),
      *('--skip', 'prepare', '--resolution', '32', '--repeats', '1'),
      *('--phases', 'fde', 'pbnet'),
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  _, fde, pbnet = done.stdout.splitlines()
  assert fde.startswith('fde: ') and 'decoding' in fde
  assert pbnet.startswith('pbnet: ') and 'decoding' not in pbnet
  for line in (fde, pbnet):
    assert '1, 2 and 3 epochs of 8 clips' in line and 'nan' not in line

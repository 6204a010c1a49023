"""The script that opens PyTorch's files, where torch is installed."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from mdcf_jax.convert import tensors

torch = pytest.importorskip('torch', reason='torch is not installed')
pytestmark = pytest.mark.parity


def run(repository, *argv):
  script = repository / 'scripts' / 'pth_to_safetensors.py'
  return subprocess.run(
    [sys.executable, script, *argv], capture_output=True, text=True
  )


def test_nested_dictionaries_are_flattened(repository, tmp_path):
  weight = torch.arange(6.0).reshape(2, 3)
  torch.save(
    {
      'generator': {'a.weight': weight.T, 'shared': weight},
      'epoch': 4,
      'optimizer': {'state': {0: {'exp_avg': torch.ones(4)}}},
    },
    tmp_path / 'a.pth',
  )
  result = run(repository, tmp_path / 'a.pth', tmp_path / 'a.safetensors')
  assert result.returncode == 0, result.stderr
  found = tensors.read(tmp_path / 'a.safetensors')
  assert set(found) == {'generator.a.weight', 'generator.shared'}
  np.testing.assert_array_equal(found['generator.a.weight'], weight.T)


class Program:
  """What a pickle can do when it is opened."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def test_a_program_in_a_pickle_does_not_run(repository, tmp_path):
  made = tmp_path / 'made'
  with open(tmp_path / 'a.pth', 'wb') as file:
    pickle.dump({'x': Program(made)}, file, protocol=2)
  result = run(repository, tmp_path / 'a.pth', tmp_path / 'a.safetensors')
  assert result.returncode == 2 and 'it was not opened' in result.stderr
  assert not made.exists() and not (tmp_path / 'a.safetensors').exists()


def test_nothing_is_overwritten(repository, tmp_path):
  torch.save({'x': torch.ones(1)}, tmp_path / 'a.pth')
  (tmp_path / 'a.safetensors').write_text('mine')
  result = run(repository, tmp_path / 'a.pth', tmp_path / 'a.safetensors')
  assert result.returncode == 2
  assert (tmp_path / 'a.safetensors').read_text() == 'mine'

"""`mdcf plot`: curves of runs as a picture."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from mdcf_jax.cli import main as cli
from mdcf_jax.cli import plot


@pytest.fixture
def runs(tmp_path):
  """Two runs in a folder."""
  for k, name in enumerate(('fde', 'lmae'), 1):
    folder = tmp_path / 'runs' / name
    folder.mkdir(parents=True)
    with open(folder / 'scalars.jsonl', 'w') as file:
      for step in range(1, 21):
        line = {'step': step, 'train/loss': k / step, 'val/loss': 2 * k / step}
        line |= {'train/psnr': 20.0 + step, 'speed/seconds_left': 3.0}
        line |= {'z/channel_0': [-2, -1, 0, 1, 2]}
        file.write(json.dumps(line) + '\n')
  return tmp_path / 'runs'


def _is_drawn(path):
  """Whether the file is a picture with curves in the first colour on it."""
  with Image.open(path) as image:
    pixels = np.asarray(image.convert('RGB')).reshape(-1, 3).astype(int)
  blue = np.array([0x25, 0x63, 0xEB])
  return (np.abs(pixels - blue).max(axis=-1) < 40).sum() > 100


def test_a_picture_for_each_run_of_a_folder(runs, capsys):
  assert cli.main(['plot', str(runs)]) == 0
  written = [runs / name / 'curves.png' for name in ('fde', 'lmae')]
  assert capsys.readouterr().out.split() == [str(path) for path in written]
  assert all(_is_drawn(path) for path in written)


def test_runs_without_curves_are_left_out(runs, capsys):
  (runs / 'lmae' / 'scalars.jsonl').write_text('')
  assert cli.main(['plot', str(runs)]) == 0
  written = capsys.readouterr().out.split()
  assert written == [str(runs / 'fde' / 'curves.png')]
  (runs / 'fde' / 'scalars.jsonl').write_text('')
  assert cli.main(['plot', str(runs)]) == 2
  assert 'none of these runs has curves' in capsys.readouterr().err


def test_several_runs_in_one_picture(runs, tmp_path):
  output = tmp_path / 'new' / 'both.png'
  names = [str(runs / name) for name in ('fde', 'lmae')]
  assert cli.main(['plot', *names, '--output', str(output)]) == 0
  assert _is_drawn(output)
  assert not (runs / 'fde' / 'curves.png').exists()


def test_panels():
  names = {
    *('train/kl', 'val/kl', 'train/grad_norm', 'train/psnr', 'train/loss'),
    *('speed/data_wait', 'speed/seconds_left', 'val/loss'),
    *('z/channel_10', 'z/channel_2', 'z_label/channel_2', 'custom'),
  }
  panels = plot.arrange(names)
  assert list(panels) == [
    *('loss', 'psnr', 'kl', 'grad_norm', 'data_wait'),
    *('custom', 'z, channel 2', 'z, channel 10'),
  ]
  assert panels['loss'] == ['train/loss', 'val/loss']
  assert panels['z, channel 2'] == ['z/channel_2', 'z_label/channel_2']


@pytest.mark.parametrize(
  'values,log',
  [
    (np.logspace(0, -3, 50), True),
    (np.linspace(20, 30, 50), False),
    (np.linspace(-1, 1000, 50), False),
    (np.full(3, np.nan), False),
  ],
)
def test_log_scales_are_for_orders_of_magnitude(values, log):
  assert plot._wants_log(values) is log


def test_labels_tell_runs_apart(tmp_path):
  paths = [tmp_path / 'a' / 'fde', tmp_path / 'b' / 'fde']
  assert plot._labels(paths) == ['a/fde', 'b/fde']
  assert plot._labels(paths[:1]) == ['fde']


@pytest.mark.parametrize(
  'arguments,message',
  [
    (['{runs}/fde', '{runs}/lmae'], 'need --output FILE.png'),
    (['{runs}/absent'], 'no such folder'),
    (['{runs}/fde', '--smoothing', '1'], 'below 1'),
    (['{runs}/fde', '--output', '{runs}/x.jpg'], 'ends in none of'),
    (['{runs}/fde', '--output', '{runs}/fde'], 'is a directory'),
    (['{runs}/fde', '--output', '/proc/x/curves.png'], 'cannot be written'),
  ],
)
def test_what_cannot_be_is_said_in_one_line(runs, capsys, arguments, message):
  arguments = [argument.format(runs=runs) for argument in arguments]
  assert cli.main(['plot', *arguments]) == 2
  error = capsys.readouterr().err
  assert message in error and error.count('\n') == 1


def test_without_matplotlib_the_extra_is_named(runs, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
  assert cli.main(['plot', str(runs / 'fde')]) == 2
  assert "pip install '.[plot]'" in capsys.readouterr().err

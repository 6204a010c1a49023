"""The table and the curves of scores that docs/scores.md shows."""

import importlib.util

import pytest
from PIL import Image

from tests.report import scores


@pytest.fixture
def script(repository):
  path = repository / 'scripts' / 'score_summary.py'
  spec = importlib.util.spec_from_file_location('score_summary', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def given(tmp_path, shift):
  values = {
    name: {'psnr': 30.0 + shift, 'flow_smoothness_farneback': 0.3}
    for name in ('a', 'b')
  }
  curves = {'psnr': [31 + shift, 30 + shift, 29 + shift]}
  report = scores.report(values, curves=curves, real=0.25)
  return scores.write(tmp_path / f'{shift}.json', report)


def test_systems_stand_beside_one_another(script, tmp_path, capsys):
  arguments = [f'ours={given(tmp_path, 0)}', f'other={given(tmp_path, -2)}']
  assert script.main(arguments) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == '| score |  | true clips | ours | other |'
  rows = [[x.strip() for x in line.strip('|').split('|')] for line in lines[2:]]
  by_name = {row[0]: row[1:] for row in rows if len(row) > 1}
  psnr = by_name['PSNR']
  assert psnr[2:] == ['30.00 [29.50, 30.50]', '28.00 [27.50, 28.50]']
  rough = 'motion roughness (flow smoothness of the paper, Farnebäck)'
  assert by_name[rough][1] == '0.2500'
  assert lines[-1] == 'Not computed, for want of weights: fid.'


def test_curves_are_a_picture(script, tmp_path):
  pytest.importorskip('matplotlib')
  path = tmp_path / 'curves.png'
  assert script.main([given(tmp_path, 0), f'--plot={path}']) == 0
  with Image.open(path) as image:
    assert image.width > 500 and len(image.convert('L').getcolors()) > 10


def test_what_is_no_report_is_told(script, tmp_path, capsys):
  (tmp_path / 'a.json').write_text('{}')
  with pytest.raises(SystemExit):
    script.main([str(tmp_path / 'a.json')])
  assert 'a.json' in capsys.readouterr().err

"""The paper's rows are the paper's, and ours stand apart from them."""

import re

import pytest

from bench import paper_tables
from tests.report import scores


def test_the_rows_are_in_the_paper(test_data):
  path = test_data / 'papers' / 'microscope.txt'
  if not path.exists():
    pytest.skip(f'no {path}')
  text = re.sub(r'<[^>]*>', '', path.read_text(encoding='utf-8'))
  lines = {' '.join(line.split()) for line in text.splitlines()}
  for name, (title, rows) in paper_tables.PAPER.items():
    assert f'Table {name}:' in title and re.search(f'Table {name}:', text)
    for method, numbers in rows.items():
      assert f'{method} {numbers}' in lines, (name, method)


def row(lines, name):
  return next(
    [cell.strip() for cell in line.split('|')[1:-1]]
    for line in lines
    if line.startswith(f'| {name} |')
  )


def test_ours_come_first_and_blank_where_not_computed(tmp_path, capsys):
  data = scores.report({'a': {'psnr': 20.0}, 'b': {'psnr': 30.0}})
  data['scores']['lse_c_exact'] = {
    'value': 5.25,
    'count': 2,
    'better': 'higher',
    'real': {'value': 7.5, 'count': 2},
  }
  path = scores.write(tmp_path / 'a.json', data)
  assert paper_tables.main(['--table', '1', f'mine={path}']) == 0
  text = capsys.readouterr().out
  lines = text.splitlines()
  assert row(lines, 'mine') == ['mine', '', '', '', '5.25', '', '']
  assert row(lines, 'true clips') == ['true clips', '', '', '', '7.50', '', '']
  assert row(lines, 'Ours-256')[1] == '11.22'
  label = text.index('its own protocol: not directly comparable')
  assert text.index('| mine |') < label < text.index('| Audio2Head |')
  assert 'fid not computed: no inception weights' in text
  assert data['protocol']['hash'][:12] in text


def test_flow_smoothness_has_no_number_of_the_paper(tmp_path, capsys):
  given = {name: {'flow_smoothness_farneback': 0.3} for name in 'ab'}
  path = scores.write(tmp_path / 'a.json', scores.report(given))
  assert paper_tables.main(['--table', 'fs', f'mine={path}']) == 0
  text = capsys.readouterr().out
  assert '| mine | farneback | 0.3000 | 0.2000 |  |' in text
  assert '| mine | raft-small |  |  |  |' in text
  assert 'states no number of it' in text

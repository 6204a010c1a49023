"""The script that compares with the public DAWN says what it lacks."""

import importlib.util
import subprocess
import sys


def test_a_wrong_path_is_one_line(repository, tmp_path):
  script = repository / 'scripts' / 'compare_dawn.py'
  result = subprocess.run(
    [sys.executable, script, '--dawn', tmp_path], capture_output=True, text=True
  )
  assert result.returncode == 2 and not result.stdout
  assert result.stderr.startswith(f'compare_dawn.py: {tmp_path} is no checkout')
  assert result.stderr.count('\n') == 1


def test_packages_that_are_missing_are_named(repository, tmp_path, monkeypatch):
  path = repository / 'scripts' / 'compare_dawn.py'
  spec = importlib.util.spec_from_file_location('compare_dawn', path)
  script = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(script)
  for folder in script.FOLDERS:
    (tmp_path / folder).mkdir(parents=True)
  packages = {'json': 'json', 'no_such_module': 'no-such-module==1'}
  monkeypatch.setattr(script, 'PACKAGES', packages)
  problem = script.find_problem(tmp_path)
  assert problem.endswith('pip install no-such-module==1')
  monkeypatch.setattr(script, 'PACKAGES', {'json': 'json'})
  assert script.find_problem(tmp_path) is None

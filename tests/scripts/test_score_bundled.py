"""The script that scores the bundled model tells what its systems are."""

import argparse
import importlib.util

from mdcf_jax.cli import report


def test_every_system_is_told(repository, tmp_path, monkeypatch):
  path = repository / 'scripts' / 'score_bundled.py'
  spec = importlib.util.spec_from_file_location('score_bundled', path)
  script = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(script)
  called = []
  monkeypatch.setattr(script, 'make_clips', lambda args: None)
  monkeypatch.setattr(script.cli, 'main', lambda x: called.append(x) or 0)
  (tmp_path / 'manifest.csv').touch()
  folder = tmp_path / 'scores'
  assert not script.main([f'--output={folder}', f'--realset={tmp_path}'])
  assert [x[0] for x in called] == [*3 * ['evaluate'], 'report']
  parser = argparse.ArgumentParser()
  report.add_arguments(parser)
  args = parser.parse_args(called[-1][1:])
  names = [text.partition('=')[0] for text in args.about]
  assert names == list(script.SYSTEMS)

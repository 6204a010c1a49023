"""What is installed, and what comes with the source; nothing is fetched."""

import fnmatch
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml

import mdcf_jax

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = """
from setuptools import build_meta
build_meta.build_sdist('dist')
build_meta.build_wheel('dist')
"""


@pytest.fixture(scope='module')
def dist(tmp_path_factory):
  """Folder of a wheel and an sdist, of a copy of the checkout."""
  pytest.importorskip('setuptools', '77')
  ignored = (ROOT / '.gitignore').read_text().split()
  copy = tmp_path_factory.mktemp('packaging') / 'checkout'
  ignore = shutil.ignore_patterns('.git', *(x.strip('/') for x in ignored))
  shutil.copytree(ROOT, copy, ignore=ignore)
  subprocess.run(
    [sys.executable, '-c', BUILD], cwd=copy, check=True, capture_output=True
  )
  return copy / 'dist'


@pytest.fixture(scope='module')
def wheel(dist):
  (path,) = dist.glob('*.whl')
  with zipfile.ZipFile(path) as file:
    yield file


def test_wheel_has_every_file_of_the_package_and_no_other(wheel):
  """Weights, styles, scripts and pages too; no tests, no configs."""
  package = ROOT / 'mdcf_jax'
  files = {
    path.relative_to(ROOT).as_posix()
    for path in package.rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }
  assert 'mdcf_jax/bundled/fde.safetensors' in files
  assert {pathlib.PurePath(name).suffix for name in files} >= {'.css', '.js'}
  found = {name for name in wheel.namelist() if '.dist-info/' not in name}
  assert found == files


def test_wheel_describes_itself(wheel):
  (name,) = fnmatch.filter(wheel.namelist(), '*.dist-info/METADATA')
  metadata = wheel.read(name).decode()
  assert f'\nVersion: {mdcf_jax.__version__}\n' in metadata
  assert '\nLicense: Apache-2.0\n' in metadata
  assert '\nProvides-Extra: faces\n' in metadata
  points = wheel.read(name.replace('METADATA', 'entry_points.txt')).decode()
  assert 'mdcf = mdcf_jax.cli.main:main' in points


def test_sdist_is_the_checkout(dist):
  """Whoever has it can test, train, measure and build the site."""
  (path,) = dist.glob('*.tar.gz')
  with tarfile.open(path) as file:
    names = {name.partition('/')[2] for name in file.getnames()}
  for name in (
    *('Makefile', 'Dockerfile', 'mkdocs.yml', 'train.py', 'CITATION.cff'),
    *('LICENSE', 'MODEL_CARD.md', 'requirements.lock', '.ci/run'),
    *('configs/base.py', 'tests/conftest.py', 'docs/design.md'),
    *('docs/architecture.svg', 'assets/portrait.png', 'bench/demo.py'),
    *('scripts/train_bundled.py', 'mdcf_jax/bundled/config.json'),
  ):
    assert name in names, name
  assert not [name for name in names if '__pycache__' in name]


def test_citation():
  """What the format requires, the version, and the paper."""
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert citation['cff-version'] == '1.2.0'
  assert citation['version'] == mdcf_jax.__version__
  assert f"version='{mdcf_jax.__version__}'" in (ROOT / 'setup.py').read_text()
  paper = citation['preferred-citation']
  for entry, keys in (
    (citation, {'message', 'title', 'authors', 'license'}),
    (paper, {'type', 'title', 'authors', 'year'}),
  ):
    assert keys <= set(entry)
    for author in entry['authors']:
      assert {'name'} <= set(author) or {'family-names'} <= set(author)
  assert paper['title'].startswith('Microscope: Efficient Diffusion')


def test_changelog_has_the_version():
  text = (ROOT / 'CHANGELOG.md').read_text()
  assert f'\n## {mdcf_jax.__version__}' in text


def test_image_is_made_of_files_that_it_is_given():
  text = (ROOT / 'Dockerfile').read_text()
  given = {
    line[1:]
    for line in (ROOT / '.dockerignore').read_text().splitlines()
    if line.startswith('!')
  }
  copied = set()
  for line in re.findall(r'^COPY (?!--from)(.*)$', text, re.M):
    *sources, _ = line.split()
    copied |= set(sources)
  assert copied == given  # What is copied is let in, and nothing else.
  for name in copied:
    assert (ROOT / name).exists(), name
  extras = re.search(r'^ARG EXTRAS=(.*)$', text, re.M)[1].split(',')
  for extra in extras:
    assert f"\n    '{extra}': [" in (ROOT / 'setup.py').read_text()


def test_image_runs_without_rights():
  text = (ROOT / 'Dockerfile').read_text()
  last = text.split('\nFROM ')[-1]
  assert re.search(r'^USER (?!root|0\b)\S+$', last, re.M)
  assert last.index('\nUSER') > last.rindex('\nRUN')
  assert ':latest' not in text and 'ADD ' not in text
  for line in re.findall(r'pip install(?: \S+)*', text.replace('\\\n', ' ')):
    assert '--no-cache-dir' in line

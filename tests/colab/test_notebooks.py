"""The notebooks: as they are kept, and from top to bottom."""

import ast
import base64
import csv
import importlib.util
import io
import json
import re
import subprocess
import sys
import wave

import numpy as np
import pytest
from PIL import Image

from tests.tiny_model import write_tiny_weights

NAMES = ('quickstart', 'how_it_works', 'train_on_your_videos')
# Beside the standard library and what setup.py installs, a Colab has these.
COLAB = {'IPython', 'google', 'matplotlib'}
OURS = {'mdcf_jax', 'configs'}
INSTALLED = {'jax', 'numpy'}
LARGEST = 60_000  # Bytes of a file: text alone.


@pytest.fixture(scope='module')
def script(repository):
  path = repository / 'scripts' / 'notebooks.py'
  spec = importlib.util.spec_from_file_location('notebooks', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def code(notebook):
  """Texts of its cells of code."""
  return [
    ''.join(cell['source'])
    for cell in notebook['cells']
    if cell['cell_type'] == 'code'
  ]


def prose(notebook):
  return '\n'.join(
    ''.join(cell['source'])
    for cell in notebook['cells']
    if cell['cell_type'] == 'markdown'
  )


def test_there_are_no_others(repository, script):
  found = {path.stem for path in (repository / 'colab').glob('*.ipynb')}
  assert found == set(NAMES) == set(script.EXTRAS)


@pytest.mark.parametrize('name', NAMES)
def test_files_are_valid_small_and_in_normal_form(repository, script, name):
  """So outputs are stripped, and ids of cells stay as they are."""
  import nbformat

  text = (repository / 'colab' / f'{name}.ipynb').read_text(encoding='utf-8')
  notebook = json.loads(text)
  nbformat.validate(notebook)
  assert len(text) < LARGEST
  assert script.dump(script.normal(name, notebook)) == text
  ids = [cell['id'] for cell in notebook['cells']]
  assert ids[:3] == ['title', 'install', 'parameters']
  assert len(set(ids)) == len(ids)
  for cell in notebook['cells']:
    assert not cell.get('outputs') and not cell.get('execution_count')


@pytest.mark.parametrize('name', NAMES)
def test_code_stands_alone(script, name):
  """Imports are of what a Colab has or the first cell installs, and paths are
  relative."""
  modules = set()
  for text in code(script.read(name)):
    tree = ast.parse(text)
    for node in ast.walk(tree):
      if isinstance(node, ast.Import):
        modules |= {alias.name.split('.')[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        modules.add(node.module.split('.')[0])
      elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        assert not re.search(r'(^|[\s:])[/~]\w+/|[A-Z]:\\', node.value)
      elif isinstance(node, ast.Attribute):
        assert not re.match(r'_[^_]', node.attr), node.attr
  allowed = COLAB | OURS | INSTALLED | set(sys.stdlib_module_names)
  assert {'mdcf_jax', 'os'} <= modules <= allowed


@pytest.mark.parametrize('name', NAMES)
def test_only_the_first_cell_asks_the_network(script, name):
  network = re.compile(r'https?:|\bpip\b|\bgit\b|download|urllib|requests')
  first, *others = code(script.read(name))
  assert network.search(first)
  assert not any(network.search(text) for text in others)


@pytest.mark.parametrize('name', NAMES)
def test_badge_and_links(repository, script, name):
  notebook = script.read(name)
  own = script.repository_of(notebook)
  title = ''.join(notebook['cells'][0]['source'])
  page = f'https://colab.research.google.com/github/{own}/blob/main/colab/'
  assert title.startswith('# ') and title.count('colab-badge.svg') == 1
  assert title.count(f'({page}{name}.ipynb)') == 1
  links = re.findall(r'\]\((https?://[^)]+)\)', prose(notebook))
  files = f'https://github.com/{own}/blob/main/'
  for link in links:
    if link.startswith(files):
      assert (repository / link.removeprefix(files)).is_file(), link
    else:
      assert link.startswith('https://colab.research.google.com/'), link
  # Without an address, files are named that are there.
  for path in re.findall(r'`([\w/]+\.ipynb)`', prose(notebook)):
    assert (repository / 'colab' / path).is_file(), path


def test_all_name_one_repository(script):
  assert len({script.repository_of(script.read(name)) for name in NAMES}) == 1


@pytest.mark.parametrize('name', NAMES)
def test_the_repository_is_told_once(script, name):
  """Badge, links and the clone follow, and nothing else changes."""
  before = script.read(name)
  after = script.normal(name, before, 'someone/talks')
  assert script.repository_of(after) == 'someone/talks'
  own = script.repository_of(before)
  assert f'{own}' not in script.dump(after)
  assert script.normal(name, after, own) == before


def test_what_is_no_repository_is_said(repository):
  path = repository / 'scripts' / 'notebooks.py'
  result = subprocess.run(
    [sys.executable, path, '--repository', 'https://github.com/a/b'],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 2 and 'not OWNER/NAME' in result.stderr


def test_the_first_cell_says_what_is_missing(script, tmp_path):
  """Far from any copy, without an address."""
  install = ''.join(script.cell(script.read('quickstart'), 'install')['source'])
  result = subprocess.run(
    [sys.executable, '-c', install],
    capture_output=True,
    text=True,
    cwd=tmp_path,
  )
  if script.repository_of(script.read('quickstart')) == script.PLACEHOLDER:
    assert result.returncode == 1
    assert result.stderr.startswith('Name the repository')
  assert not list(tmp_path.iterdir())


def test_the_first_cell_takes_a_copy(script, repository, tmp_path):
  """It is not cloned, and what is installed is not installed again."""
  install = ''.join(script.cell(script.read('quickstart'), 'install')['source'])
  own = f'REPOSITORY = {str(repository)!r}'
  install = re.sub(r'(?m)^REPOSITORY = .*', own, install)
  end = '\nimport mdcf_jax\nprint(pathlib.Path(mdcf_jax.__file__).parents[1])'
  result = subprocess.run(
    [sys.executable, '-c', install + end],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env={'PATH': ''},  # No git.
  )
  assert result.stdout.strip() == str(repository), result.stderr
  assert not list(tmp_path.iterdir())


@pytest.fixture
def run(script, tmp_path, monkeypatch):
  """`(name, parameters) -> notebook` with outputs; writes into tmp_path."""
  for variable in ('XDG_CACHE_HOME', 'IPYTHONDIR', 'MPLCONFIGDIR'):
    monkeypatch.setenv(variable, str(tmp_path / 'home'))
  # One device, as a reader has, not the eight of other tests.
  monkeypatch.setenv('XLA_FLAGS', '--xla_backend_optimization_level=0')

  def execute(name, **parameters):
    notebook, cost = script.execute(script.read(name), parameters)
    print(f'{name}: {script.describe(cost)}')
    assert cost.processor > 0 and cost.gibibytes < 4
    return notebook

  return execute


def pictures(notebook, name):
  """PNG files that a cell drew."""
  found = []
  for output in the_cell(notebook, name).outputs:
    data = output.get('data', {})
    if 'image/png' in data:
      found.append(base64.b64decode(data['image/png']))
  return found


def the_cell(notebook, name):
  return next(cell for cell in notebook.cells if cell.get('id') == name)


def check_pictures(notebook, names):
  """Each of these cells drew one picture, and not of one colour."""
  for name in names:
    drawn = pictures(notebook, name)
    assert len(drawn) == 1, name
    low, high = Image.open(io.BytesIO(drawn[0])).convert('L').getextrema()
    assert high - low > 100, name


def check_video(notebook, name, path, size, frames):
  """A cell shows this file, which is a video of that size."""
  from mdcf_jax.media import video

  html = ''.join(
    output.get('data', {}).get('text/html', '')
    for output in the_cell(notebook, name).outputs
  )
  stored = re.search(r'data:video/mp4;base64,([\w+/=\s]+)', html)
  assert base64.b64decode(stored[1]) == path.read_bytes()
  made = video.read_video(path)
  assert made.frames.shape[1:] == (size, size, 3)
  assert abs(len(made.frames) - frames) <= 1 and made.waveform is not None


def printed(notebook, name):
  return ''.join(
    output.get('text', '') for output in the_cell(notebook, name).outputs
  )


def write_sound(path, seconds):
  """A hum, as a WAV file."""
  time = np.arange(round(16000 * seconds)) / 16000
  hum = np.int16(8000 * np.sin(2 * np.pi * 150 * time))
  with wave.open(str(path), 'wb') as file:
    file.setparams((1, 2, 16000, 0, 'NONE', ''))
    file.writeframes(hum.tobytes())


def check_quickstart(run, folder, size, **parameters):
  # As long as the other clips: nothing is compiled again.
  mine = folder / 'mine.wav'
  folder.mkdir()
  write_sound(mine, parameters['SECONDS'])
  notebook = run(
    'quickstart',
    OUTPUT=str(folder),
    MY_IMAGE='assets/portrait.png',
    MY_AUDIO=str(mine),
    **parameters,
  )
  frames = int(25 * parameters['SECONDS'])
  check_pictures(notebook, ['frames'])
  assert len(pictures(notebook, 'given')) == 1
  check_video(notebook, 'play', folder / 'talk.mp4', size, frames)
  check_video(notebook, 'other', folder / 'still.mp4', size, frames)
  check_video(notebook, 'own', folder / 'mine.mp4', size, frames)
  assert 'diffusion' in printed(notebook, 'time')
  return notebook


def test_quickstart(run, tiny_weights, tmp_path):
  check_quickstart(
    run, tmp_path / 'made', 64, WEIGHTS=str(tiny_weights), SECONDS=0.6
  )


@pytest.mark.slow
def test_quickstart_of_the_bundled_model(run, tmp_path):
  notebook = check_quickstart(run, tmp_path / 'made', 256, SECONDS=2.0)
  assert 'exit code 0' in printed(notebook, 'mark')


HOW = (
  *('flow-pictures', 'wheel', 'regions', 'warp', 'latents', 'channels'),
  *('statistics', 'between', 'curves', 'opened', 'steps', 'steer', 'mouth'),
)


def check_how_it_works(run, folder, size, **parameters):
  path = folder / 'talk.mp4'
  notebook = run('how_it_works', OUTPUT=str(path), **parameters)
  check_pictures(notebook, HOW)
  check_video(notebook, 'video', path, size, int(25 * parameters['SECONDS']))
  row = next(x for x in printed(notebook, 'shapes').splitlines() if x[0] == 'z')
  assert '768 times fewer' in row
  return notebook


@pytest.mark.slow
def test_how_it_works(run, tmp_path):
  notebook = check_how_it_works(run, tmp_path, 256, SECONDS=2.0)
  levels = printed(notebook, 'levels').splitlines()
  assert len(levels) == 2 + 9 and levels[-1].split()[-1] == '0.000'


@pytest.mark.slow
def test_how_it_works_of_other_weights(run, tmp_path):
  weights = write_tiny_weights(tmp_path / 'weights', opening=True)
  check_how_it_works(
    run, tmp_path, 64, WEIGHTS=str(weights), SECONDS=0.5, STEPS=6
  )


TRAINED = ('look', 'found', 'curves', 'reconstruct', 'compare')
FEW = dict.fromkeys(('fde', 'lmae', 'diffusion', 'pbnet'), 4)


@pytest.mark.slow
def test_training(run, tmp_path):
  folder = tmp_path / 'work'
  notebook = run('train_on_your_videos', FOLDER=str(folder), STEPS=FEW)
  check_pictures(notebook, TRAINED)
  check_video(notebook, 'generate', folder / 'talk.mp4', 64, 50)
  for phase in FEW:
    assert (folder / 'model' / f'{phase}.safetensors').is_file()


@pytest.mark.slow
def test_training_on_videos(run, test_data, tmp_path, monkeypatch):
  """Two short clips of people, through `mdcf prepare`."""
  model = test_data / 'weights' / 'face_landmarker.task'
  clips = test_data / 'realset'
  if not (model.exists() and clips.exists()):
    pytest.skip(f'no real clips or face model in {test_data}')
  monkeypatch.setenv('MDCF_FACE_MODEL', str(model.resolve()))
  with open(clips / 'manifest.csv') as file:
    rows = [row for row in csv.DictReader(file) if row['subset'] == 'av']
  short = sorted(rows, key=lambda row: float(row['duration']))[:2]
  videos = tmp_path / 'videos'
  videos.mkdir()
  for row in short:
    (videos / row['file'].replace('/', '-')).symlink_to(
      (clips / row['file']).resolve()
    )
  folder = tmp_path / 'work'
  steps = dict.fromkeys(FEW, 2)
  notebook = run(
    'train_on_your_videos', VIDEOS=str(videos), FOLDER=str(folder), STEPS=steps
  )
  check_pictures(notebook, TRAINED)
  assert (folder / 'data' / 'report.html').is_file()
  assert printed(notebook, 'prepare').count('1 clips') == 2

"""`mdcf report`: one page that says what was measured, and needs nothing."""

import base64
import json

import numpy as np
import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.media import video
from mdcf_jax.report import curves, labels, systems, verdict
from tests.evaluation import small
from tests.html_pages import Page
from tests.metrics import pictures
from tests.report import scores

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>&\x07'


def values(shift=0.0, count=8, seed=0):
  """Scores of clips; `shift` decibels more."""
  rng = np.random.default_rng(seed)
  return {
    f'clip{i}': {
      'psnr': 25 + i + shift,
      'lpips_alex': 0.3 - shift / 100,
      'flow_smoothness_farneback': 0.25 + 0.01 * float(rng.normal()),
      'laplacian_ratio_frame': 0.5,
      'mouth_lag': 2.0,
    }
    for i in range(count)
  }


def page_of(tmp_path, *arguments):
  output = tmp_path / 'page' / 'report.html'
  assert main(['report', *arguments, '--output', str(output)]) == 0
  assert [x.name for x in output.parent.iterdir()] == ['report.html']
  page = Page(output.read_text(encoding='utf-8'))
  page.check()
  return page


def test_the_page_says_what_was_measured_and_what_was_not(tmp_path):
  falling = {'csim': np.linspace(0.9, 0.4, 50), 'psnr': np.ones(50)}
  ours = scores.report(values(), curves=falling)
  still = scores.report(values(-3))
  page = page_of(
    tmp_path,
    f'mine={scores.write(tmp_path / "a.json", ours)}',
    scores.write(tmp_path / 'still.json', still),
  )
  row = page.row('PSNR')
  assert '↑' in row[0] and row[1] == ''  # No decibels of a clip to itself.
  assert row[2] == '28.50 28.00 to 29.00'
  assert row[3] == '25.50 25.00 to 26.00 worse'  # In each of eight clips.
  assert page.row('motion roughness (flow')[1] == '0.2000'
  assert 'not computed: no inception weights' in page.row('FID')[1]
  assert 'mdcf download inception' in page.text
  assert 'better in 2 (LPIPS; PSNR)' in page.text
  assert 'CSIM from 0.854 to 0.446' in page.text
  assert 'low, 8 clips of 8 sources (by their names) are few' in page.text
  for text in (ours['protocol']['hash'], 'f' * 64, 'jax 0.10.2', 'Linux x86'):
    assert text in page.text
  assert '<path class="line l0"' in page.text


def test_clips_can_be_sorted(tmp_path):
  """The script sorts by `data-v`; blanks are there, and come last."""
  given = values()
  del given['clip3']['psnr']
  page = page_of(
    tmp_path, scores.write(tmp_path / 'a.json', scores.report(given))
  )
  head = next(row for row in page.rows if row[:2] == ['Clip', 'Frames'])
  column = head.index('PSNR')
  cells = [a for a in page.all('td') if 'data-v' in a]
  found = [cells[i + column]['data-v'] for i in range(0, len(cells), len(head))]
  assert found == ['25.0', '26.0', '27.0', '', '29.0', '30.0', '31.0', '32.0']
  assert 'data-sortable' in page.all('table')[1]
  assert '[data-sortable]' in page.scripts['']


def test_a_name_cannot_inject_anything(tmp_path):
  given = values(count=3)
  given[HOSTILE] = given.pop('clip0')
  data = scores.report(given, skipped={HOSTILE: HOSTILE})
  data['weights'] = {HOSTILE: {HOSTILE: HOSTILE}}
  data['failed'] = {HOSTILE: {'fake': HOSTILE}}
  data['scores'][HOSTILE] = {**data['scores']['psnr'], 'better': HOSTILE}
  data['clips'][HOSTILE]['fake_missing'] = {HOSTILE: HOSTILE}
  data['clips'][HOSTILE]['fake_scores'][HOSTILE] = 1.0
  file = scores.write(tmp_path / 'a.json', data)
  name = HOSTILE.replace('=', '')
  page = page_of(tmp_path, f'{name}={file}', '--title', HOSTILE)
  assert len(page.all('script')) == 1
  assert not page.all('img')
  assert 'alert(1)' in page.text and '<script>alert' not in page.text
  assert '\x07' not in page.text


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Three true clips of 12 frames with sound, and spoiled ones."""
  folder = tmp_path_factory.mktemp('clips')
  for i in range(3):
    frames = pictures.frames(12, small.SIZE, seed=i)
    sound = small.sound(small.flicker(12))
    small.write(folder / 'real' / f'a&b{i}.mp4', frames, sound)
    blurred = pictures.blur(frames, 2 + i)
    small.write(folder / 'fake' / f'a&b{i}.mp4', blurred, sound)
  return folder


@pytest.fixture
def scored(folders, tmp_path, monkeypatch):
  """Arguments of a report on them, by `mdcf evaluate`."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  sides = ['--real', str(folders / 'real'), '--fake', str(folders / 'fake')]
  output = str(tmp_path / 'scores.json')
  names = ['--metrics', 'psnr', 'detail']
  assert main(['evaluate', *sides, '--output', output, *names]) == 0
  return [output, *sides]


def test_clips_are_shown_side_by_side_with_sound(scored, tmp_path):
  page = page_of(tmp_path, *scored, '--clips', '2')
  names = [row[0] for row in page.rows if row and row[0].startswith('a&b')]
  assert names == ['a&b0', 'a&b1', 'a&b2']
  videos = page.all('video')
  assert len(videos) == 2 and all('controls' in x for x in videos)
  assert (
    'a&amp;b2</b>' in page.text.split('Worst by PSNR')[1].split('Best by')[0]
  )
  for attributes in videos:
    kind, _, data = attributes['src'].partition(',')
    assert kind == 'data:video/mp4;base64'
    path = tmp_path / 'shown.mp4'
    path.write_bytes(base64.b64decode(data))
    info = video.probe(path)
    assert (info.width, info.height) == (2 * 256 + 4, 256)
    assert info.has_audio and info.duration == pytest.approx(12 / 25, abs=0.1)
    assert attributes['poster'].startswith('data:image/jpeg;base64,')
  curve = json.loads((tmp_path / 'scores.json').read_text())['curves']['fake']
  assert curve['psnr']['mean'][0] is None  # Frame 0 is given away.
  assert curve['psnr']['count'] == [0] + 11 * [3]


def test_sets_without_pairs_show_no_clips(folders, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  pytest.importorskip('cv2')
  sides = ['--real', str(folders / 'real'), '--fake', str(folders / 'fake')]
  output = str(tmp_path / 'scores.json')
  names = ['--unpaired', '--metrics', 'flow_farneback', 'psnr']
  assert main(['evaluate', *sides, '--output', output, *names]) == 0
  page = page_of(tmp_path, output, *sides)
  assert not page.all('video') and 'no clip with a score is a pair' in page.text
  assert page.row('PSNR')[1] == 'not computed: clips are not paired'


def test_flow_is_drawn_where_there_is_an_estimator(scored, tmp_path):
  pytest.importorskip('cv2')
  page = page_of(tmp_path, *scored, '--clips', '1')
  assert 'Farnebäck’s estimator' in page.text
  alts = [a['alt'] for a in page.all('img')]
  assert alts.count('true: flow as colours') == 1
  assert alts.count('scores: flow as colours') == 1


@pytest.mark.parametrize(
  'spoil, words',
  [
    (lambda data: data.update(format=2), 'format 2'),
    (lambda data: data['scores'].clear(), 'there are no scores'),
    (lambda data: data['scores']['psnr'].update(value='high'), 'psnr|high'),
    (lambda data: data['scores']['psnr'].update(value=float('nan')), 'NaN'),
    (lambda data: data.pop('clips'), 'clips'),
    (lambda data: data['protocol'].update(hash='other'), 'two protocols'),
  ],
)
def test_damaged_or_other_scores_are_one_line(tmp_path, capsys, spoil, words):
  good, bad = scores.report(values()), scores.report(values())
  spoil(bad)
  files = [
    scores.write(tmp_path / f'{name}.json', data)
    for name, data in (('good', good), ('bad', bad))
  ]
  output = tmp_path / 'report.html'
  assert main(['report', *files, '--output', str(output)]) == 2
  error = capsys.readouterr().err.splitlines()
  assert len(error) == 1 and error[0].startswith('mdcf: error:')
  assert any(word in error[0] for word in words.split('|'))
  assert not output.exists()


@pytest.mark.parametrize(
  'arguments, words',
  [
    (['nowhere.json'], 'nowhere.json cannot be read'),
    (['{0}', '{0}'], 'one name'),
    (['={0}'], 'neither PATH nor NAME=PATH'),
    (['{0}', '--real', 'x'], 'belong together'),
    (['{0}', '--real', 'x', '--fake', 'y'], 'no such folder'),
    (['{0}', '--output', 'report.txt'], 'ends in none of'),
  ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, arguments, words):
  file = scores.write(tmp_path / 'a.json', scores.report(values()))
  given = [x.format(file) for x in arguments]
  output = ['--output', str(tmp_path / 'report.html')]
  assert main(['report', *output, *given]) == 2
  assert words in capsys.readouterr().err


def test_verdicts_look_at_the_same_clips(tmp_path):
  """Better clip by clip is better, even where intervals of means overlap."""
  files = {
    name: scores.write(tmp_path / f'{name}.json', scores.report(given))
    for name, given in (
      ('ours', values(0.5)),
      ('other', values(0)),
      ('few', values(0, count=2)),
    )
  }
  ours, other, few = systems.read(systems.named(files.values()))
  words = {k: v.word for k, v in verdict.compare(ours, other).items()}
  assert words['psnr'] == words['lpips_alex'] == verdict.BETTER
  assert words['mouth_lag'] == verdict.OPEN
  assert verdict.compare(other, ours)['psnr'].word == verdict.WORSE
  assert not verdict.compare(few, ours)
  assert verdict.loss('one', 2.0, None) == verdict.loss('one', 0.5, None)
  assert verdict.loss('truth', 0.3, 0.2) == pytest.approx(0.1)
  assert verdict.ranked(ours, 'psnr')[0] == 'clip7'


def test_curves_end_where_few_clips_reach():
  mean, count = [None, 1.0, 2.0, 3.0, 9.0], [0, 4, 4, 2, 1]
  numbers = [np.nan if x is None else x for x in mean]
  kept = curves.kept((numbers, count))
  np.testing.assert_array_equal(kept, [np.nan, 1, 2, 3])
  assert curves.drift(np.arange(10.0)) == (0.5, 8.5)
  assert curves.drift(np.arange(5.0)) is None


def test_every_score_of_the_table_has_a_label():
  from mdcf_jax.evaluation import table

  names = {name for metric in table.METRICS for name in metric.scores}
  unknown = [name for name in names if labels.label(name).group == labels.OTHER]
  assert set(unknown) <= set(labels.HIDDEN)

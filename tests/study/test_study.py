"""`mdcf study`: clips without names, and means of answers that are known."""

import base64
import json

import numpy as np
import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.media import video
from mdcf_jax.study import score
from mdcf_jax.study.questions import KEYS, QUESTIONS
from tests.evaluation import small
from tests.html_pages import Page
from tests.metrics import pictures

SYSTEMS = ('truth', 'ours', 'other')
TITLE = 'Look </script><b>here</b>'


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Four clips of three systems: 8 frames, with sound."""
  folder = tmp_path_factory.mktemp('clips')
  for i in range(4):
    frames = pictures.frames(8, small.SIZE, seed=i)
    sound = small.sound(small.flicker(8))
    for level, system in enumerate(SYSTEMS):
      spoiled = pictures.blur(frames, level)
      small.write(folder / system / f'secret{i}.mp4', spoiled, sound)
  return folder


def make(folders, output, *more):
  systems = [f'{name}={folders / name}' for name in SYSTEMS[1:]]
  given = ['--truth', str(folders / 'truth'), '--output', str(output)]
  small_ones = ['--clips', '3', '--size', '64']
  return main(
    ['study', 'make', '--systems', *systems, *given, *small_ones, *more]
  )


@pytest.fixture(scope='module')
def study(folders, tmp_path_factory):
  """The page as text, and the key."""
  folder = tmp_path_factory.mktemp('study')
  assert make(folders, folder / 'study.html', '--title', TITLE) == 0
  assert sorted(x.name for x in folder.iterdir()) == [
    'study.html',
    'study.key.json',
  ]
  text = (folder / 'study.html').read_text(encoding='utf-8')
  return text, json.loads((folder / 'study.key.json').read_text())


def test_the_page_does_not_tell_which_clip_is_whose(study):
  text, key = study
  page = Page(text)
  page.check(addresses=('blob:',))
  assert '<b>here</b>' not in text
  for word in ('secret', '"ours', 'other', 'truth', 'seed'):
    assert word not in page.scripts['about']
  assert 'secret' not in text
  about = json.loads(page.scripts['about'])
  assert set(about) == {'study', 'questions', 'clips', 'size'}
  assert about['clips'] == sorted(key['clips'])  # An order that tells nothing.
  assert about['study'] == key['study']
  pairs = {(x['system'], x['clip']) for x in key['clips'].values()}
  assert len(pairs) == 9 and len({clip for _, clip in pairs}) == 3


def test_all_clips_are_alike_but_for_their_pictures(study, tmp_path):
  text, key = study
  page, kinds = Page(text), set()
  for token in key['clips']:
    path = tmp_path / 'clip.mp4'
    path.write_bytes(base64.b64decode(page.scripts[token]))
    info = video.probe(path)
    import av

    with av.open(str(path)) as file:
      kinds.add((info, file.metadata.get('comment'), len(file.streams)))
  assert len(kinds) == 1


def test_questions_are_the_papers(study):
  text, _ = study
  assert [q.title for q in QUESTIONS] == ['L-Sync', 'O-Nat', 'V-Qual', 'V-Stab']
  about = json.loads(Page(text).scripts['about'])
  for asked, question in zip(about['questions'], QUESTIONS):
    assert asked['key'] == question.key
    assert asked['criteria'] == list(question.criteria)
    assert len(set(question.criteria)) == 5


def test_a_seed_repeats_itself(folders, study, tmp_path):
  same, other = tmp_path / 'same.html', tmp_path / 'other.html'
  assert make(folders, same, '--title', TITLE) == 0
  assert json.loads(same.with_suffix('.key.json').read_text()) == study[1]
  about = [Page(text).scripts['about'] for text in (same.read_text(), study[0])]
  assert about[0] == about[1]
  assert make(folders, other, '--seed', '1') == 0
  key = json.loads(other.with_suffix('.key.json').read_text())
  assert key['study'] != study[1]['study']
  assert not key['clips'].keys() & study[1]['clips'].keys()


def answers(key, code, judge):
  """A file as the page saves it: `judge(system, clip, question)` of each."""
  return {
    'format': 'mdcf-study-answers',
    'version': 1,
    'study': key['study'],
    'participant': code,
    'answers': {
      token: {q: judge(about['system'], about['clip'], q) for q in KEYS}
      for token, about in key['clips'].items()
    },
  }


def hand_in(folder, key, *files):
  """Writes the key and answers; returns the arguments of `score`."""
  paths = []
  for i, data in enumerate(files):
    path = folder / f'answers{i}.json'
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    paths.append(str(path))
  (folder / 'study.key.json').write_text(json.dumps(key))
  return [*paths, '--key', str(folder / 'study.key.json')]


def test_means_are_those_of_the_answers(study, tmp_path, capsys):
  _, key = study
  level = {'truth': 5, 'ours': 3, 'other': 1}

  def judge(more):
    return lambda system, clip, question: (
      level[system] if question != 'l_sync' else min(level[system], 4) + more
    )

  given = hand_in(
    tmp_path, key, *(answers(key, f'p{i}', judge(i)) for i in range(2))
  )
  output = tmp_path / 'found.json'
  assert main(['study', 'score', *given, '--output', str(output)]) == 0
  found = json.loads(output.read_text())
  assert (found['participants'], found['clips']) == (2, 3)
  for system, value in level.items():
    assert found['means'][system]['o_nat'] == {
      'value': value,
      'low': value,
      'high': value,
    }
  # Two participants, who differ by one: drawn alone, they are the ends.
  sync = found['means']['ours']['l_sync']
  assert (sync['value'], sync['low'], sync['high']) == (3.5, 3.0, 4.0)
  text = capsys.readouterr().out
  assert '2 participants x 3 clips' in text and '3.50 [3.00, 4.00]' in text
  assert 'drawn with replacement' in text


def test_intervals_hold_both_kinds_of_chance():
  """Against the sum of variances, for answers of which both have a part."""
  rng = np.random.default_rng(0)
  people, clips = rng.normal(size=(40, 1)), rng.normal(size=(1, 30))
  found = score._mean(people + clips, 0)
  expected = np.sqrt(people.var() / 40 + clips.var() / 30)
  # Quantiles of 10000 draws: about 2 %.
  assert (found.high - found.low) / 2 / 1.96 == pytest.approx(
    expected, rel=0.05
  )
  assert score._mean(people[:1] + clips, 0).low is None


def spoiled(data, change):
  data = json.loads(json.dumps(data))
  change(data)
  return data


@pytest.mark.parametrize(
  'change, words',
  [
    (lambda x: x.update(study='0' * 16), 'answers of study'),
    (lambda x: x.update(format='song'), 'no answers of a study'),
    (lambda x: x.pop('participant'), 'participant'),
    (lambda x: x['answers'].update(c0=dict.fromkeys(KEYS, 3)), "clip 'c0'"),
    (lambda x: x['answers'].popitem(), '1 of 9 clips are not judged'),
    (lambda x: next(iter(x['answers'].values())).update(o_nat=6), 'not 1 to 5'),
    (lambda x: next(iter(x['answers'].values())).update(o_nat=3.5), 'is 3.5'),
    (lambda x: next(iter(x['answers'].values())).update(o_nat=True), 'True'),
    (lambda x: next(iter(x['answers'].values())).pop('o_nat'), '3 of 4'),
    (lambda x: x.update(answers=[1]), 'cannot be read'),
  ],
)
def test_damaged_and_foreign_answers_are_one_line(
  study, tmp_path, capsys, change, words
):
  good = answers(study[1], 'p0', lambda *_: 3)
  bad = spoiled(answers(study[1], 'p1', lambda *_: 3), change)
  given = hand_in(tmp_path, study[1], good, bad)
  assert main(['study', 'score', *given]) == 2
  error = capsys.readouterr().err.splitlines()
  assert len(error) == 1 and words in error[0] and 'answers1.json' in error[0]


def test_other_things_that_go_wrong_are_one_line(
  study, folders, tmp_path, capsys
):
  good = answers(study[1], 'p0', lambda *_: 3)
  given = hand_in(tmp_path, study[1], good, good)
  assert main(['study', 'score', *given]) == 2
  assert "participant 'p0' is that of" in capsys.readouterr().err
  cut = hand_in(tmp_path, study[1], json.dumps(good)[:-20])
  assert main(['study', 'score', *cut]) == 2
  assert 'cannot be read' in capsys.readouterr().err
  key = hand_in(tmp_path, {'format': 'song'}, good)
  assert main(['study', 'score', *key]) == 2
  assert 'study.key.json cannot be read' in capsys.readouterr().err
  page = tmp_path / 'page' / 'study.html'
  for more, words in (
    (['--clips', '9'], 'have 4 clips in common'),
    (['--systems', f'truth={folders}'], "'truth' is taken"),
    (['--systems', str(folders)], 'no NAME=DIR'),
    (['--size', '65'], 'not even'),
    (['--output', str(tmp_path / 'x.pdf')], 'ends in none of'),
  ):
    assert make(folders, page, *more) == 2
    assert words in capsys.readouterr().err
  silent = tmp_path / 'silent'
  for i in range(4):
    small.write(silent / f'secret{i}.mp4', pictures.frames(8, small.SIZE))
  assert make(folders, page, '--systems', f'silent={silent}') == 2
  assert 'has no sound' in capsys.readouterr().err
  assert not page.exists()

"""What a stranger needs: order, names of systems, counts, legend, ideals."""

import numpy as np
import pytest

from mdcf_jax.cli.main import main
from mdcf_jax.report import clips, curves, labels, page, systems, verdict
from tests.html_pages import Page
from tests.report import scores
from tests.report.test_report import HOSTILE, page_of, values


@pytest.fixture
def two(tmp_path):
  """Files of two systems whose clips have parts of other scores too."""
  files = []
  for name, shift in (('ours', 0.0), ('other', -3.0)):
    given = values(shift)
    for row in given.values():
      row |= {'blinks': 2.0, 'blink_seconds': 4.0, 'pose_variance_ratio': 1.5}
    files.append(scores.write(tmp_path / f'{name}.json', scores.report(given)))
  return files


def test_parts_of_scores_are_counted_and_shown_nowhere(two, tmp_path):
  shown = page_of(tmp_path, *two)
  assert '<dt>scores</dt><dd>6</dd>' in shown.text
  assert 'of 6 scores that compare clip by clip' in shown.text
  assert 'blink_seconds' not in shown.text and 'blinks' not in shown.text
  found = systems.read(systems.named(two))
  assert 'blinks' in found[0].scores  # They are there to be left out.
  assert set(verdict.compare(*found)) == set(labels.shown(found[0].scores))


def test_the_order_is_that_of_a_reader(two, tmp_path):
  text = page_of(tmp_path, *two).text
  found = [
    text.index(f'<section id="{name}">')
    for name in ('in-short', 'clips', 'scores', 'over-time', 'motion')
  ]
  assert found == sorted(found)
  short = text[found[0] : found[1]]
  assert short.index('<b>Trust:') < short.index('A talking head is')
  scored = text[found[2] : found[3]]
  assert scored.index('more is better') < scored.index('<table')
  assert 'better or worse than <bdi>ours</bdi>' in scored
  assert '<h1>How close does ours come to true recordings?</h1>' in text


def test_true_clips_have_their_own_score_or_the_ideal(two, tmp_path):
  shown = page_of(tmp_path, *two)
  assert shown.row('motion roughness')[1] == '0.2000'
  assert shown.row('sharpness over')[1] == '1'
  assert shown.row('lag of the mouth')[1] == shown.row('LPIPS')[1] == '0'
  assert shown.row('PSNR')[1] == ''
  assert shown.text.count('<td class="ideal">') == 4
  assert 'may contradict the means' in shown.row('…')[0]


def test_systems_are_told(two, tmp_path):
  shown = page_of(
    tmp_path, *two, '--about=ours=by a net.', f'--about=other={HOSTILE}'
  )
  header = shown.text.split('<nav>')[0]
  assert '<li><bdi>ours</bdi>: by a net.</li>' in header
  assert header.count('<li>') == 2 and '<script>alert' not in shown.text
  assert '<ul class="who">' not in page_of(tmp_path, *two).text


@pytest.mark.parametrize(
  'words, told',
  [
    (['nobody=text'], "'nobody=text' is not NAME=TEXT"),
    (['ours'], 'of: ours, other'),
    (['ours= '], 'is not NAME=TEXT'),
    (['ours=a', 'ours=b'], 'two texts are about ours'),
  ],
)
def test_texts_about_nobody_are_one_line(two, tmp_path, capsys, words, told):
  output = tmp_path / 'report.html'
  about = [f'--about={word}' for word in words]
  assert main(['report', *two, *about, '--output', str(output)]) == 2
  error = capsys.readouterr().err.splitlines()
  assert len(error) == 1 and told in error[0] and not output.exists()


def test_a_name_with_an_equals_sign_is_the_longest_that_fits(two):
  a, b = systems.read(dict(zip(('a', 'a=b'), systems.named(two).values())))
  found = systems.described([a, b], ['a=b=text', 'a=c=d'])
  assert [x.about for x in found] == ['c=d', 'text']


def test_equal_blocks_are_shown_once(two, tmp_path):
  def measured(files):
    text = page_of(tmp_path, *files).text
    return text.split('<section id="how-it-was-measured">')[1]

  once = measured(two)
  assert once.count('jax 0.10.2') == 1
  assert '<h3><bdi>ours</bdi>, <bdi>other</bdi></h3>' in once
  differs = scores.report(values(), versions={'jax': '0.11.2'})
  twice = measured([two[0], scores.write(tmp_path / 'new.json', differs)])
  assert twice.count('jax 0.10.2') == twice.count('jax 0.11.2') == 1


def falling(sharp, tmp_path):
  data = scores.report(values(), curves={'laplacian_ratio_frame': sharp})
  return page_of(tmp_path, scores.write(tmp_path / 'a.json', data)).text


def test_what_falling_apart_rests_on(tmp_path):
  alone = 'by sharpness over the true one alone: less than a tenth'
  soft = falling(np.full(50, 0.5), tmp_path)
  assert alone in soft and 'blurred from the start: 0.50.' in soft
  sharp = falling(np.full(50, 0.95), tmp_path)
  assert alone in sharp and 'blurred from the start' not in sharp
  assert 'No sign' not in falling(np.linspace(0.9, 0.4, 50), tmp_path)


def test_where_short_clips_end_is_told(tmp_path):
  def said(count):
    data = scores.report(values(), curves={'psnr': np.ones(len(count))})
    data['curves']['fake']['psnr']['count'] = count
    return page_of(tmp_path, scores.write(tmp_path / 'a.json', data)).text

  count = [0] + [8] * 49 + [7] * 25 + [5] * 25 + [3] * 25
  assert curves.ends((np.ones(125), count)) == [50, 75]  # 3 of 8 are not drawn.
  assert 'Short clips end after 2.0 and 3.0 s: a step' in said(count)
  assert 'Short clips end after 2.0 s: a step' in said([8] * 50 + [7] * 25)
  assert 'Short clips' not in said([8] * 50)
  many = [8] * 25 + [7] * 25 + [6] * 25 + [5] * 25 + [4] * 25
  assert 'after 1.0, 2.0, 3.0 and 4.0 s' in said(many)
  stairs = [16 - i // 10 for i in range(60)]
  assert 'Short clips end from 0.4 s on: a step' in said(stairs)


def test_headings_tell_by_which_score(tmp_path):
  given = {f'clip{i}': {'mouth_correlation': i / 4} for i in range(4)}
  file = scores.write(tmp_path / 'a.json', scores.report(given))
  (system,) = systems.read(systems.named([file]))
  chosen = clips.choose(system, 'mouth_correlation', 2, set(given))
  assert [(x.name, x.heading) for x in chosen] == [
    ('clip0', 'Mouth follows least'),
    ('clip3', 'Mouth follows most'),
  ]


def test_controls_stand_below_and_words_stay_whole():
  """Rules of the style that pictures of the page were looked at with."""
  style = page._PAGE.read_text(encoding='utf-8')
  assert 'object-position: top' in style
  phone = style.split('@media (max-width: 34rem)')[1].split('@media')[0]
  assert 'display: none' not in phone and 'position: sticky' in phone
  assert 'overflow-wrap: normal; min-width' in style.split('thead th')[1]


def test_players_have_names_above_them(tmp_path):
  card = clips._card(
    clips.Chosen('a', 'best', '1.0', 'Best'),
    ['true', 'ours'],
    'PSNR',
    _Small,
    'data:image/jpeg;base64,',
  )
  assert card.index('class="panels"') < card.index('<video controls')
  Page(card)


class _Small:
  uri, seconds = 'data:video/mp4;base64,', 1.0

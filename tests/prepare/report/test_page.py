"""The page that says what a dataset is."""

import html.parser
import re

import numpy as np
import pytest

from mdcf_jax.data import synthetic
from mdcf_jax.errors import InputError
from mdcf_jax.pages import markup
from mdcf_jax.prepare.report import Dropped, left_out, write_report
from mdcf_jax.prepare.report.contact_sheet import ContactSheet
from mdcf_jax.prepare.report.figures import MAX_SUSPECTS, Summary, read_clip

VOID = {'meta', 'input', 'img', 'br', 'link'}
KNOWN = dict(
  source_fps=29.97,
  face_pixels=180.0,
  sharpness=0.2,
  loudness=-22.0,
  lag=0.0,
  lag_score=0.7,
)


class Page(html.parser.HTMLParser):
  """A page read back: its tags, and the text of each with a class or id."""

  def __init__(self, text):
    super().__init__()
    self.text, self.open, self.tags = text, [], []
    self.rows, self.titles = [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    parent = self.open[-1] if self.open else None
    self.tags.append((tag, attributes, parent))
    if tag == 'tr':
      self.rows.append([])
    if tag in ('td', 'th'):
      self.rows[-1].append('')
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes), self.open[-1]))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if 'td' in self.open or 'th' in self.open:
      self.rows[-1][-1] += data
    if self.open and self.open[-1] == 'title':
      self.titles.append(data)

  def row(self, first):
    """Cells of the first row that begins so."""
    return next(row for row in self.rows if row and row[0] == first)

  def bars(self, chart):
    """{range: count} of a histogram, as its bars say."""
    section = self.text.split(f'<h3>{chart}</h3>')[1].split('</figure>')[0]
    found = re.findall(r'<title>([^<]*): ([\d,]+) \w+</title></rect>', section)
    return {name: int(count.replace(',', '')) for name, count in found}

  def check(self):
    """Nothing from outside, nothing that runs, every picture is named."""
    names = [a['id'] for _, a, _ in self.tags if 'id' in a]
    assert len(names) == len(set(names))
    for index, (tag, attributes, _) in enumerate(self.tags):
      assert tag not in ('script', 'link', 'iframe', 'object', 'base')
      assert not any(name.startswith('on') for name in attributes)
      for key in ('href', 'src', 'xlink:href', 'srcset', 'action'):
        address = attributes.get(key, 'data:')
        if address.startswith('#'):
          assert address[1:] in names
        else:
          assert address.startswith('data:')
      if tag == 'svg':
        assert self.tags[index + 1][0] == 'title'
        assert attributes['role'] == 'img'
      if tag == 'img':
        assert attributes['alt']
    style = self.text.split('<style>')[1].split('</style>')[0]
    assert 'url(' not in style and '@import' not in style


@pytest.fixture(scope='module')
def drawn():
  """Three clips of two people, 80 frames each."""
  heads = {1: 7, 2: 7, 3: 8}
  return [
    synthetic.make_clip(seed, 80, 64, head) for seed, head in heads.items()
  ]


def report(path, records, dropped=(), settings=None, name='mine'):
  """Writes a page and reads it back."""
  path = path / 'report.html'
  write_report(path, name, iter(records), iter(dropped), settings or {})
  assert [p.name for p in path.parent.iterdir()] == ['report.html']
  page = Page(path.read_text(encoding='utf-8'))
  page.check()
  return page


def test_numbers_are_those_of_the_records(tmp_path, drawn):
  first, second, third = (clip | KNOWN for clip in drawn)
  second['detected'] = np.arange(80) >= 20
  second['waveform'] = second['waveform'][:0]
  page = report(tmp_path, [('train', first), ('train', second), ('val', third)])

  assert page.row('train') == ['train', '2', '1', '0.11', '1', '160']
  assert page.row('val') == ['val', '1', '1', '0.05', '1', '80']
  assert page.row('All') == ['All', '3', '2', '0.16', '2', '240']
  assert page.row(first['identity'])[1:4] == ['train', '2', '0.11']
  assert page.row(first['identity'])[4] == '67 %'
  assert 'One person holds 67 % of the minutes' in page.text
  for chart in ('Yaw', 'Size', 'Opening of the mouth'):
    assert sum(page.bars(chart).values()) == 220
  assert '220 frames with a face; 20 others (8.3 %)' in page.text
  yaw = np.concatenate([clip['pose'][:, 0] for clip in (first, third)])
  yaw = np.append(yaw, second['pose'][20:, 0])
  # The page has whole degrees, counted to a tenth.
  section = page.text.split('<h3>Yaw</h3>')[1].split('</figure>')[0]
  said = re.search(r'Median (\S+), from (\S+) to (\S+)\.', section).groups()
  values = [float(v.replace('\N{MINUS SIGN}', '-')) for v in said]
  expected = [np.median(yaw), yaw.min(), yaw.max()]
  np.testing.assert_allclose(values, expected, atol=0.56)
  assert page.bars('Frame rate of the video') == {'29.97 frames per second': 3}
  assert sum(page.bars('Filled frames').values()) == 3
  assert '25 % filled' in page.text


def test_unknown_figures_are_counted_not_drawn(tmp_path, drawn):
  nothing = dict.fromkeys(KNOWN, float('nan'))
  page = report(
    tmp_path, [('train', drawn[0] | KNOWN), ('train', drawn[1] | nothing)]
  )
  for chart in ('Loudness', 'Sharpness', 'Face in the video'):
    assert sum(page.bars(chart).values()) == 1
    section = page.text.split(f'<h3>{chart}</h3>')[1].split('</figure>')[0]
    assert 'Unknown: 1 clip.' in section
  page = report(tmp_path, [('train', drawn[0] | nothing)])
  assert page.text.count('Nothing is known of it.') == 6
  text = re.sub(r'base64,[^"]*', '', page.text.split('</style>')[1])
  assert not re.search(r'\b(nan|inf)\b', text.lower())


def test_suspects_of_lag_need_a_good_score(tmp_path, drawn):
  lags = [(5, 0.7), (-2, 0.9), (7, 0.2), (-3, 0.5), (float('nan'), 0.9)]
  clips = [
    drawn[0] | KNOWN | dict(id=f'clip-{i}', lag=float(lag), lag_score=score)
    for i, (lag, score) in enumerate(lags)
  ]
  page = report(tmp_path, [('train', clip) for clip in clips])
  listed = [row[0] for row in page.rows if row and row[0].startswith('clip-')]
  assert listed == ['clip-0', 'clip-3']
  assert page.row('clip-0')[2:] == ['+5', '0.70']
  assert '2 clips may have sound' in page.text
  minus = '\N{MINUS SIGN}'
  assert page.bars('Lag of the sound') == {
    '5 frames': 1,
    f'{minus}2 frames': 1,
    f'{minus}3 frames': 1,
  }


@pytest.mark.parametrize(
  'name, shown',
  [
    ('<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'),
    ('"><img src=x onerror=y>', '&quot;&gt;&lt;img src=x onerror=y&gt;'),
    ('Zoë 周 & co', 'Zoë 周 &amp; co'),
    ('a\udcff', 'a\\udcff'),
    ('a\x00\x1b[31m\n', 'a\\x00\\x1b[31m\\n'),
    ('$title ${body} $$', '$title ${body} $$'),
  ],
)
def test_names_are_text(tmp_path, drawn, name, shown):
  record = drawn[0] | KNOWN | dict(id=name, identity=name, source=name, lag=9.0)
  page = report(
    tmp_path,
    [('train', record)],
    [Dropped(name, name, name, name)],
    {name: name, 'list': [name]},
    name,
  )
  body = page.text.split('<body>')[1]
  assert f'<h1>{shown}</h1>' in body
  assert f'<b class="name">{shown}</b>' in body
  assert f'<td class="name">{shown}</td>' in body
  assert f'<dt>{shown}</dt><dd>{shown}</dd>' in body


def test_bytes_of_another_encoding_are_shown():
  assert markup.escape(b'caf\xe9') == 'caf\\udce9'
  assert markup.escape('café'.encode()) == 'café'


def test_settings(tmp_path):
  settings = dict(resolution=256, framing=dict(ratio=1.6), hubert=None)
  page = report(tmp_path, [], settings=settings | dict(search=True, of=()))
  for key, value in {
    'resolution': '256',
    'framing.ratio': '1.6',
    'hubert': '–',
    'search': 'yes',
    'of': '–',
  }.items():
    assert f'<dt>{key}</dt><dd>{value}</dd>' in page.text


def test_no_clips_and_nothing_left_out(tmp_path):
  page = report(tmp_path, [])
  assert 'No clip was kept.' in page.text
  assert 'Nothing was left out.' in page.text
  assert page.row('All') == ['All', '0', '0', '0.0', '0', '0']
  assert not any(tag == 'svg' for tag, *_ in page.tags)


def test_odd_clips_do_not_stop_the_page(tmp_path, drawn):
  whole = drawn[0] | KNOWN
  broken = whole | dict(id='broken', frames=[b'no picture'] * 80)
  blind = whole | dict(id='blind', detected=np.zeros(80, bool))
  wild = whole | dict(
    id='wild',
    pose=np.full((80, 6), np.nan, np.float32),
    landmarks=np.full((80, 8, 2), np.nan, np.float32),
    face_box=np.full((80, 4), np.nan, np.float32),
    loudness=float('-inf'),
    sharpness=1e300,
  )
  empty = whole | dict(
    id='empty',
    frames=[],
    **{k: whole[k][:0] for k in ('pose', 'blink', 'landmarks', 'detected')},
    **{k: whole[k][:0] for k in ('face_box', 'mouth_box', 'waveform')},
  )
  clips = [broken, blind, wild, empty]
  page = report(tmp_path, [('train', clip) for clip in clips])
  assert page.row('All')[1] == '4'
  assert '1 clip without sound' in page.text
  assert 'Unknown: 80 frames.' in page.text


def test_people_in_two_splits_are_told(tmp_path, drawn):
  records = [('train', drawn[0]), ('val', drawn[1])]
  assert 'in more than one split: synthetic-00007.' in (
    report(tmp_path, records).text
  )
  assert 'in more than one split' not in (
    report(tmp_path, [('train', drawn[0]), ('val', drawn[2])]).text
  )


def test_same_records_same_page(tmp_path, drawn):
  pages = [
    report(tmp_path, [('train', clip) for clip in drawn]).text for _ in range(2)
  ]
  assert pages[0] == pages[1]


def test_the_old_page_stays_until_the_new_one_is_whole(tmp_path, drawn):
  path = tmp_path / 'report.html'
  path.write_text('old')

  def cut():
    yield 'train', drawn[0]
    raise OSError('gone')

  with pytest.raises(OSError, match='gone'):
    write_report(path, 'mine', cut(), [], {})
  assert path.read_text() == 'old'
  with pytest.raises(InputError, match='nowhere'):
    write_report(tmp_path / 'nowhere' / 'report.html', 'mine', [], [], {})


def test_what_was_left_out_is_grouped_by_reason(tmp_path, drawn):
  picture = drawn[0]['frames'][0]
  dropped = [
    Dropped('a-1', 'v/a.mp4', 'a', 'too small: 41 of 100 pixels', picture),
    Dropped('b-1', 'v/b.mp4', 'b', 'too small: 7 of 100 pixels', b'broken'),
    Dropped('c-1', 'v/c.mp4', 'c', '/x/v/c.mp4: 9 frames are too few, 10 are'),
    Dropped('d-1', 'v/d.mp4', 'd', 'v/d.mp4: 12 frames are too few'),
    Dropped('e-1', 'v/e.mp4', '', 'no face found in /x/v/e.mp4 (9 searched)'),
    Dropped('f-1', 'v/f.mp4', 'f', ' \n'),
  ]
  page = report(tmp_path, [('train', drawn[0])], dropped)
  assert page.row('Too small')[1] == '2'
  assert page.row('… frames are too few')[1] == '2'
  assert page.row('No reason given')[1] == '1'
  assert '86 % of what was looked at' in page.text
  images = [a for tag, a, _ in page.tags if tag == 'img']
  assert [a['alt'] for a in images] == ['A frame of a-1']
  assert page.text.count('no picture') == 5
  for entry in dropped:
    assert f'<b class="name">{entry.id}</b>' in page.text
    assert entry.source in page.text


def test_what_was_left_out_is_cut(drawn):
  picture = drawn[0]['frames'][0]
  entries = [
    Dropped(f'id-{i}', f'{i}.mp4', '', f'{"abc"[i % 3]} is odd', picture)
    for i in range(900)
  ] + [Dropped(f'x-{i}', 'x', '', 'x' * i) for i in range(900)]
  gathered = left_out.gather(entries)
  assert gathered.count == 1800
  assert sum(g.count for g in gathered.groups.values()) == 1800
  assert len(gathered.groups) <= left_out.MAX_REASONS + 1
  assert gathered.groups['A is odd'].count == 300
  assert gathered.groups['A is odd'].pictures == left_out.MAX_PICTURES_EACH
  kept = sum(len(g.rows) for g in gathered.groups.values())
  assert kept <= left_out.MAX_ROWS
  text = left_out.to_html(gathered, 0)
  assert text.count('<li>') == kept
  assert text.count('clips.csv') == sum(
    g.count > len(g.rows) for g in gathered.groups.values()
  )


def sheet_of(clips, **options):
  sheet = ContactSheet(**options)
  for clip in clips:
    sheet.add(read_clip('train', clip), clip)
  return sheet.cells()


def test_contact_sheet_has_the_odd_ones_and_keeps_few(drawn):
  rng = np.random.default_rng(0)
  clips = []
  for i in range(60):
    clip = drawn[0] | KNOWN
    clips.append(clip | dict(id=f'c{i}', face_pixels=200 + rng.uniform()))
  clips[11]['face_pixels'] = 40.0
  clips[23] |= dict(lag=-6.0)
  clips[31]['detected'] = ~np.isin(np.arange(80), (3, 50, 51, 52))
  odd, others = sheet_of(clips, max_cells=12, max_odd=2)
  why = {cell.clip.id: kinds for cell, kinds in odd}
  assert why['c11'] == ['face'] and why['c23'] == ['lag']
  assert why['c31'] == ['filled'] and len(odd) == 3
  cell = next(cell for cell, _ in odd if cell.clip.id == 'c31')
  # The picture is the one in the middle of the longest gap.
  assert cell.filled
  np.testing.assert_array_equal(cell.face, clips[31]['face_box'][51])
  assert len(others) == 9 and not {c.clip.id for c in others} & set(why)
  # The rest does not depend on the order.
  again = sheet_of(clips[::-1], max_cells=12, max_odd=2)[1]
  drawn_ids = {c.clip.id for c in others}
  assert len(drawn_ids & {c.clip.id for c in again}) == 9
  seeded = sheet_of(clips, max_cells=12, max_odd=2, seed=1)[1]
  assert {c.clip.id for c in seeded} != drawn_ids


def test_boxes_lie_where_the_record_says(tmp_path, drawn):
  clip = drawn[0] | KNOWN
  page = report(tmp_path, [('train', clip)])
  faces = [a for _, a, _ in page.tags if a.get('class') == 'face']
  x0, y0, x1, y1 = 100 * clip['face_box'][40]
  assert len(faces) == 1
  got = [float(faces[0][key]) for key in ('x', 'y', 'width', 'height')]
  # The page has a decimal of a hundredth of the picture.
  np.testing.assert_allclose(got, [x0, y0, x1 - x0, y1 - y0], atol=0.051)
  points = [a for tag, a, _ in page.tags if tag == 'circle']
  got = [[float(a['cx']), float(a['cy'])] for a in points]
  np.testing.assert_allclose(got, 100 * clip['landmarks'][40], atol=0.051)


def test_page_and_tables_stay_small(tmp_path, drawn):
  base = drawn[0] | KNOWN | dict(lag=5.0)
  short = {
    key: base[key][:4]
    for key in ('frames', 'pose', 'blink', 'landmarks', 'detected')
  }
  short |= {key: base[key][:4] for key in ('face_box', 'mouth_box')}
  records = (
    ('train', base | short | dict(id=f'c{i}', identity=f'person-{i:04d}'))
    for i in range(700)
  )
  page = report(tmp_path, records)
  assert page.row('All')[1] == '700'
  assert len([r for r in page.rows if r[0].startswith('person-')]) == 500
  assert '200 people with 0.53 minutes together are not listed' in page.text
  assert len([r for r in page.rows if r[0][0] == 'c']) == MAX_SUSPECTS
  assert 'The 200 farthest off are listed' in page.text
  assert sum(tag == 'image' for tag, *_ in page.tags) == 200
  assert len(page.text) < 5e6


def test_summary_keeps_no_frames(drawn):
  summary = Summary()
  clip = read_clip('train', drawn[0] | KNOWN | dict(lag=9.0))
  for _ in range(300):
    summary.add(clip)
  assert len(summary.suspects()) == MAX_SUSPECTS
  assert all(not suspect.frames for suspect in summary.suspects())
  tally = summary.frames['yaw'].values()
  assert len(tally.values) <= 80 and tally.counts.sum() == 300 * 80

"""HDTF's lists: every row becomes a clip or is reported."""

import dataclasses
import os

import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.prepare import hdtf
from mdcf_jax.prepare.units import FaceSquare, Window

URL = 'https://www.youtube.com/watch?v='
GOOD = {
  'RD_annotion_time.txt': 'Radio1.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 '
  '01:30-02:30\n',
  'RD_video_url.txt': f'Radio1 {URL}aaaaaaaaaa1\nRadio11 {URL}aaaaaaaaaa2&t=6s',
  'RD_resolution.txt': 'Radio1.mp4 720\nRadio11.mp4 1080\n',
  'RD_crop_wh.txt': 'Radio1_0.mp4 466 535 0 535\nRadio11_0.mp4 412 599 8 599\n'
  'Radio11_1.mp4 557 478 0 478\n',
  'RD_crop_ratio.txt': 'Radio1_0.mp4 1.0\nRadio11_0.mp4 1.2\n'
  'Radio11_1.mp4 0.85\n',
}
VIDEOS = 'Radio1.mp4', 'sub/Radio11.MKV'


@pytest.fixture
def folders(tmp_path):
  """Returns a function that writes lists and empty videos."""

  def write(videos=VIDEOS, **changes):
    lists = tmp_path / 'lists'
    lists.mkdir(exist_ok=True)
    contents = GOOD | {f'RD_{k}.txt': v for k, v in changes.items()}
    for name, content in contents.items():
      if isinstance(content, str):
        content = content.encode()
      if content is not None:
        (lists / name).write_bytes(content)
    for name in videos:
      path = tmp_path / 'videos' / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.touch()
    (tmp_path / 'videos').mkdir(exist_ok=True)
    return tmp_path / 'videos', lists

  return write


def said(listing) -> str:
  return '\n'.join(hdtf.format_odd(listing.odd))


def test_good_lists(folders):
  videos, lists = folders()
  listing = hdtf.find_units(videos, lists)
  assert not listing.odd and not listing.missing
  one, two, three = listing.units
  assert [u.id for u in listing.units] == ['Radio1_0', 'Radio11_0', 'Radio11_1']
  assert one.path == str(videos / 'Radio1.mp4')
  assert two.source == 'sub/Radio11.MKV'
  assert (three.start, three.end) == (90, 150)
  assert three.framing == Window(557, 0, 478, 478, 1080)
  assert (two.identity, two.group, two.split) == ('Radio11', 'Radio11', '')
  assert not two.search and two.sound is None
  ratios = hdtf.find_units(videos, lists, 'ratio')
  assert [u.framing.ratio for u in ratios.units] == [1.0, 1.2, 0.85]
  for unit, other in zip(listing.units, ratios.units):
    assert dataclasses.replace(other, framing=unit.framing) == unit


def test_spacing_marks_and_line_ends_do_not_matter(folders):
  videos, lists = folders()
  good = hdtf.find_units(videos, lists)
  _, lists = folders(
    annotion_time=b'\xef\xbb\xbfRadio1.mp4\t 00:20 - 01:35 \r\n\r\n'
    b'Radio11  00:30\xe2\x80\x9301:00\t\t0:01:30-150.0',
    video_url='Radio11.mp4\t' + URL + 'aaaaaaaaaa2&t=6s\nRadio1.mp4 ' + URL +
    'aaaaaaaaaa1',
    resolution='# height\nRadio1 | 720p\nRadio11 , 1080',
    crop_wh='Radio1_0 466  535\t0 535\nRD_Radio11_000.mp4 412 599 8 599\n'
    'Radio11_1,557,478,0,478',
    crop_ratio=GOOD['RD_crop_ratio.txt'].encode('utf-16'),
  )  # fmt: skip
  assert hdtf.find_units(videos, lists) == good


@pytest.mark.parametrize(
  ('stamps', 'start', 'end'),
  [('1:02:03-1:03:00', 3723, 3780), ('5.5-0:12', 5.5, 12), ('75-99', 75, 99)],
)
def test_time_stamps(folders, stamps, start, end):
  videos, lists = folders(annotion_time=f'Radio1 {stamps}\n')
  (unit,) = hdtf.find_units(videos, lists).units
  assert (unit.start, unit.end) == (start, end)


def test_bad_stamps_keep_their_numbers(folders):
  videos, lists = folders(
    annotion_time='Radio11 bad 01:30-02:30 02:00-03:00 4:00-3:59 5:00-6:00\n'
    'Radio1\nRadio1 0:01-0:09\nRadio1 0:20-0:30\n../Radio3 0:01-0:09\n'
  )
  listing = hdtf.find_units(videos, lists)
  assert [u.id for u in listing.units] == ['Radio11_1', 'Radio11_4', 'Radio1_0']
  assert listing.units[2].end == 9
  text = said(listing)
  for expected in [
    "time.txt:1: Radio11: 'bad' is no time stamp",
    'time.txt:1: Radio11: 02:00-03:00 overlaps a clip before it',
    'time.txt:1: Radio11: 4:00-3:59 ends before it starts',
    'time.txt:2: Radio1: there are no stamps',
    'time.txt:4: Radio1 again: the first row counts',
    "time.txt:5: '../Radio3' cannot be a name",
  ]:
    assert expected in text


@pytest.mark.parametrize(
  ('row', 'framing', 'what'),
  [
    ('466 535 0 530', Window(466, 0, 535, 535, 720), '535 by 530: made a squ'),
    ('466 535 300 535', Window(466, 185, 535, 535, 720), 'moved into it'),
    ('-5 535 0 535', Window(0, 0, 535, 535, 720), 'moved into it'),
    ('900 535 0 535', Window(745, 0, 535, 535, 720), 'moved into it'),
    ('83 1134 0 1134', FaceSquare(1.0), '1134 in a picture 720 high: not used'),
    ('466 535 0', FaceSquare(1.0), 'is no window'),
    ('466 x 0 535', FaceSquare(1.0), 'is no window'),
    ('466 nan 0 535', FaceSquare(1.0), 'is no window'),
    ('466 0 0 0', FaceSquare(1.0), 'without area'),
  ],
)
def test_windows(folders, row, framing, what):
  others = GOOD['RD_crop_wh.txt'].split('\n', 1)[1]
  videos, lists = folders(crop_wh=f'Radio1_0.mp4 {row}\n{others}')
  listing = hdtf.find_units(videos, lists)
  assert listing.units[0].framing == framing
  assert what in said(listing) and 'RD_crop_wh.txt:1: Radio1_0' in said(listing)


def test_clips_that_lists_do_not_have(folders):
  videos, lists = folders(
    resolution='Radio1 0\nRadio11 1080\nRadio24 720',
    crop_wh='Radio1_0 466 535 0 535\nRadio11_0 1 2 3 2\nRadio11_7 1 2 3 2\n'
    'Radio9_0 1 2 3 2\nRadio11 1 2 3 2\n',
    crop_ratio='Radio11_0 zero\nRadio11_1 -1\nRadio1_0 1.1\n',
    video_url=f'Radio1 {URL}aaaaaaaaaa1\nRadio5 {URL}aaaaaaaaaa5\n',
  )
  listing = hdtf.find_units(videos, lists, ratio=1.4)
  framings = [unit.framing for unit in listing.units]
  assert framings == [
    FaceSquare(1.1),
    Window(1, 3, 2, 2, 1080),
    FaceSquare(1.4),
  ]
  text = said(listing)
  for expected in [
    "RD_resolution.txt:1: Radio1: '0' is no resolution",
    'RD_resolution.txt:3: Radio24 has no time stamps',
    'Radio1 has no resolution: windows do not count',
    'RD_annotion_time.txt:2: Radio11 has no address',
    'RD_annotion_time.txt:2: Radio11_1 has no window',
    "RD_crop_ratio.txt:1: Radio11_0: 'zero' is no ratio",
    "RD_crop_ratio.txt:2: Radio11_1: '-1' is no ratio",
    'RD_annotion_time.txt:2: Radio11_1 has no ratio',
    'RD_crop_wh.txt:3: Radio11_7 has no time stamp',
    'RD_crop_wh.txt:4: Radio9_0 has no time stamp',
    'RD_crop_wh.txt:5: Radio11 has no time stamp',
    'RD_video_url.txt:2: Radio5 has no time stamps',
  ]:
    assert expected in text


def test_lists_that_are_not_there(folders):
  videos, lists = folders()
  (lists / 'RD_crop_wh.txt').unlink()
  listing = hdtf.find_units(videos, lists)
  assert 'RD_crop_wh.txt: there is no such list' in said(listing)
  assert all(isinstance(u.framing, FaceSquare) for u in listing.units)


def test_missing_videos_are_named(folders):
  videos, lists = folders(videos=[])
  listing = hdtf.find_units(videos, lists)
  assert not listing.units
  assert hdtf.format_missing(listing.missing) == [
    f'Radio1.mp4   {URL}aaaaaaaaaa1',
    f'Radio11.mp4  {URL}aaaaaaaaaa2&t=6s',
  ]


@pytest.mark.parametrize('name', ['RD_Radio1.webm', 'a/b/aaaaaaaaaa1.mp4'])
def test_other_names_of_files(folders, name):
  videos, lists = folders(videos=[name, 'Radio1.txt', 'Radio11.mp4/x'])
  listing = hdtf.find_units(videos, lists)
  assert [unit.source for unit in listing.units] == [name]
  assert [name for name, _ in listing.missing] == ['Radio11.mp4']


def test_folders_with_names_that_are_no_text(folders):
  videos, lists = folders(videos=['.Trash/Radio11.mp4'])
  place = os.fsencode(videos) + b'/\xff'
  os.mkdir(place)
  for name in (b'/Radio1.mkv', b'/Radio1.mp4'):
    with open(place + name, 'wb'):
      pass
  listing = hdtf.find_units(videos, lists)
  (unit,) = listing.units
  assert unit.source == '\\xff/Radio1.mkv' and os.path.exists(unit.path)
  assert '\\xff/Radio1.mp4: Radio1 is there already' in said(listing)
  assert said(listing).encode()


def test_two_files_of_one_video(folders):
  videos, lists = folders(videos=['Radio1.mkv', 'Radio1.mp4'])
  listing = hdtf.find_units(videos, lists)
  assert [unit.source for unit in listing.units] == ['Radio1.mkv']
  assert 'Radio1.mp4: Radio1 is there already' in said(listing)


def test_two_names_of_one_address(folders):
  """One video: one file, one person, and no frame twice."""
  videos, lists = folders(
    videos=['WhipJim.mp4'],
    annotion_time='Jim1 0:05-1:00\nWhipJim 0:06-0:50 1:10-1:20\n',
    video_url=f'WhipJim {URL}aaaaaaaaaa1\nJim1 {URL}aaaaaaaaaa1&t=5s\n',
  )
  listing = hdtf.find_units(videos, lists)
  assert [u.id for u in listing.units] == ['Jim1_0', 'WhipJim_1']
  assert {(u.identity, u.group) for u in listing.units} == {('Jim', 'Jim1')}
  assert 'WhipJim_0 is in Jim1, of the same address' in said(listing)
  (videos / 'WhipJim.mp4').unlink()
  listing = hdtf.find_units(videos, lists)
  assert [name for name, _ in listing.missing] == ['Jim1.mp4']


def test_identities():
  names = ['AdamKinzinger0', 'AdamKinzinger12', 'TerriSewell', 'Radio11', '7']
  found = [hdtf.identity_of(name) for name in names]
  assert found == ['AdamKinzinger'] * 2 + ['TerriSewell', 'Radio11', '7']


def test_fixed_list(folders, tmp_path):
  videos, lists = folders()
  path = tmp_path / 'test.txt'

  def splits(text):
    path.write_text(text)
    listing = hdtf.find_units(videos, lists, fixed_list=path)
    return [unit.split for unit in listing.units], said(listing)

  assert splits('Radio11') == (['train', 'val', 'val'], '')
  assert splits('RD_Radio11.mp4 test\n')[0] == ['train', 'val', 'val']
  assert splits('# ours\nRadio1_0\tval\n')[0] == ['val', 'train', 'train']
  found, odd = splits('data/RD_Radio11_001\nRadio99\nRadio1 maybe\n')
  assert found == ['train', 'train', 'val']
  assert 'test.txt:2: no clip or video has the name Radio99' in odd
  assert "test.txt:3: 'maybe' is no split" in odd
  assert 'test.txt: Radio11 has clips in both splits' in odd
  with pytest.raises(InputError, match='test.txt: line 1: no row names'):
    splits('nobody\n')


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'', 'line 1: the list is empty'),
    (b'\n\n?? 00:20-01:35\n', r'line 3: .* cannot be a name'),
    (b'Radio1 0:01-0:02\n\xff\xd8\xe0', 'line 2: this is not text'),
    (b'Radio1 0:01-0:02\n\0\0', 'line 2: this is not text'),
  ],
)
def test_a_list_that_cannot_be_used(folders, content, reason):
  videos, lists = folders(annotion_time=content)
  with pytest.raises(InputError, match=f'RD_annotion_time.txt: {reason}'):
    hdtf.find_units(videos, lists)


def test_folders_that_are_not_there(folders, tmp_path):
  videos, lists = folders()
  with pytest.raises(InputError, match='no such folder of videos'):
    hdtf.find_units(tmp_path / 'none', lists)
  with pytest.raises(InputError, match='no such folder of lists'):
    hdtf.find_units(videos, tmp_path / 'none')
  with pytest.raises(InputError, match='no list of time stamps'):
    hdtf.find_units(videos, videos)
  with pytest.raises(ValueError, match='way'):
    hdtf.find_units(videos, lists, 'both')


def test_the_lists_of_the_authors(test_data, tmp_path):
  """436 time stamps of 369 names, two of which are one video."""
  lists = test_data / 'hdtf'
  if not lists.is_dir():
    pytest.skip(f'no lists of HDTF in {lists}')
  listing = hdtf.find_units(tmp_path, lists)
  assert not listing.units and len(listing.missing) == 368
  assert all(address.startswith('http') for _, address in listing.missing)
  for name, _ in listing.missing:
    (tmp_path / name).touch()
  listing = hdtf.find_units(tmp_path, lists)
  units = {unit.id: unit for unit in listing.units}
  # One stamp overlaps the one before it, one clip is another's.
  assert len(units) == len(listing.units) == 434 and not listing.missing
  assert 'WhipJimClyburn_0' not in units and 'MittRomney_1' not in units
  assert units['Radio34_9'].start == 4 * 60 + 20
  assert units['AdamKinzinger2_2'].framing == Window(396, 32, 465, 465, 720)
  assert units['ZoeLofgren_0'].end == 190
  assert 'CarolynMaloney2_0' in units  # The row after the byte order mark.
  squares = {u.id for u in listing.units if isinstance(u.framing, FaceSquare)}
  no_window = {
    *('Radio15_0', 'Radio6_0', 'ByronDorgan0_0', 'DeanPhillips_0'),
    *('JeffMerkley0_0', 'JimMcGovern1_0', 'JimMcGovern_0', 'LindaSnchez_0'),
    *('BillCassidy_0', 'CandiceMiller_0', 'DuncanHunter_1'),
    *('JaimeHerreraBeutler_0', 'KevinBrady0_0', 'RudyGiuliani_0'),
  }
  too_large = {'MaggieHassan_0', 'MazieHirono1_0', 'PeterKing_0'}
  unknown = {'KevinMcCarthy1_0', 'KevinMcCarthy1_1'}
  assert squares == no_window | too_large | unknown
  text = said(listing)
  for name in squares - unknown | {'Radio24', 'KevinMcCarthy1'}:
    assert name in text
  assert len({unit.identity for unit in listing.units}) == 275
  ratios = hdtf.find_units(tmp_path, lists, 'ratio')
  assert {u.framing.ratio for u in ratios.units} == {
    *(0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2)
  }


def test_files_of_both_names_of_one_address(folders):
  videos, lists = folders(
    videos=['AJim.mp4', 'Jim1.mp4'],
    annotion_time='Jim1 0:05-1:00\nAJim 1:10-1:20\n',
    video_url=f'AJim {URL}aaaaaaaaaa1\nJim1 {URL}aaaaaaaaaa1&t=5s\n',
  )
  listing = hdtf.find_units(videos, lists)
  assert [u.source for u in listing.units] == ['Jim1.mp4', 'Jim1.mp4']

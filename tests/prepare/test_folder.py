"""Which videos are taken, and whose they are."""

import os

import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.prepare import folder
from mdcf_jax.prepare.units import Centre, FaceSquare


def test_sub_folders_are_identities(tmp_path):
  for name in ('anna/1.mp4', 'anna/2.MOV', 'ben.mp4', 'ben.wav', '._x.mp4'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  found = folder.find_units(tmp_path)
  assert [(c.source, c.identity) for c in found] == [
    ('anna/1.mp4', 'anna'),
    ('anna/2.MOV', 'anna'),
    ('ben.mp4', 'ben'),
  ]


def test_names_that_are_no_text_get_one(tmp_path):
  root = os.fsencode(tmp_path)
  for name in (b'a\xff.mp4', b'a\xfe.mp4'):
    with open(root + b'/' + name, 'wb'):
      pass
  found = folder.find_units(tmp_path)
  assert all(os.path.exists(clip.path) for clip in found)
  assert [clip.source for clip in found] == ['a\\xfe.mp4', 'a\\xff.mp4']
  assert len({clip.id for clip in found}) == 2
  assert ''.join(c.identity + c.id for c in found).encode()


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_manifest(tmp_path, encoding):
  path = tmp_path / 'm.csv'
  path.write_text(
    'file,identity,split\nav/1.mp4,anna,train\nx.png,p,val\nb.mp4,,\n',
    encoding=encoding,
  )
  found = folder.read_manifest(path)
  assert [(c.source, c.identity, c.split) for c in found] == [
    ('av/1.mp4', 'anna', 'train'),
    ('b.mp4', 'b', ''),
  ]
  assert found[0].path == str(tmp_path / 'av/1.mp4')


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'no column'),
    ('name\na.mp4\n', 'no column'),
    ('file,split\na.mp4,test\n', 'not train or val'),
    ('file,identity,split\na.mp4,x,train\nb.mp4,x,val\n', 'more than one'),
    ('file\na.mp4\na.mp4\n', 'a.mp4 is listed twice'),
    ('file\na.mp4\n./a.mp4\n', './a.mp4 is listed twice'),
    ('file\na.mp4\nb/../a.mp4 \n', 'listed twice'),
    ('file,identity,split\n', 'no rows'),
    ('file\na\0.mp4\n', 'zero bytes'),
  ],
)
def test_bad_manifests(tmp_path, text, message):
  path = tmp_path / 'm.csv'
  path.write_text(text)
  with pytest.raises(InputError, match=message):
    folder.read_manifest(path)


def test_headers_and_values_as_people_write_them(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text(
    'File, identity, Split ,licence\n a.mp4, anna , val,CC0\n\n'
    'b.mp4\n"c.mp4",,,,more\n'
  )
  found = folder.read_manifest(path)
  assert [(c.source, c.identity, c.split) for c in found] == [
    ('a.mp4', 'anna', 'val'),
    ('b.mp4', 'b', ''),
    ('c.mp4', 'c', ''),
  ]
  assert found[0].path == str(tmp_path / 'a.mp4')


def test_rows_that_cannot_be_looked_at_are_units(tmp_path):
  """They are dropped later, each with its reason."""
  path = tmp_path / 'm.csv'
  name = f'{"x" * 300}.mp4'
  path.write_text(f'file\n{name}\nnone.mp4\n')
  assert [unit.source for unit in folder.read_manifest(path)] == [
    name,
    'none.mp4',
  ]


@pytest.mark.parametrize('suffix', ['.wav', '.WAV', '.Wav'])
def test_a_wav_beside_a_video_is_its_sound(tmp_path, suffix):
  for name in ('a.mp4', f'a{suffix}', 'b.mp4'):
    (tmp_path / name).touch()
  with_sound, without = folder.find_units(tmp_path)
  assert with_sound.sound == str(tmp_path / f'a{suffix}') and not without.sound


def test_finished_clips_are_not_searched(tmp_path):
  (tmp_path / 'a.mp4').touch()
  for framing, searched in ((Centre(), False), (FaceSquare(2.0), True)):
    (unit,) = folder.find_units(tmp_path, framing)
    assert unit.search == searched and unit.framing == framing

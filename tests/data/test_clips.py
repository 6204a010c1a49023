"""Which videos are taken, and how they are divided."""

import os

import pytest

from mdcf_jax.data import clips
from mdcf_jax.errors import InputError


def _clip(name, identity, split=''):
  return clips.Clip(f'/v/{name}', name, identity, split)


def test_sub_folders_are_identities(tmp_path):
  for name in ('anna/1.mp4', 'anna/2.MOV', 'ben.mp4', 'ben.wav', '._x.mp4'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  found = clips.find_clips(tmp_path)
  assert [(c.source, c.identity) for c in found] == [
    ('anna/1.mp4', 'anna'),
    ('anna/2.MOV', 'anna'),
    ('ben.mp4', 'ben'),
  ]


def test_ids_are_safe_and_different():
  names = ['a b.mp4', 'a_b.mp4', '-x.mp4', 'ü/ß.mp4', '../up.mp4', 'a' * 300]
  ids = [_clip(name, 'x').id for name in names]
  assert len(set(ids)) == len(ids)
  for text in ids:
    assert '/' not in text and text[0] not in '-.' and len(text) < 120


def test_ids_are_file_names_in_any_script(tmp_path):
  name = '\u8a71' * 80
  text = _clip(f'{name}.mp4', 'x').id
  assert text.startswith('\u8a71') and len(text.encode()) <= 90
  (tmp_path / f'{text}.1.npz.partial').touch()


def test_names_that_are_no_text_get_one(tmp_path):
  folder = os.fsencode(tmp_path)
  for name in (b'a\xff.mp4', b'a\xfe.mp4'):
    with open(folder + b'/' + name, 'wb'):
      pass
  found = clips.find_clips(tmp_path)
  assert all(os.path.exists(clip.path) for clip in found)
  assert [clip.source for clip in found] == ['a\\xfe.mp4', 'a\\xff.mp4']
  assert len({clip.id for clip in found}) == 2
  assert ''.join(c.identity + c.id for c in found).encode()


def test_no_identity_is_in_two_splits():
  many = [_clip(f'{i}', f'person {i % 20}') for i in range(60)]
  splits = clips.assign_splits(many, 0.1, seed=0)
  people = {s: {c.identity for c in members} for s, members in splits.items()}
  assert not people['train'] & people['val']
  assert len(people['val']) == 2
  assert splits == clips.assign_splits(many, 0.1, seed=0)
  assert splits != clips.assign_splits(many, 0.1, seed=1)


def test_given_splits_are_kept():
  given = [_clip('1', 'a', 'train'), _clip('2', 'b', 'val'), _clip('3', 'c')]
  splits = clips.assign_splits(given, 0.1, seed=0)
  assert given[0] in splits['train'] and given[1] in splits['val']
  assert given[2] in splits['train']


def test_few_clips_still_give_both_splits():
  one = [_clip('1', 'a')]
  assert clips.assign_splits(one, 0.1, 0) == {'train': one, 'val': one}
  same = [_clip(str(i), 'a') for i in range(5)]
  splits = clips.assign_splits(same, 0.1, 0)
  assert len(splits['train']) == 4 and len(splits['val']) == 1
  assert not clips.assign_splits(same, 0, 0)['val']


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_manifest(tmp_path, encoding):
  path = tmp_path / 'm.csv'
  path.write_text(
    'file,identity,split\nav/1.mp4,anna,train\nx.png,p,val\nb.mp4,,\n',
    encoding=encoding,
  )
  found = clips.read_manifest(path)
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
    ('file\na.mp4\na.mp4\n', 'listed twice'),
  ],
)
def test_bad_manifests(tmp_path, text, message):
  path = tmp_path / 'm.csv'
  path.write_text(text)
  with pytest.raises(InputError, match=message):
    clips.read_manifest(path)

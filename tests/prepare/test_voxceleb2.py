"""VoxCeleb2's folders, whole and in part."""

import os

import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.prepare import voxceleb2
from mdcf_jax.prepare.units import Centre

CLIP = 'id00012/21Uxsk56VDQ/00001.mp4'


def touch(folder, *names):
  for name in names:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return folder


@pytest.mark.parametrize('level', ['', 'mp4/'])
def test_both_parts(tmp_path, level):
  touch(
    tmp_path,
    f'test/{level}id00017/-a_B/00002.mp4',
    f'dev/{level}{CLIP}',
    f'dev/{level}id00012/21Uxsk56VDQ/00009.mp4',
    f'dev/{level}id00012/21Uxsk56VDQ/notes.txt',
    f'dev/{level}id00012/21Uxsk56VDQ/._00009.mp4',
    f'dev/{level}other/21Uxsk56VDQ/00003.mp4',
    'vox2_meta.csv',
  )
  one, two, three = voxceleb2.find_units(tmp_path)
  assert one.id == 'dev-id00012-21Uxsk56VDQ-00001'
  assert one.path == str(tmp_path / 'dev' / level / CLIP)
  assert one.source == f'dev/{CLIP}'
  assert (one.identity, one.group, one.split) == ('id00012', 'id00012', 'train')
  assert one.framing == Centre() and one.sound is None and not one.search
  assert (one.start, one.end) == (0, None)
  assert two.id.endswith('00009')
  assert (three.id, three.split) == ('test-id00017--a_B-00002', 'val')


@pytest.mark.parametrize(
  ('given', 'split'),
  [
    ('test', 'val'),
    ('test/mp4', 'val'),
    ('dev', 'train'),
    ('dev/mp4', 'train'),
  ],
)
def test_a_part_alone(tmp_path, given, split, monkeypatch):
  part = given.split('/')[0]
  touch(tmp_path, f'{part}/mp4/{CLIP}', f'{part}/aac/{CLIP[:-4]}.m4a')
  (unit,) = voxceleb2.find_units(tmp_path / given)
  assert (unit.split, unit.source) == (split, f'{part}/{CLIP}')
  assert unit.sound == str(tmp_path / part / 'aac' / f'{CLIP[:-4]}.m4a')
  monkeypatch.chdir(tmp_path / given)
  (unit,) = voxceleb2.find_units('.')
  assert unit.split == split


def test_persons_alone(tmp_path):
  (unit,) = voxceleb2.find_units(touch(tmp_path, CLIP))
  assert unit.split == 'train'


@pytest.mark.parametrize(
  'name', ['aac/{}.m4a', 'wav/{}.wav', 'aac/{}.wav', 'mp4/{}.wav']
)
def test_sound_beside(tmp_path, name):
  name = name.format(CLIP[:-4])
  touch(tmp_path / 'dev', f'mp4/{CLIP}', f'mp4/{CLIP[:-5]}2.mp4', name)
  with_sound, without = voxceleb2.find_units(tmp_path)
  assert with_sound.sound == str(tmp_path / 'dev' / name)
  assert without.sound is None


def test_random_clips(tmp_path):
  """The same ones for a seed, wherever they lie."""
  names = [f'id{i:05}/v{i % 3}/{i:05}.mp4' for i in range(60)]
  for place in ('a', 'b'):
    touch(tmp_path / place, *(f'test/mp4/{name}' for name in names))
    touch(tmp_path / place, *(f'dev/mp4/{name}' for name in names[:20]))

  def ids(place, **options):
    units = voxceleb2.find_units(tmp_path / place, **options)
    return [(unit.split, unit.id) for unit in units]

  assert len(ids('a')) == 80 == len(ids('a', num_val=None, num_train=90))
  drawn = ids('a', num_val=10, num_train=5)
  assert [split for split, _ in drawn] == ['train'] * 5 + ['val'] * 10
  assert len(set(drawn)) == 15 and drawn == sorted(drawn)
  assert drawn == ids('b', num_val=10, num_train=5)
  assert drawn != ids('a', num_val=10, num_train=5, seed=1)
  # A part's draw does not depend on the other.
  assert drawn[5:] == ids('a', num_val=10, num_train=9)[9:]


def test_nothing_to_find(tmp_path):
  with pytest.raises(InputError, match='no clips dev/mp4/id00012'):
    voxceleb2.find_units(touch(tmp_path, 'dev/mp4/clip.mp4'))
  with pytest.raises(InputError, match='no such folder'):
    voxceleb2.find_units(tmp_path / 'none')


def test_one_name_in_both_parts(tmp_path):
  units = voxceleb2.find_units(touch(tmp_path, f'dev/{CLIP}', f'test/{CLIP}'))
  assert [unit.id for unit in units] == [
    'dev-id00012-21Uxsk56VDQ-00001',
    'test-id00012-21Uxsk56VDQ-00001',
  ]


def test_names_that_are_no_text_get_one(tmp_path):
  folder = os.fsencode(tmp_path) + b'/dev/id1\xff/v\xfe'
  os.makedirs(folder)
  with open(folder + b'/\xfd.mp4', 'wb'):
    pass
  (unit,) = voxceleb2.find_units(tmp_path)
  assert os.path.exists(unit.path) and unit.identity == unit.group == 'id1\\xff'
  assert unit.source == 'dev/id1\\xff/v\\xfe/\\xfd.mp4'
  assert unit.id == 'dev-id1\\xff-v\\xfe-\\xfd'


def test_folders_that_cannot_be_read(tmp_path, monkeypatch, caplog):
  touch(tmp_path, f'dev/{CLIP}', 'dev/id00013/video/00001.mp4')
  closed = tmp_path / 'dev/id00013/video'
  listdir = os.listdir

  def guarded(path):
    if os.fspath(path) == str(closed):
      raise PermissionError(13, 'Permission denied', str(path))
    return listdir(path)

  monkeypatch.setattr(os, 'listdir', guarded)
  (unit,) = voxceleb2.find_units(tmp_path)
  assert unit.identity == 'id00012'
  assert f'{closed}: cannot be read: Permission denied' in caplog.text

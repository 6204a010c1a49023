"""The list of videos to generate, and what may be wrong with it."""

import re

import pytest

from mdcf_jax import jobs
from mdcf_jax.errors import InputError

DEFAULTS = dict(
  seed=3,
  steps=20,
  sampler='ddim',
  guidance_scale=1.0,
  pose='still.npy',
  blink='none',
  crop='auto',
  resolution=None,
  face=None,
  pose_from=None,
  blink_from=None,
  pose_mode='relative',
  paste_back=False,
)


def write(path, text):
  path.write_text(text, encoding='utf-8')
  return path


def test_rows_have_their_options_and_else_the_defaults(tmp_path):
  text = (
    '\ufeffImage,audio, output ,seed,pose,resolution,crop\n'
    'a.png,a.wav,out/a.mp4,,,,\n'
    '\n'
    'b.png,/talk/b.wav,"out/b, 2.mp4",7,nod.csv,512,"1,2,3,3"\n'
    'c.png,c.wav,c.mp4,,still\n'
  )
  (first, second, third), wrong = jobs.read_jobs(
    write(tmp_path / 'jobs.csv', text), DEFAULTS
  )
  assert not wrong
  assert first.image == str(tmp_path / 'a.png')
  assert first.options == DEFAULTS
  assert second.audio == '/talk/b.wav'
  assert second.output == str(tmp_path / 'out' / 'b, 2.mp4')
  changed = dict(seed=7, resolution=512, crop='1,2,3,3')
  changed |= dict(pose=str(tmp_path / 'nod.csv'))
  assert second.options == DEFAULTS | changed
  read = second.image, second.audio, changed['pose'], 'none', None, None
  assert second.inputs == read
  assert third.options == DEFAULTS | dict(pose='still')


def test_videos_to_move_as_are_files_of_the_folder(tmp_path):
  text = (
    'image,audio,output,face,pose_from,blink_from,pose_mode,paste_back\n'
    'a.png,a.wav,a.mp4,2,nod.mp4,/blink.mp4,absolute,Yes\n'
    'a.png,a.wav,b.mp4,,none,,,no\n'
  )
  given = DEFAULTS | dict(pose_from='all.mp4')
  (first, second), _ = jobs.read_jobs(write(tmp_path / 'jobs.csv', text), given)
  nod = str(tmp_path / 'nod.mp4')
  assert first.inputs[-2:] == (nod, '/blink.mp4')
  assert first.options == DEFAULTS | dict(
    face=2,
    pose_from=nod,
    blink_from='/blink.mp4',
    pose_mode='absolute',
    paste_back=True,
  )
  assert second.options['pose_from'] is None  # Undone.
  assert second.options['paste_back'] is False


HEADER = 'image,audio,output'


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('', 'no column "image"'),
    ('image,output\na,b\n', 'no column "audio"'),
    (HEADER + '\n', 'no rows'),
    (HEADER + ',colour\na,b,c.mp4,red\n', 'unknown column "colour"'),
    (HEADER + ',seed,seed\na,b,c.mp4,1,2\n', 'twice'),
    (HEADER + '\na\0,b,c.mp4\n', 'not a readable CSV'),
  ],
)
def test_wrong_lists_are_refused(text, reason, tmp_path):
  with pytest.raises(InputError, match=reason):
    jobs.read_jobs(write(tmp_path / 'jobs.csv', text), DEFAULTS)


@pytest.mark.parametrize(
  ('columns', 'row', 'reason'),
  [
    ('', 'a,,c.mp4', 'line 3 has no audio'),
    ('', 'a,b,c.mp4,d', 'line 3 has more cells'),
    (',steps', 'a,b,c.mp4,many', "line 3: steps 'many' is not a number"),
    (',paste_back', 'a,b,c.mp4,1', "paste_back '1' is neither yes"),
    ('', 'd,e,./x/../good.mp4', 'line 3: .* written twice'),
  ],
)
def test_wrong_rows_are_told_beside_the_others(columns, row, reason, tmp_path):
  text = f'{HEADER}{columns}\na,b,good.mp4\n{row}\nd,e,last.mp4\n'
  found, wrong = jobs.read_jobs(write(tmp_path / 'jobs.csv', text), DEFAULTS)
  assert [job.output for job in found] == [
    str(tmp_path / name) for name in ('good.mp4', 'last.mp4')
  ]
  (error,) = wrong
  assert re.search(reason, str(error))


def test_files_that_are_no_lists_are_refused(tmp_path):
  (tmp_path / 'noise.csv').write_bytes(bytes(range(256)))
  for name in ('noise.csv', 'no.csv', '.'):
    with pytest.raises(InputError, match='not a readable CSV'):
      jobs.read_jobs(tmp_path / name, DEFAULTS)

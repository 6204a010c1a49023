"""Files of visitors: few formats, limits, and nothing but their content."""

import dataclasses
import shutil
import wave

import numpy as np
import pytest
from PIL import Image

from mdcf_jax.app import uploads
from mdcf_jax.app.limits import Limits
from mdcf_jax.errors import InputError
from mdcf_jax.media import audio, video
from mdcf_jax.media.files import open_media
from mdcf_jax.media.writer import VideoWriter
from tests.app import samples

LIMITS = Limits()


def limits(**changes):
  return dataclasses.replace(LIMITS, **changes)


def test_an_upload_lies_in_its_folder(tmp_path):
  root = tmp_path / 'root'
  root.mkdir()
  inside = samples.write_picture(root / 'a.png')
  outside = samples.write_picture(tmp_path / 'b.png')
  assert uploads.check(str(inside), root, LIMITS) == inside
  link = root / 'link.png'
  link.symlink_to(outside)
  inner = root / 'inner.png'
  inner.symlink_to(inside)
  for path in (
    *(outside, link, inner, root, root / 'none.png', root / '../b.png'),
    *('/etc/passwd', 'a\0b', '', None, 7, {'path': 'a'}, 'x' * 5000),
    *('file:///etc/passwd', 'http://127.0.0.1/a.png'),
  ):
    with pytest.raises(InputError) as error:
      uploads.check(path, root, LIMITS)
    assert str(tmp_path) not in str(error.value)


def test_an_empty_file_is_told_as_on_the_command_line(tmp_path):
  path = tmp_path / 'a.wav'
  path.touch()
  with pytest.raises(InputError) as here:
    uploads.check(path, tmp_path, LIMITS)
  with pytest.raises(InputError) as there:
    audio.read_audio(path)
  assert str(there.value) == f'{path}: {here.value}'


def test_a_large_file_is_refused(tmp_path):
  path = samples.write_picture(tmp_path / 'a.png')
  with pytest.raises(InputError, match='at most'):
    uploads.check(path, tmp_path, limits(file_bytes=100))


@pytest.mark.parametrize('kind', ['png', 'jpg', 'webp', 'bmp', 'gif', 'tiff'])
def test_pictures_are_read(tmp_path, kind):
  path = samples.write_picture(tmp_path / f'a.{kind}')
  found = uploads.read_picture(path, LIMITS)
  assert found.shape == (96, 96, 3)
  # Palettes and JPEG change colours a little.
  assert np.abs(found.astype(int) - samples.picture()).mean() < 12


def test_what_is_written_anew_has_the_pixels_alone(tmp_path):
  """Cameras write where and when a picture was taken."""
  exif = Image.Exif()
  exif[0x010F] = 'SECRET MAKER'
  exif[0x0112] = 6  # Turned by a quarter.
  path = samples.write_picture(tmp_path / 'a.jpg', 96, 48, exif=exif)
  path.write_bytes(path.read_bytes() + b'SECRET TAIL')
  found = uploads.read_picture(path, LIMITS)
  assert found.shape == (96, 48, 3)  # Upright.
  uploads.write_picture(tmp_path / 'b.png', found)
  written = (tmp_path / 'b.png').read_bytes()
  assert b'SECRET' in path.read_bytes() and b'SECRET' not in written
  np.testing.assert_array_equal(Image.open(tmp_path / 'b.png'), found)


def test_large_pictures_are_made_smaller_or_refused(tmp_path):
  path = samples.write_picture(tmp_path / 'a.png', 400, 200)
  assert uploads.read_picture(path, limits(side=100)).shape == (50, 100, 3)
  with pytest.raises(InputError, match='more than 9,999 pixels'):
    uploads.read_picture(path, limits(pixels=9999))
  with pytest.raises(InputError, match='long and thin'):
    thin = samples.write_picture(tmp_path / 'b.png', 1000, 17)
    uploads.read_picture(thin, limits(side=500))


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'hello',
    b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
    b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n',
    b'\x89PNG\r\n\x1a\n broken',
    b'\xff\xd8\xff\xe0 broken',
  ],
)
def test_what_is_no_picture(tmp_path, content):
  path = tmp_path / 'a.png'
  path.write_bytes(content)
  with pytest.raises(InputError):
    uploads.read_picture(path, LIMITS)


def test_formats_that_are_not_asked_for_are_not_opened(tmp_path):
  for kind in ('eps', 'ppm', 'pcx', 'ico'):
    path = samples.write_picture(tmp_path / f'a.{kind}')
    with pytest.raises(InputError, match='not a picture'):
      uploads.read_picture(path, LIMITS)


def test_sounds_are_read_and_written_anew(tmp_path):
  path = samples.write_sound(tmp_path / 'a.wav', channels=4)
  found, rate = uploads.read_sound(path, LIMITS)
  assert found.shape == (6400, 1) and rate == samples.RATE
  uploads.write_sound(tmp_path / 'b.wav', found, rate)
  again, rate = uploads.read_sound(tmp_path / 'b.wav', LIMITS)
  assert rate == samples.RATE
  np.testing.assert_allclose(again, found, atol=1e-4)  # 16 bits.
  with wave.open(str(tmp_path / 'b.wav')) as file:
    assert file.getparams()[:3] == (1, 2, samples.RATE)


def test_a_long_sound_is_refused_before_it_is_decoded(tmp_path):
  path = samples.write_sound(tmp_path / 'a.wav', 3.0)
  with pytest.raises(InputError, match='longer than 1 s'):
    uploads.read_sound(path, limits(seconds=1.0))
  found, _ = uploads.read_sound(path, limits(seconds=3.0))
  assert len(found) == 3 * samples.RATE


def test_a_rich_sound_is_refused(tmp_path):
  path = samples.write_sound(tmp_path / 'a.wav', 0.1, 32, 192_000)
  with pytest.raises(InputError, match='too many'):
    uploads.read_sound(path, LIMITS)


def test_a_play_list_reads_no_other_file(tmp_path):
  """FFmpeg follows lists of files; a visitor's must not lead anywhere."""
  samples.write_sound(tmp_path / 'secret.wav')
  path = tmp_path / 'list.wav'
  path.write_text('ffconcat version 1.0\nfile secret.wav\n')
  with open_media(path) as container:  # So it is one.
    assert container.format.name == 'concat'
  for read in (
    uploads.read_sound,
    lambda *x: uploads.copy_video(x[0], tmp_path / 'out.mp4', x[1]),
  ):
    with pytest.raises(InputError, match='not a video or audio file'):
      read(path, LIMITS)
  assert not (tmp_path / 'out.mp4').exists()


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """A video of 20 frames with sound."""
  path = tmp_path_factory.mktemp('clip') / 'a.mp4'
  with VideoWriter(path, (48, 64), 25, samples.speech(0.8)) as writer:
    for i in range(20):
      writer.write(np.roll(samples.picture(64, 48), i, 1))
  return path


def test_a_video_is_copied_without_its_sound(tmp_path, clip):
  copy = tmp_path / 'b.mp4'
  assert uploads.copy_video(clip, copy, LIMITS) == 20 / 25
  info = video.probe(copy)
  assert (info.width, info.height, info.has_audio) == (64, 48, False)
  assert uploads.copy_video(clip, copy, limits(seconds=0.4)) == 10 / 25
  with pytest.raises(InputError, match='too many pixels'):
    uploads.copy_video(clip, copy, limits(pixels=1000))
  with open_media(copy) as container:
    assert 'AI-generated' not in container.metadata['comment']


def test_a_bad_video_leaves_nothing(tmp_path, clip):
  bad = tmp_path / 'bad.mp4'
  bad.write_bytes(clip.read_bytes()[:300])
  with pytest.raises(InputError):
    uploads.copy_video(bad, tmp_path / 'b.mp4', LIMITS)
  shutil.copy(samples.write_sound(tmp_path / 'a.wav'), bad)
  with pytest.raises(InputError):
    uploads.copy_video(bad, tmp_path / 'b.mp4', LIMITS)
  assert {x.name for x in tmp_path.iterdir()} == {'bad.mp4', 'a.wav'}

"""Pictures of every kind, good and bad."""

import logging

import numpy as np
import pytest
from PIL import Image

from mdcf_jax.errors import InputError
from mdcf_jax.media import image as media_image


def picture(height: int = 40, width: int = 60) -> np.ndarray:
  """Red grows to the right, green downwards."""
  y, x = np.mgrid[0:height, 0:width]
  rgb = [255 * x / (width - 1), 255 * y / (height - 1), 0 * x + 30]
  return np.stack(rgb, axis=-1).astype(np.uint8)


def test_plain_formats(tmp_path):
  expected = picture()
  for suffix, tolerance in [('png', 0), ('bmp', 0), ('tiff', 0), ('jpg', 12)]:
    path = tmp_path / f'-a b é.{suffix}'
    Image.fromarray(expected).save(path)
    found = media_image.read_image(path).astype(int)
    assert np.abs(found - expected).max() <= tolerance, suffix


def test_exif_rotation(tmp_path):
  path = tmp_path / 'phone.jpg'
  exif = Image.Exif()
  exif[0x0112] = 6  # The camera was held upright: turn it clockwise.
  Image.fromarray(picture()).save(path, exif=exif, quality=95)
  found = media_image.read_image(path)
  assert found.shape == (60, 40, 3)
  expected = np.rot90(picture(), -1).astype(int)
  assert np.abs(found - expected).mean() < 3  # JPEG.


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P'])
def test_transparency_is_white(tmp_path, mode):
  path = tmp_path / 'a.png'
  rgba = np.dstack([picture(), np.full((40, 60), 255, np.uint8)])
  rgba[:, :30, 3] = 0
  Image.fromarray(rgba).convert(mode).save(path)
  found = media_image.read_image(path)
  assert (found[:, :30] == 255).all()
  assert (found[:, 40:] < 255).any()


def test_palette_and_grey(tmp_path):
  path = tmp_path / 'a.gif'
  Image.fromarray(picture()).quantize(64).save(path)
  error = np.abs(media_image.read_image(path).astype(int) - picture())
  assert error.mean() < 20  # 64 colours.
  path = tmp_path / 'bits.png'
  Image.fromarray(picture()).convert('1').save(path)
  assert set(np.unique(media_image.read_image(path))) == {0, 255}


def test_16_bit(tmp_path):
  path = tmp_path / 'deep.png'
  deep = np.linspace(0, 65535, 1600).astype(np.uint16).reshape(40, 40)
  Image.fromarray(deep).save(path)
  found = media_image.read_image(path)
  assert np.abs(found[..., 0].astype(int) - deep / 257).max() <= 1
  Image.fromarray(deep // 256).save(path)  # Dark, not an 8-bit picture.
  assert media_image.read_image(path).max() <= 1


def test_float_tiff(tmp_path):
  path = tmp_path / 'a.tiff'
  Image.fromarray(
    np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
  ).save(path)
  found = media_image.read_image(path)
  assert (found.min(), found.max()) == (0, 255)


def test_cmyk(tmp_path):
  path = tmp_path / 'print.jpg'
  Image.fromarray(picture()).convert('CMYK').save(path, quality=95)
  error = np.abs(media_image.read_image(path).astype(int) - picture())
  assert error.mean() < 6  # JPEG.


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png'])
def test_animation_gives_its_first_frame(tmp_path, suffix):
  path = tmp_path / f'a.{suffix}'
  frames = [Image.new('RGB', (32, 32), c) for c in ('red', 'blue', 'green')]
  frames[0].save(path, save_all=True, append_images=frames[1:])
  found = media_image.read_image(path)
  assert found.shape == (32, 32, 3)
  assert found[..., 0].min() > 245 and found[..., 2].max() < 10


def test_bad_files(tmp_path):
  good = tmp_path / 'good.png'
  Image.fromarray(
    np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
  ).save(good)
  (tmp_path / 'cut.png').write_bytes(good.read_bytes()[:3000])
  (tmp_path / 'empty.png').write_bytes(b'')
  (tmp_path / 'noise.png').write_bytes(np.random.default_rng(1).bytes(5000))
  (tmp_path / 'head.png').write_bytes(good.read_bytes()[:20])
  Image.new('RGB', (1, 1)).save(tmp_path / 'dot.png')
  (tmp_path / 'folder.png').mkdir()
  for name, reason in [
    ('missing.png', 'no such file'),
    ('folder.png', 'a directory'),
    ('empty.png', 'empty'),
    ('noise.png', 'not a picture'),
    ('head.png', 'not a picture|cannot be decoded'),
    ('cut.png', 'cannot be decoded'),
    ('dot.png', '1 x 1 is too small'),
  ]:
    with pytest.raises(InputError, match=reason) as error:
      media_image.read_image(tmp_path / name)
    assert name in str(error.value) and '\n' not in str(error.value)


def test_decompression_bomb(tmp_path):
  """A small file that says it is huge is refused before it is decoded."""
  path = tmp_path / 'bomb.png'
  Image.new('1', (12000, 12000)).save(path)
  assert path.stat().st_size < 1e6
  with pytest.raises(InputError, match='120,000,000 pixels'):
    media_image.read_image(path)


def test_large_pictures_give_no_warning(tmp_path, recwarn):
  path = tmp_path / 'large.png'
  Image.new('1', (9500, 9500)).save(path)
  assert media_image.read_image(path).shape == (9500, 9500, 3)
  assert not recwarn.list


def test_arrays_and_pillow_images():
  image = picture()
  assert (media_image.to_array(Image.fromarray(image)) == image).all()
  assert (media_image.to_array(image) == image).all()
  assert media_image.to_array(image[..., 0]).shape == (40, 60, 3)
  assert media_image.to_array(image[..., :1]).shape == (40, 60, 3)
  for bad in (image / 255.0, image[:8], np.zeros((3, 40, 40, 3), np.uint8)):
    with pytest.raises(InputError):
      media_image.to_array(bad)


def test_centre_crop_warns_unless_square(caplog):
  with caplog.at_level(logging.WARNING):
    square, box = media_image.crop_square(picture(), 'none', 40)
    assert box == (10, 0, 40, 40)
    assert (square == picture()[:, 10:50]).all()
    assert '60 x 40' in caplog.text
    caplog.clear()
    media_image.crop_square(picture(40, 40), 'none', 32)
  assert not caplog.text


def test_crop_around_the_face():
  image = picture(300, 400)
  # 100 pixels high, in the middle of the upper half.
  box = (0.4, 0.2, 0.6, 0.2 + 100 / 300)
  square, (x, y, w, h) = media_image.crop_square(
    image, 'auto', 64, lambda _: box
  )
  assert square.shape == (64, 64, 3) and w == h
  assert 100 / h == pytest.approx(0.56, abs=0.01)
  assert x + w / 2 == pytest.approx(200, abs=1)
  assert (110 - y) / h == pytest.approx(0.53, abs=0.02)


def test_crop_at_the_border_repeats_the_edge():
  image = picture(100, 100)
  square, box = media_image.crop_square(
    image, 'auto', 50, lambda _: (0.0, 0.0, 0.5, 0.5)
  )
  assert box[0] < 0 and box[1] < 0
  assert (square[0, 0] == image[0, 0]).all()


def test_given_crop():
  square, box = media_image.crop_square(picture(), (4, 6, 20, 20), 20)
  assert box == (4, 6, 20, 20)
  assert (square == picture()[6:26, 4:24]).all()


@pytest.mark.parametrize(
  'crop', [(0, 0, 8, 8), (50, 0, 20, 20), (-1, 0, 20, 20), (1, 2, 3), 'face']
)
def test_bad_crops(crop):
  with pytest.raises(InputError, match='crop'):
    media_image.crop_square(picture(), crop, 32)


def test_parse_crop():
  assert media_image.parse_crop('auto') == 'auto'
  assert media_image.parse_crop('1,2,30,30') == (1, 2, 30, 30)
  for text in ('', '1,2,3', 'a,b,c,d', '1,2,3,4,5', '1.5,2,30,30'):
    with pytest.raises(InputError, match='X,Y,W,H'):
      media_image.parse_crop(text)

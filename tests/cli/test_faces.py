"""`mdcf faces` and `--face`: numbers from the left, and crops for each."""

import builtins
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from mdcf_jax import inputs
from mdcf_jax.cli import faces as command
from mdcf_jax.cli.main import main
from mdcf_jax.errors import NoFace
from mdcf_jax.media import face_search, faces, image

PORTRAIT = pathlib.Path(__file__).parents[2] / 'assets/portrait.png'
# (x0, y0, x1, y1) in [0, 1], from left to right.
BOXES = (0.1, 0.4, 0.2, 0.7), (0.6, 0.2, 0.8, 0.8), (0.9, 0.0, 1.0, 0.3)


@pytest.fixture
def drawn(monkeypatch):
  """Three faces in every picture that is not black."""

  def find_boxes(picture):
    return [np.float32(box) for box in BOXES if picture[0, 0, 0]]

  monkeypatch.setattr(face_search, 'find_boxes', find_boxes)


@pytest.fixture
def group(tmp_path) -> pathlib.Path:
  path = tmp_path / 'group.png'
  Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(path)
  return path


def test_faces_are_listed_from_the_left(drawn, group, capsys):
  preview = group.with_name('preview.png')
  assert main(['faces', str(group), '--output', str(preview)]) == 0
  *lines, last = capsys.readouterr().out.splitlines()
  assert last == str(preview)
  assert [line.split()[1] for line in lines] == ['1', '2', '3']
  assert '30 % of the height' in lines[0]
  picture = image.read_image(group)
  for line in lines:
    crop = image.parse_crop(line.split()[3])
    # Squares that `--crop` takes, also at the border.
    _, square = image.crop_square(picture, crop, 32)
    assert square == crop
  drawn_in = image.read_image(preview)
  assert drawn_in.shape == picture.shape and (drawn_in != picture).any()
  # Each face has its box in the preview.
  for x0, _, x1, _ in BOXES:
    part = drawn_in[:, int(200 * x0) : int(200 * x1)]
    assert (part[..., 0].max(initial=0) == 255).all()


@pytest.mark.parametrize(
  ('square', 'expected'),
  [
    ((10, 20, 50, 50), (10, 20, 50, 50)),
    ((-10, 80, 50, 50), (0, 50, 50, 50)),
    ((170, -5, 50, 50), (150, 0, 50, 50)),
    ((20, -20, 160, 160), (50, 0, 100, 100)),
  ],
)
def test_squares_are_moved_into_the_picture(square, expected):
  assert command.inside(square, 200, 100) == expected


def test_large_pictures_have_a_smaller_preview():
  picture = np.zeros((100, 4096, 3), np.uint8)
  box = np.float32([0.1, 0.1, 0.2, 0.9])
  made = command.preview(picture, [box], [(10, 10, 80, 80)])
  assert made.shape == (50, 2048, 3) and made.any()


def test_a_face_is_taken_by_its_number(drawn):
  """Also in a square picture, where no face is the main one."""
  picture = np.full((100, 100, 3), 90, np.uint8)
  lefts = [
    inputs.read_source(picture, 'auto', 32, number).square[0]
    for number in (1, 2, 3)
  ]
  assert lefts == sorted(lefts) and len(set(lefts)) == 3
  for number in (0, 4, -1):
    with pytest.raises(NoFace, match=f'no face {number}, it has 3'):
      inputs.read_source(picture, 'auto', 32, number)
  with pytest.raises(NoFace, match='none is found'):
    inputs.read_source(np.zeros_like(picture), 'auto', 32, 1)


@pytest.mark.parametrize(
  ('arguments', 'reason'),
  [
    (['no.png'], 'no such file'),
    (['group.png', '--output=preview.jpg'], '.png'),
    (['group.png', '--output=group.png'], 'input'),
    (['black.png', '--output=preview.png'], 'no face found in black.png'),
    ([], 'IMAGE'),
  ],
)
def test_bad_input_is_one_line(
  drawn, group, arguments, reason, monkeypatch, capsys
):
  monkeypatch.chdir(group.parent)
  Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save('black.png')
  assert main(['faces', *arguments]) == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and reason in error
  assert sorted(os.listdir()) == ['black.png', 'group.png']


def test_without_mediapipe_the_extra_is_named(group, monkeypatch, capsys):
  original = builtins.__import__

  def fail(name, *args, **kwargs):
    if name.startswith('mediapipe'):
      raise ModuleNotFoundError("No module named 'mediapipe'")
    return original(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', fail)
  assert main(['faces', str(group)]) == 2
  error = capsys.readouterr().err
  assert "'.[faces]'" in error and error.count('\n') == 1
  with pytest.raises(inputs.InputError, match=r"'\.\[faces\]'"):
    inputs.read_source(str(group), 'auto', 32, 1)


def test_two_real_faces(test_data, monkeypatch):
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  model = test_data / 'weights' / faces.MODEL_NAME
  if not model.is_file():
    pytest.skip(f'no face model at {model}')
  monkeypatch.setenv('MDCF_FACE_MODEL', str(model))
  portrait = image.read_image(PORTRAIT)
  small = np.pad(portrait[::2, ::2], ((64, 64), (64, 64), (0, 0)), mode='edge')
  both = np.concatenate([small, portrait], axis=1)
  first, second = (
    inputs.read_source(both, 'auto', 64, number).square for number in (1, 2)
  )
  assert first[0] < 128 and second[0] > 200
  # The right one is twice as large.
  assert 1.8 < second[2] / first[2] < 2.2

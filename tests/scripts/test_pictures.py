"""The drawings of README: they are whole, and what the scripts draw."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image


def load(repository, name):
  path = repository / 'scripts' / f'{name}.py'
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_architecture_is_a_drawing_that_needs_nothing(repository):
  text = (repository / 'docs' / 'architecture.svg').read_text(encoding='utf-8')
  words = ' '.join(ElementTree.fromstring(text).itertext())
  for said in (
    *('256: N × 8 × 8 × 4', '512: N × 16 × 16 × 4', '768 times fewer numbers'),
    *('256: N × 64 × 64 × 3', '512: N × 128 × 128 × 3', 'HuBERT: N × 1024'),
    *('FDE decoder', 'LMAE decoder', 'Diffusion', 'PBNet'),
  ):
    assert said in words
  assert 'href' not in text and '@import' not in text and 'url(h' not in text


@pytest.mark.slow  # Traces the full-size model twice.
def test_architecture_has_the_shapes_of_the_modules(repository):
  drawing = (repository / 'docs' / 'architecture.svg').read_text('utf-8')
  assert load(repository, 'draw_architecture').draw() == drawing


def test_moving_picture_says_that_it_is_generated(repository):
  with Image.open(repository / 'docs' / 'pictures' / 'demo.webp') as picture:
    assert picture.n_frames > 100
    assert 'AI-generated' in picture.getexif()[0x010E]


def test_moving_picture_of_frames_and_sound(repository, tmp_path):
  script = load(repository, 'readme_pictures')
  sound = np.abs(np.sin(np.linspace(0, 99, 16000)))
  portrait = np.full((64, 64, 3), 200, np.uint8)
  background = script.page(script.resize(portrait), sound)
  frames = [np.full_like(portrait, 40 * i) for i in range(4)]
  pictures = [
    script.add_frame(background, frame, frame, i, len(frames))
    for i, frame in enumerate(frames)
  ]
  # The sound so far is in colour: a quarter, and at last all.
  counts = [
    (np.asarray(picture) == script.DONE).all(axis=-1).sum()
    for picture in pictures
  ]
  assert counts == sorted(counts)
  assert counts[3] == pytest.approx(4 * counts[0], rel=0.1)
  path = tmp_path / 'picture.webp'
  script.save(path, pictures, 50)
  with Image.open(path) as saved:
    assert saved.n_frames == 4
    assert saved.size == background.size

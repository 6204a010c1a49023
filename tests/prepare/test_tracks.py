"""Stretches of one person: the rules on drawn faces, then on a portrait."""

import os
import pathlib

import numpy as np
import pytest

from mdcf_jax.media import faces, image, video
from mdcf_jax.prepare import tracks

PORTRAIT = pathlib.Path(__file__).parents[2] / 'assets/portrait.png'
_HEIGHT, _WIDTH = 90, 160
_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def scene(seed: int = 0) -> np.ndarray:
  """A still background of grey blocks."""
  grey = np.random.default_rng(seed).integers(60, 200, (9, 16, 1), np.uint8)
  return np.repeat(grey.repeat(10, axis=0).repeat(10, axis=1), 3, axis=2)


def draw(*people, seed: int = 0) -> np.ndarray:
  """Draws people, each (x, y, height) in pixels, as squares of one colour."""
  frame = scene(seed).copy()
  for (x, y, size), colour in zip(people, _COLOURS):
    if size:
      frame[max(y, 0) : y + size, max(x, 0) : x + size] = colour
  return frame


class ColourFinder:
  """Finds what `draw` drew; stands in for the detector."""

  def __init__(self, _landmarker):
    pass

  def reset(self):
    pass

  def __call__(self, frame):
    boxes = []
    for colour in _COLOURS:
      y, x = np.nonzero((frame == colour).all(-1))
      if len(x):
        high, wide = np.ptp(y) + 1, np.ptp(x) + 1
        x0, y0 = x.min(), y.min()
        if x0 == 0:  # Cut off by the left edge; faces are square.
          x0 = wide - high
        box = x0 / _WIDTH, y0 / _HEIGHT
        boxes.append((*box, (x.max() + 1) / _WIDTH, (y.max() + 1) / _HEIGHT))
    return sorted(boxes, key=lambda b: b[1] - b[3])


@pytest.fixture
def find(monkeypatch):
  class NoLandmarker:
    def __init__(self, _path):
      pass

    def __enter__(self):
      return self

    def __exit__(self, *exception):
      pass

  monkeypatch.setattr(tracks, 'Landmarker', NoLandmarker)
  monkeypatch.setattr(tracks, 'PeopleFinder', ColourFinder)

  def run(frames, **limits):
    return tracks.find_stretches(
      frames, picture_height=450, limits=tracks.Limits(**limits)
    )

  return run


def times(parts):
  return [(part.start, part.end) for part in parts]


def test_one_person(find):
  stretches, rejected = find(draw((60, 20, 40)) for _ in range(100))
  assert times(stretches) == [(0, 4)] and rejected == []
  np.testing.assert_allclose(
    stretches[0].face, (60 / 160, 20 / 90, 100 / 160, 60 / 90)
  )


def test_cut_in_the_middle(find):
  """Both sides are taken to the frame, the longer one first."""
  first = [draw((60, 20, 40)) for _ in range(63)]
  second = [draw((40, 10, 40), seed=1) for _ in range(80)]
  stretches, rejected = find(first + second)
  assert times(stretches) == [(2.52, 5.72), (0, 2.52)] and rejected == []


def test_two_people(find):
  alone = [draw((20, 20, 40)) for _ in range(60)]
  both = [draw((20, 20, 40), (100, 20, 30)) for _ in range(60)]
  stretches, rejected = find(alone + both)
  assert times(stretches) == [(0, 56 / 25)]
  assert [(r.reason, r.end) for r in rejected] == [('two people', 4.8)]
  assert rejected[0].frame.shape == (_HEIGHT, _WIDTH, 3)
  small = [draw((20, 20, 40), (100, 20, 18)) for _ in range(60)]
  stretches, _ = find(small)
  assert times(stretches) == [(0, 2.4)]


def test_a_mistake_of_the_detector_does_not_end_a_stretch(find):
  frames = [draw((20, 20, 40)) for _ in range(100)]
  frames[30] = draw((20, 20, 40), (100, 20, 30))  # Frame 30 is looked at.
  frames[60] = draw()
  stretches, rejected = find(frames)
  assert times(stretches) == [(0, 4)] and rejected == []


def test_face_that_leaves_and_comes_back(find):
  here = [draw((20, 20, 40)) for _ in range(60)]
  stretches, rejected = find(here + [scene()] * 30 + here)
  assert times(stretches) == [(3.6, 6.0), (0, 56 / 25)]
  assert [(r.start, r.end, r.reason) for r in rejected] == [
    (2.4, 3.6, 'no face')
  ]


def test_face_at_the_edge(find):
  """It walks out of the picture: taken while all of it is seen."""
  frames = [draw((60 - k, 20, 40)) for k in range(90)]
  stretches, rejected = find(frames, max_spread=4)
  assert times(stretches) == [(0, 61 / 25)]
  assert rejected[0].reason == "the face is cut off by the picture's edge"


def test_too_small_and_too_short(find):
  stretches, (small,) = find([draw((60, 20, 14))] * 60)
  assert not stretches and small.reason == 'too small: 70 of 100 pixels'
  stretches, (short,) = find([draw((60, 20, 40))] * 40)
  assert not stretches
  assert short.reason == 'one person, but for less than 2 seconds'
  assert (short.start, short.end) == (0, 1.6)


def test_nothing_to_see(find):
  assert find([]) == ([], [])
  assert [r.reason for r in find([scene()])[1]] == ['no face']
  assert len(find([draw((60, 20, 40))])[1]) == 1  # One frame is too short.
  black = [np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)] * 50
  stretches, rejected = find(black)
  assert not stretches and times(rejected) == [(0, 2)]


def test_long_and_wandering_stretches_are_taken_in_parts(find):
  stretches, _ = find([draw((60, 20, 40))] * 300, max_seconds=5)
  assert sorted(times(stretches)) == [(0, 4), (4, 8), (8, 12)]
  walk = [draw((5 + k // 2, 20, 40)) for k in range(200)]
  stretches, _ = find(walk)
  assert len(stretches) > 1
  for part in stretches:
    width = (part.face[2] - part.face[0]) * _WIDTH
    assert width <= 1.75 * 40


def test_memory_does_not_grow_with_what_is_rejected(find):
  """Of many parts the longest keep their picture."""

  def parts():
    for k in range(120):
      people = ((20, 20, 40), (100, 20, 30))[: 1 + k % 2]
      yield from [draw(*people)] * (25 if k == 80 else 15)

  _, rejected = find(parts())
  assert len(rejected) > 100
  pictured = [r for r in rejected if r.frame is not None]
  assert len(pictured) == tracks._MAX_PICTURES
  assert max(rejected, key=lambda r: r.end - r.start).frame is not None


def test_square_box():
  box = tracks.square_box((0.4, 0.3, 0.5, 0.7), 1.5, 16 / 9)
  np.testing.assert_allclose((box[2] - box[0]) * 16 / 9, 0.6)
  np.testing.assert_allclose(box[3] - box[1], 0.6)
  np.testing.assert_allclose((box[0] + box[2]) / 2, 0.45)
  # At the corner: shifted. Larger than the picture: shrunk to it.
  box = tracks.square_box((0.0, 0.0, 0.2, 0.4), 2.0, 1.0)
  np.testing.assert_allclose(box, (0, 0, 0.8, 0.8))
  box = tracks.square_box((0.1, 0.1, 0.9, 0.9), 3.0, 0.5)
  np.testing.assert_allclose(box, (0, 0.25, 1, 0.75))


@pytest.fixture(scope='module')
def model() -> pathlib.Path:
  pytest.importorskip('mediapipe', reason='needs the extra [faces]')
  data = pathlib.Path(os.environ.get('MDCF_TEST_DATA', '../shared'))
  given = os.environ.get('MDCF_FACE_MODEL')
  path = pathlib.Path(given or data / 'weights' / faces.MODEL_NAME)
  if not path.is_file():
    pytest.skip(f'no face model at {path}')
  return path


def portrait_at(*places, size=(360, 640)) -> np.ndarray:
  """The portrait at (x, y, side), in a grey picture."""
  from PIL import Image

  picture = Image.new('RGB', size[::-1], (110, 110, 110))
  for x, y, side in places:
    part = Image.fromarray(image.read_image(PORTRAIT))
    picture.paste(part.resize((side, side)), (x, y))
  return np.asarray(picture)


def test_portraits_in_a_wide_picture(model):
  """Faces too small for the detector are found, and followed, in tiles."""

  def find(*places):
    return tracks.find_stretches(
      [portrait_at(*places)] * 60, picture_height=1080, model_path=model
    )

  # The face is 0.6 of the portrait: 0.33, then 0.12 of the picture's height.
  for side in (200, 72):
    (stretch,), rejected = find((400, 120, side))
    assert rejected == [] and (stretch.start, stretch.end) == (0, 2.4)
    x0, y0, x1, y1 = np.array(stretch.face) * (640, 360, 640, 360)
    assert 400 < x0 < x1 < 400 + side and 120 < y0 < y1 < 120 + side
    assert y1 - y0 == pytest.approx(0.6 * side, rel=0.15)
  for side in (200, 72):
    stretches, rejected = find((40, 100, side), (420, 120, side))
    assert not stretches
    assert [r.reason for r in rejected] == ['two people']
  assert [r.reason for r in find()[1]] == ['no face']


def test_box_of_a_known_stretch(model):
  """The union over the frames; a glimpse of another does not widen it."""
  frames = [portrait_at((100 + 10 * k, 40, 300)) for k in range(4)]
  other = portrait_at((400, 100, 150))
  box = tracks.face_box_of([*frames, other], stride=1, model_path=model)
  x0, _, x1, _ = np.array(box) * 640
  alone = tracks.face_box_of(frames[:1], stride=1, model_path=model)
  assert x1 - x0 == pytest.approx((alone[2] - alone[0]) * 640 + 30, abs=6)
  assert tracks.face_box_of([np.zeros_like(other)], model_path=model) is None
  assert tracks.face_box_of([], model_path=model) is None


def test_real_clips(test_data, model):
  """Two shots, then the two people beside each other."""
  paths = [
    test_data / 'realset/av' / f'{name}_00.mp4' for name in ('macron', 'may')
  ]
  if not all(path.is_file() for path in paths):
    pytest.skip(f'no clips in {test_data / "realset"}')
  first, second = (list(video.iter_frames(p, max_frames=60)) for p in paths)
  both = [np.concatenate(pair, axis=1) for pair in zip(first, second)]
  wide = [np.pad(f, ((0, 0), (128, 128), (0, 0))) for f in first + second]
  stretches, rejected = tracks.find_stretches(
    wide + both, picture_height=256, model_path=model
  )
  assert sorted(times(stretches)) == [(0, 2.4), (2.4, 4.8)]
  assert [(r.start, r.reason) for r in rejected] == [(4.8, 'two people')]

"""A portrait moved by a video: the formula, and frames of a tiny network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mdcf_jax import reenact, stages
from mdcf_jax.errors import InputError, NoFace
from mdcf_jax.media import faces
from mdcf_jax.media.writer import VideoWriter
from mdcf_jax.ops import pose
from mdcf_jax.pipeline import Pipeline

FRAMES = 7


def random_regions(seed: int, batch: int = 1) -> reenact.Regions:
  rng = np.random.default_rng(seed)
  shift = rng.uniform(-0.5, 0.5, (batch, 10, 2)).astype(np.float32)
  roots = 0.1 * rng.normal(size=(batch, 10, 2, 2)) + [[0.3, 0], [0, 0.1]]
  covar = (roots @ np.swapaxes(roots, -1, -2)).astype(np.float32)
  return dict(
    shift=jnp.asarray(shift),
    covar=jnp.asarray(covar),
    affine=pose.principal_axes(jnp.asarray(covar)),
  )


def test_at_rest_nothing_moves():
  source, first = random_regions(0), random_regions(1)
  made = reenact.moved(source, first, first)
  for name in source:
    # float32, through an inverse.
    np.testing.assert_allclose(made[name], source[name], atol=1e-5)


def test_regions_move_as_in_the_public_formula():
  """Shifts added in sizes of the head, affines multiplied from the left."""
  source, first, driving = (random_regions(i) for i in range(3))
  made = reenact.moved(source, driving, first)
  a, b, c = (np.asarray(x['shift'], float) for x in (source, first, driving))
  ratio = np.sqrt(a.var(1).sum() / b.var(1).sum())
  np.testing.assert_allclose(made['shift'], ratio * (c - b) + a, atol=1e-5)
  a, b, c = (np.asarray(x['affine'], float) for x in (source, first, driving))
  turn = c @ np.linalg.inv(b)
  turn *= np.where(turn[..., :1, :1] < 0, -1, 1)
  np.testing.assert_allclose(made['affine'], turn @ a, rtol=1e-3, atol=1e-4)
  square = np.asarray(made['affine']) @ np.swapaxes(made['affine'], -1, -2)
  np.testing.assert_allclose(made['covar'], square, rtol=1e-4, atol=1e-6)


def test_a_smaller_driving_head_moves_the_source_as_far_in_heads():
  source, driving = random_regions(0), random_regions(0)
  driving['shift'] = driving['shift'] / 2
  later = driving | dict(shift=driving['shift'] + jnp.array([0.1, 0.0]))
  made = reenact.moved(source, later, driving)
  moved = made['shift'] - source['shift']
  np.testing.assert_allclose(moved[..., 0], 0.2, atol=1e-5)
  np.testing.assert_allclose(moved[..., 1], 0.0, atol=1e-5)


def smooth(seed: int, size=(64, 64)) -> np.ndarray:
  rng = np.random.default_rng(seed)
  small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
  return np.asarray(small.resize(size[::-1]))


@pytest.fixture(scope='module')
def pipe(tiny_weights) -> Pipeline:
  return Pipeline.from_pretrained(tiny_weights)


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """A picture that slides, 30 frames a second."""
  path = tmp_path_factory.mktemp('clips') / 'slide.mp4'
  wide = smooth(1, (64, 128))
  with VideoWriter(path, 64, 30, mark=False, sign=False) as writer:
    for i in range(FRAMES):
      writer.write(wide[:, 4 * i : 4 * i + 64])
  return path


@pytest.fixture(scope='module')
def relative(pipe, clip) -> np.ndarray:
  return np.stack(list(reenact.reenact(pipe, smooth(0), clip).frames))


@pytest.fixture
def negative(monkeypatch):
  """In place of the network: negatives of the video, two at a time."""

  class Negative:
    batch = 2

    def __init__(self, *_):
      pass

    def start(self, image, first):
      assert image.shape == first.shape == (64, 64, 3)

    def __call__(self, pictures):
      return 255 - pictures

  monkeypatch.setattr(reenact, '_Network', Negative)


def test_every_frame_of_the_video_moves_the_portrait(relative):
  assert relative.shape == (FRAMES, 64, 64, 3) and relative.dtype == np.uint8
  apart = np.abs(relative.astype(int) - relative[0]).mean((1, 2, 3))
  assert (apart[1:] > 0.5).all()


def decoded(pipe, dynamics_of, *images):
  """The frame of dynamics `dynamics_of(fde, *images)`, images uint8."""

  def make(fde, *images):
    features = fde.encode(images[0])
    return fde.decode(features, dynamics_of(fde, *images))

  images = [jnp.asarray(x[None] / 127.5 - 1, jnp.float32) for x in images]
  apply = jax.jit(functools.partial(pipe.fde.apply, method=make))
  made = np.asarray(apply(pipe.variables['fde'], *images))[0]
  return np.clip(np.round((made + 1) * 127.5), 0, 255)


def test_the_first_frame_is_the_portrait_at_rest(pipe, relative):
  def rest(fde, image):
    found = fde.regions(image)
    return fde.dynamics(image, found, found, jnp.eye(3)[None])['dynamics']

  made = decoded(pipe, rest, smooth(0))
  # Axes through an inverse, and one rounding to a level.
  assert np.abs(relative[0] - made).max() <= 2


def test_absolute_motion_is_what_fde_estimates(pipe, clip):
  from mdcf_jax.media.video import read_video

  moving = reenact.reenact(pipe, smooth(0), clip, motion='absolute')
  made = list(moving.frames)[3]
  driving = read_video(clip, fps=30).frames[3]
  expected = decoded(pipe, type(pipe.fde).estimate, smooth(0), driving)
  assert np.abs(made - expected).max() <= 1


def test_batches_change_nothing_and_compile_once(
  pipe, clip, relative, monkeypatch
):
  """Seven frames in batches of three: the last one is filled up."""
  monkeypatch.setattr(
    stages.Chunks, 'usual', lambda *_: stages.Chunks(3, 2**16)
  )
  traces, original = [], reenact._Network._make
  monkeypatch.setattr(
    reenact._Network,
    '_make',
    lambda self, *args: traces.append(1) or original(self, *args),
  )
  moving = reenact.reenact(pipe, smooth(0), clip)
  made = np.stack(list(moving.frames))
  assert made.shape == relative.shape and len(traces) == 1
  # Convolutions of a batch may add in another order.
  assert np.abs(made.astype(int) - relative).max() <= 1
  assert moving.timings['frames'].frames == FRAMES
  assert moving.timings['driving'].frames == FRAMES


def test_the_video_is_read_as_it_is_needed(pipe, clip, monkeypatch, negative):
  read, original = [], reenact.video.iter_frames

  def counted(*args, **options):
    for frame in original(*args, **options):
      read.append(1)
      yield frame

  monkeypatch.setattr(reenact.video, 'iter_frames', counted)
  frames = reenact.reenact(pipe, smooth(0), clip, driving_crop='none').frames
  assert len(read) == 1
  next(frames)
  assert len(read) == 4 < FRAMES  # A batch, and the next one.


@pytest.mark.parametrize(('fps', 'count'), [(None, FRAMES), (15, 4), (60, 14)])
def test_rates_are_met_by_true_time(pipe, clip, fps, count, negative):
  moving = reenact.reenact(pipe, smooth(0), clip, fps=fps)
  assert moving.fps == (fps or 30) and moving.size == (64, 64)
  assert sum(1 for _ in moving.frames) == count == moving.expected


def test_wide_pictures_and_videos(pipe, tmp_path, negative):
  """Both are cut; the portrait's crop goes back into its picture."""
  path = tmp_path / 'wide.mp4'
  with VideoWriter(path, (64, 96), mark=False, sign=False) as writer:
    for i in range(2):
      writer.write(np.roll(smooth(1, (64, 96)), 4 * i, 1))
  picture = smooth(0, (91, 120))
  moving = reenact.reenact(
    pipe,
    picture,
    path,
    crop=(20, 10, 70, 70),
    driving_crop=(32, 0, 64, 64),
    paste_back=True,
  )
  frames = list(moving.frames)
  assert moving.size == frames[0].shape[:2] == (90, 120)
  np.testing.assert_array_equal(frames[1][:10], picture[:10])
  assert (frames[1][30:60, 40:70] != frames[0][30:60, 40:70]).any()
  assert moving.timings['paste'].frames == 2


def test_the_driving_face_is_looked_for(pipe, tmp_path, monkeypatch, negative):
  path = tmp_path / 'wide.mp4'
  with VideoWriter(path, (64, 96), mark=False, sign=False) as writer:
    for _ in range(30):
      writer.write(smooth(1, (64, 96)))
  looked = []

  def find(frame):
    looked.append(frame.shape)
    return []

  monkeypatch.setattr(faces, 'detect_faces', find)
  monkeypatch.setattr(reenact.face_search, 'find_boxes', lambda _: [])
  with pytest.raises(NoFace, match='driving-crop none'):
    reenact.reenact(pipe, smooth(0), path, crop='none')
  assert looked[1:] == [(64, 96, 3)] * 3  # The first, and one a second.
  monkeypatch.setattr(reenact.inputs, 'find_faces', lambda *_: None)
  moving = reenact.reenact(pipe, smooth(0), path)
  assert next(moving.frames).shape == (64, 64, 3)


@pytest.mark.parametrize(
  ('given', 'reason'),
  [
    (dict(motion='copied'), 'relative, absolute'),
    (dict(fps=0), 'fps 0 is not in 1 to 120'),
    (dict(fps='fast'), 'fps fast'),
    (dict(resolution=100), 'multiple of'),
    (dict(driving_crop=(0, 0, 65, 65)), 'slide.mp4, which is 64 x 64'),
    (dict(face=1, crop='none'), 'crop auto'),
    (dict(driving='no.mp4'), 'no such file'),
  ],
)
def test_what_cannot_be_used(pipe, clip, given, reason):
  given = dict(driving=clip) | given
  with pytest.raises(InputError, match=reason):
    reenact.reenact(pipe, smooth(0), **given)


def test_weights_of_fde_alone_are_enough(pipe, clip, relative):
  class Alone:
    fde, resolution, config = pipe.fde, pipe.resolution, pipe.config
    variables = dict(fde=pipe.variables['fde'])

  made = next(reenact.reenact(Alone, smooth(0), clip).frames)
  np.testing.assert_array_equal(made, relative[0])
  Alone.variables = {}
  with pytest.raises(InputError, match="'fde'"):
    reenact.reenact(Alone, smooth(0), clip)


def test_several_devices_have_the_weights(tiny_weights, clip, relative):
  if jax.local_device_count() < 2:
    pytest.skip('one device only')
  pipe = Pipeline.from_pretrained(tiny_weights, devices=2)
  made = next(reenact.reenact(pipe, smooth(0), clip).frames)
  assert np.abs(made.astype(int) - relative[0]).max() <= 1

"""The invisible mark: what it costs, what it survives, and no false alarms."""

import numpy as np
import pytest

from mdcf_jax.media import mark, mark_search, video
from tests.media import spoil

PAYLOAD = 0x6B5A


@pytest.fixture(scope='module')
def written():
  """A marked clip as it is after the encoder of `VideoWriter`."""
  return spoil.encode([mark.embed(x, PAYLOAD) for x in spoil.clip()], 18)


def psnr(a, b):
  return 10 * np.log10(255**2 / np.mean(np.square(a.astype(float) - b)))


def test_the_tile_never_changes():
  """Files that exist could no longer be found out."""
  first = [-1, -2, -2, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
  other = [0, 0, 0, -1, -1, 0, 0, 1, 0, -1, -2, -2, -2, -1, -1, -1]
  assert mark.tile()[0, :16].tolist() == first
  assert mark.tile(0x6B5A)[40, 40:56].tolist() == other
  assert mark.PAYLOAD == 0x13DC


@pytest.mark.parametrize('side', [256, 512])
def test_cost(side):
  for frame in spoil.clip(3, side):
    assert psnr(frame, mark.embed(frame)) >= 42
  grey = np.full((side, side, 3), 128, np.uint8)
  assert psnr(grey, mark.embed(grey)) >= 42


def test_values_stop_at_their_limits():
  """As if it were added in integers and cut, and of any size."""
  rng = np.random.default_rng(0)
  frame = rng.choice([0, 1, 2, 128, 253, 254, 255], (70, 130, 3))
  added = np.tile(mark.tile(), (2, 3))[:70, :130, None].astype(int)
  expected = np.clip(frame + added, 0, 255)
  before = frame.astype(np.uint8)
  np.testing.assert_array_equal(mark.embed(before), expected)
  np.testing.assert_array_equal(before, frame)


def test_wrong_frames_and_payloads():
  with pytest.raises(ValueError, match='float64'):
    mark.embed(np.zeros((64, 64, 3)))
  with pytest.raises(ValueError, match='payload'):
    mark.embed(np.zeros((64, 64, 3), np.uint8), 1 << 16)
  with pytest.raises(ValueError, match='no frames'):
    mark_search.detect([])
  with pytest.raises(ValueError, match='frames of'):
    mark_search.detect([np.zeros((n, 64, 3), np.uint8) for n in (64, 66)])


@pytest.mark.parametrize('payload', [mark.PAYLOAD, 0, 0xFFFF, 0x1234])
def test_payloads_are_read(payload):
  frame = mark.embed(spoil.clip(1)[0], payload)
  found = mark_search.detect([frame])
  assert found.verdict == 'marked' and found.payload == payload
  assert found.version == payload >> 12 and found.tool == payload & 0xFFF
  assert found.bound < 1e-20 and found.scale == 1 and not found.mirrored


def brighter(frames):
  return [
    np.uint8(np.clip(1.15 * x.astype(float) + 12, 0, 255)) for x in frames
  ]


ATTACKS = {
  'none': lambda x: x,
  'CRF 28': lambda x: spoil.encode(x, 28),
  '75 %': lambda x: spoil.encode(spoil.scale(x, 0.75)),
  '75 %, no encoder': lambda x: spoil.scale(x, 0.75),
  '50 %': lambda x: spoil.encode(spoil.scale(x, 0.5)),
  'larger': lambda x: spoil.encode(spoil.scale(x, 1.37)),
  'crop left and top': lambda x: spoil.encode(spoil.crop(x, 0.1, 1, 1)),
  'crop right and bottom': lambda x: spoil.encode(spoil.crop(x, 0.1, 0, 0)),
  'crop and 75 %': lambda x: spoil.encode(
    spoil.scale(spoil.crop(x, 0.1, 0.3, 0.8), 0.75)
  ),
  'brighter': lambda x: spoil.encode(brighter(x)),
  'two frames dropped': lambda x: spoil.encode(x[:3] + x[4:7] + x[8:]),
  'mirrored': lambda x: spoil.encode([y[:, ::-1] for y in x]),
  'one frame': lambda x: x[5:6],
  'JPEG': lambda x: [spoil.jpeg(x[5], 60)],
}


@pytest.mark.parametrize('name', ATTACKS)
def test_it_survives(name, written):
  frames = ATTACKS[name](written)
  found = mark_search.detect(frames)
  assert found.verdict == 'marked' and found.bound < 1e-6
  assert found.payload == PAYLOAD and found.frames == len(frames)
  assert found.mirrored == (name == 'mirrored')
  factor = {'larger': 1.37, '50 %': 0.5}.get(name, 0.75 if '75' in name else 1)
  # Even sides, and a search in steps: a hundredth.
  assert found.scale == pytest.approx(factor, rel=0.01)


def test_large_pictures_are_made_smaller():
  marked = mark.embed(spoil.clip(1)[0])
  found = mark_search.detect(spoil.scale([marked], 4.1))
  assert found.verdict == 'marked'
  assert found.scale == pytest.approx(4.1, rel=0.01)


def test_another_key_finds_nothing(written):
  found = mark_search.detect(written, key='another')
  assert found.verdict == 'not marked' and found.payload is None
  frames = [mark.embed(x, key='another') for x in spoil.clip(2)]
  assert mark_search.detect(frames).verdict == 'not marked'
  assert mark_search.detect(frames, key='another').verdict == 'marked'


def textures():
  """Pictures that have much of what the search looks for, without the mark."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[0:256, 0:256]
  yield 'noise', rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
  for period in (16, 8, 64 / 7):
    waves = np.sin(2 * np.pi * x / period) + np.sin(2 * np.pi * y / period)
    yield 'waves', np.uint8(128 + 50 * waves)[..., None].repeat(3, 2)
  tile = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
  yield 'tiles of the size of ours', np.tile(tile, (4, 4, 1))
  yield (
    'fields',
    np.uint8(255 * ((x // 8 + y // 8) % 2))[..., None].repeat(3, 2),
  )
  yield 'clip', spoil.clip(1)[0]


@pytest.mark.parametrize('name, frame', [*textures()])
def test_no_false_alarm(name, frame):
  assert mark_search.detect([frame]).verdict == 'not marked'


def test_scores_of_chance_are_as_bounded():
  """At one place and scale, over keys: the tail is below exp(-z^2 / 2)."""
  image = mark_search.whiten(spoil.clip(1)[0].astype(np.float32).mean(-1))
  scores = []
  for k in range(600):
    waves = mark.pattern(f'key {k}')
    scores.append(mark_search._values(image, (1.0, 1.0), waves).real.sum())
  mark.pattern.cache_clear()
  # Mean 0 and variance 1, whatever the picture: to three standard errors.
  assert abs(np.mean(scores)) < 3 / 600**0.5
  assert abs(np.var(scores) - 1) < 3 * (2 / 600) ** 0.5
  for z in (1.5, 2.0, 2.5):
    assert np.mean(np.array(scores) >= z) <= np.exp(-(z**2) / 2)


@pytest.mark.parametrize(
  'frame, reason',
  [
    (np.full((256, 256, 3), 90, np.uint8), 'empty'),
    (np.zeros((256, 256, 3), np.uint8), 'empty'),
    (spoil.clip(1)[0][:60], '64 pixels'),
  ],
)
def test_nothing_can_be_told(frame, reason):
  found = mark_search.detect([frame])
  assert found.verdict == 'cannot tell' and reason in found.reason
  assert found.payload is None and found.bound == 1


def real_frames(test_data, clips, each):
  folder = test_data / 'realset'
  paths = [*folder.glob('av/*.mp4'), *folder.glob('motion/*.mp4')]
  if not paths:
    pytest.skip(f'no clips in {folder}')
  paths.sort()
  for path in paths[:: max(1, len(paths) // clips)][:clips]:
    yield list(video.iter_frames(path, max_frames=each))


def test_real_frames_are_not_marked_and_then_are(test_data):
  for frames in real_frames(test_data, 2, 12):
    for sample in (frames, frames[:1]):
      found = mark_search.detect(sample)
      assert found.verdict == 'not marked'
    marked = spoil.encode([mark.embed(x) for x in frames], 28)
    assert mark_search.detect(marked).payload == mark.PAYLOAD


@pytest.mark.slow
def test_many_real_frames_are_not_marked(test_data):
  """`bench/mark.py` counts a thousand."""
  seen = 0
  for frames in real_frames(test_data, 100, 25):
    for sample in (frames[:1], frames[-1:], frames):
      assert mark_search.detect(sample).verdict == 'not marked'
      seen += 1
  assert seen == 300

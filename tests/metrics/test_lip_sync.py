"""Lip sync of clips whose mouth and sound are known."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.metrics import lip_sync
from mdcf_jax.metrics.lip_sync import score_clip, shift_distances
from mdcf_jax.metrics.mfcc import mfcc, to_int16
from mdcf_jax.metrics.no_score import NoScore, Reason
from mdcf_jax.models.syncnet import SyncNet
from tests.models.test_syncnet import convert, weights

LEVELS = np.random.RandomState(0).uniform(0.2, 1, 400)  # Of any frame.
BOX = np.array([6.0, 6.0, 26.0, 26.0])


def clip(length, late=0, first=50, side=32):
  """Pictures as bright as the sound is loud, the sound `late` frames later."""
  levels = LEVELS[first : first + length]
  pixels = np.rint(255 * levels).astype(np.uint8)[:, None, None, None]
  frames = np.broadcast_to(pixels, (length, side, side, 3))
  heard = LEVELS[first - late : first - late + length]
  time = np.arange(640 * length) / 16000
  sound = 0.5 * np.repeat(heard, 640) * np.sin(2 * np.pi * 1000 * time)
  return frames, sound


def toy(crops, coefficients, count):
  """Embeds windows as the brightness, and the loudness, of their five frames.

  The middle two of a frame's four steps of sound hear nothing of the next one.
  """
  bright = crops[:, 112, 112, 0] / 255
  loud = np.exp(coefficients[: 4 * len(crops) - 1, 0] / 2)
  loud = np.pad(loud, (0, 1)).reshape(-1, 4)[:, 1]
  scale = 1 / _loudness_of_one()
  windows = np.arange(count)[:, None] + np.arange(5)
  return bright[windows], scale * loud[windows]


def _loudness_of_one():
  """Square root of the energy of 25 ms of the sine that `clip` plays."""
  sound = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / 16000)
  return np.exp(mfcc(to_int16(sound))[1, 0] / 2)


@pytest.mark.parametrize('late', range(-10, 11))
def test_any_shift_of_the_sound_is_found(late):
  """Positive: the picture is late, the sound comes first."""
  frames, sound = clip(60, late)
  (score,) = score_clip(frames, sound, BOX, toy, crop='fixed')
  assert score.offset == -late
  assert score.num_windows == 55
  # The pictures' 8 bits, where shifted frames have zeros to go with.
  others = np.delete(score.distances, 15 + late)
  assert score.distance < others.min()
  assert score.confidence == pytest.approx(
    np.median(score.distances) - score.distances.min()
  )


def test_agreement_is_distance_zero():
  frames, sound = clip(60)
  (score,) = score_clip(frames, sound, BOX, toy, crop='fixed')
  assert score.offset == 0
  assert score.distance < 0.01  # Eight bits of brightness.
  assert score.confidence > 0.3

  def same(crops, coefficients, count):
    x = np.random.RandomState(1).randn(count, 1024)
    return x, x

  (score,) = score_clip(frames, sound, BOX, same, crop='fixed')
  # PyTorch adds 1e-6 to each of 1024 differences.
  assert score.distance == pytest.approx(32e-6, rel=1e-6)
  assert score.confidence > 30


def test_distances_written_out():
  rng = np.random.RandomState(0)
  video, audio = rng.randn(2, 7, 4)
  expected = np.zeros(31)
  for k in range(31):
    for i in range(7):
      j = i + k - 15
      other = audio[j] if 0 <= j < 7 else np.zeros(4)
      expected[k] += np.sqrt(np.sum((video[i] - other + 1e-6) ** 2)) / 7
  np.testing.assert_allclose(shift_distances(video, audio), expected)
  with pytest.raises(ValueError, match='embeddings'):
    shift_distances(video, audio[:6])


@pytest.mark.parity
def test_distances_equal_pytorch():
  torch = pytest.importorskip('torch', reason='no torch: make parity')
  rng = np.random.RandomState(0)
  video, audio = (torch.from_numpy(x) for x in rng.randn(2, 40, 1024))
  padded = torch.nn.functional.pad(audio, (0, 0, 15, 15))
  theirs = torch.stack(
    [
      torch.nn.functional.pairwise_distance(
        x.expand(31, -1), padded[i : i + 31]
      )
      for i, x in enumerate(video)
    ],
    1,
  ).mean(1)
  ours = shift_distances(video.numpy(), audio.numpy())
  np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12)
  assert np.median(ours) == pytest.approx(theirs.median().item(), rel=1e-12)


@pytest.mark.parity
def test_a_clip_equals_the_procedure_in_pytorch():
  """Crops, order of colours, windows, network, distances; random weights."""
  torch = pytest.importorskip('torch', reason='no torch: make parity')
  public = pytest.importorskip('python_speech_features')
  cv2 = pytest.importorskip('cv2')
  from tests import torch_syncnet

  rng = np.random.RandomState(4)
  frames = rng.randint(0, 256, (12, 60, 80, 3)).astype(np.uint8)
  sound = 0.1 * rng.randn(12 * 640)
  x, y, half = 41.0, 30.0, 17.0
  padded = np.pad(
    frames, ((0, 0), (30, 30), (30, 30), (0, 0)), constant_values=110
  )
  rows = slice(int(y + 30 - half), int(y + 30 + 1.8 * half))
  columns = slice(int(x + 30 - 1.4 * half), int(x + 30 + 1.4 * half))
  images = [
    cv2.resize(image[rows, columns, ::-1], (224, 224)) for image in padded
  ]
  images = np.moveaxis(np.stack(images), -1, 0)[None].astype(np.float32)
  sound = (np.rint(32768 * sound) / 32768).astype(np.float32)
  coefficients = public.mfcc((32768 * sound).astype(np.int16), 16000).T
  coefficients = coefficients[None, None].astype(np.float32)
  model = torch_syncnet.with_random_weights(torch_syncnet.SyncNet())
  with torch.no_grad():
    video, audio = model(
      torch.from_numpy(
        np.concatenate([images[:, :, i : i + 5] for i in range(7)])
      ),
      torch.from_numpy(
        np.concatenate(
          [coefficients[..., 4 * i : 4 * i + 20] for i in range(7)]
        )
      ),
    )
    audio = torch.nn.functional.pad(audio, (0, 0, 15, 15))
    theirs = [
      torch.nn.functional.pairwise_distance(v.expand(31, -1), audio[i : i + 31])
      for i, v in enumerate(video)
    ]
  theirs = torch.stack(theirs, 1).mean(1).numpy()
  embed = lip_sync.syncnet_embedder(convert(weights()), 4)
  box = np.array([x - 12, y - half, x + 12, y + half])
  (ours,) = score_clip(frames, sound, box, embed, crop='fixed')
  # Float32 rounding of embeddings, of which some are near each other.
  np.testing.assert_allclose(ours.distances, theirs, rtol=1e-4)
  assert ours.offset == 15 - theirs.argmin()


def test_exact_follows_a_face_and_cuts_the_sound_with_it():
  """Seen from frame 20 on; the sound is 3 frames late."""
  frames, sound = clip(140, late=3, side=160)
  boxes = np.tile(np.array([20.0, 20, 130, 130]), (140, 1))
  boxes[:20] = boxes[60:70] = np.nan
  (score,) = score_clip(frames, sound, boxes, toy)
  assert (score.start, score.end) == (20, 140)
  assert score.num_windows == 115
  assert score.offset == -3


def test_sound_that_ends_early_decides_how_many_windows_there_are():
  frames, sound = clip(60)
  (score,) = score_clip(frames, sound[: 40 * 640 + 639], BOX, toy, crop='fixed')
  assert score.num_windows == 35


@pytest.mark.parametrize(
  'length, samples, gain, box, reason',
  [
    (1, 640, 1, BOX, Reason.SHORT),
    (5, 3200, 1, BOX, Reason.SHORT),
    (60, 5 * 640, 1, BOX, Reason.SHORT),
    (60, 0, 1, BOX, Reason.SHORT),
    (60, 38400, 0, BOX, Reason.SILENT),
    (60, 38400, 1e-4, BOX, Reason.SILENT),
    (60, 38400, 1, BOX + 900, Reason.OUTSIDE),
    (60, 38400, 1, np.full(4, np.nan), Reason.NO_FACE),
    (0, 0, 1, BOX, Reason.NO_FACE),
  ],
)
def test_clips_without_a_score_say_why(length, samples, gain, box, reason):
  frames, sound = clip(length)
  answer = score_clip(frames, gain * sound[:samples], box, toy, crop='fixed')
  assert isinstance(answer, NoScore)
  assert answer.reason is reason, answer
  assert '\n' not in str(answer)


def test_exact_refuses_what_the_public_code_refuses():
  frames, sound = clip(100, side=160)
  boxes = np.tile(np.array([20.0, 20, 130, 130]), (100, 1))
  answer = score_clip(frames, sound, boxes, toy)
  assert answer.reason is Reason.SHORT_TRACK


def test_six_frames_are_enough_for_fixed():
  (score,) = score_clip(*clip(6), BOX, toy, crop='fixed')
  assert score.num_windows == 1
  assert np.isfinite(score.distances).all()


def test_wrong_arguments_are_errors():
  frames, sound = clip(60)
  boxes = np.tile(BOX, (60, 1))
  for arguments, message in (
    ((frames, sound, boxes[:9]), '9 boxes for 60 frames'),
    ((frames.astype(np.float32), sound, boxes), 'frame 0 is float32'),
    ((frames, np.stack([sound, sound]), boxes), r'\(2, 38400\)'),
    ((frames, to_int16(sound), boxes), 'int16'),
    ((frames, sound * np.nan, boxes), 'not finite'),
  ):
    with pytest.raises(InputError, match=message):
      score_clip(*arguments, toy)
  with pytest.raises(InputError, match="'square' is none of"):
    score_clip(frames, sound, boxes, toy, crop='square')
  broken = lambda *_: (np.full((55, 2), np.nan), np.zeros((55, 2)))
  with pytest.raises(InputError, match='weights may be damaged'):
    score_clip(frames, sound, boxes, broken, crop='fixed')


class Means(nn.Module):
  """In the place of SyncNet: what its windows are, in a few numbers."""

  def __call__(self, video, mfcc):
    Means.traces += 1
    return video.mean((2, 3)).reshape(len(video), -1), mfcc.reshape(-1, 260)


@pytest.mark.parametrize('batch_size', [1, 4, 20])
def test_windows_of_batches_of_one_size(monkeypatch, batch_size):
  """Pictures are BGR, windows the right ones, and it is compiled once."""
  monkeypatch.setattr(lip_sync, 'SyncNet', Means)
  Means.traces = 0
  rng = np.random.RandomState(0)
  crops = rng.randint(0, 256, (30, 2, 2, 3)).astype(np.uint8)
  coefficients = rng.randn(119, 13)
  embed = lip_sync.syncnet_embedder({}, batch_size)
  for count in (1, 3, 20, 25):
    video, audio = embed(crops, coefficients, count)
    assert video.shape == (count, 15)
    for i in range(count):
      pixels = crops[i : i + 5, ..., ::-1].astype(np.float32)
      np.testing.assert_allclose(video[i], pixels.mean((1, 2)).ravel())
      sound = coefficients[4 * i : 4 * i + 20].astype(np.float32)
      np.testing.assert_array_equal(audio[i], sound.ravel())
  assert Means.traces == 1


def test_the_network_itself():
  """Batches of two equal one window alone; the weights are random."""
  rng = np.random.RandomState(0)
  crops = rng.randint(0, 256, (7, 224, 224, 3)).astype(np.uint8)
  coefficients = rng.randn(40, 13)
  video = crops[None, 2:7, ..., ::-1].astype(np.float32)
  sound = coefficients[None, 8:28].astype(np.float32)
  variables = convert(weights())
  embed = lip_sync.syncnet_embedder(variables, 2)
  ours = embed(crops, coefficients, 3)
  alone = jax.jit(SyncNet().apply)(variables, video, sound)
  for a, b in zip(ours, alone):
    assert a.shape == (3, 1024)
    scale = np.abs(b).max()
    np.testing.assert_allclose(a[2], b[0], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize('crop', lip_sync.CROPS)
def test_pieces_of_a_clip_are_the_clip(monkeypatch, crop):
  frames, sound = clip(130, late=2, side=160)
  box = np.array([20.0, 20.0, 130.0, 130.0])
  boxes = box if crop == 'fixed' else np.tile(box, (130, 1))
  (whole,) = score_clip(frames, sound, boxes, toy, crop=crop)
  monkeypatch.setattr(lip_sync, 'PIECE', 33)
  (pieces,) = score_clip(frames, sound, boxes, toy, crop=crop)
  np.testing.assert_array_equal(pieces.distances, whole.distances)
  assert pieces.offset == whole.offset == -2

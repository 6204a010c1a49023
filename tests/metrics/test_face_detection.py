"""Boxes of the outputs of S3FD, and faces found by a network that is known."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.metrics import face_detection
from mdcf_jax.metrics.face_detection import decode, select, suppress
from mdcf_jax.models.s3fd import SIZES, STEPS


def grids(height, width, rng=None):
  """Outputs for a picture: nothing anywhere, or anything."""
  outputs = []
  for step in STEPS:
    shape = -(-height // step), -(-width // step)
    scores, offsets = np.zeros((*shape, 2)), np.zeros((*shape, 4))
    if rng is None:
      scores[..., 0] = 9
    else:
      scores, offsets = rng.randn(*shape, 2), rng.randn(*shape, 4)
    outputs.append((scores, offsets))
  return outputs


def test_decoding_written_out():
  height, width = 60, 100
  outputs = grids(height, width, np.random.RandomState(0))
  boxes, confidences = decode(outputs, (height, width))
  k = 0
  for (scores, offsets), step, side in zip(outputs, STEPS, SIZES):
    for i in range(scores.shape[0]):
      for j in range(scores.shape[1]):
        dx, dy, dw, dh = offsets[i, j]
        x = (j + 0.5) * step + 0.1 * dx * side
        y = (i + 0.5) * step + 0.1 * dy * side
        w, h = side * np.exp(0.2 * dw), side * np.exp(0.2 * dh)
        box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        np.testing.assert_allclose(boxes[k] * np.tile([width, height], 2), box)
        powers = np.exp(scores[i, j])
        np.testing.assert_allclose(confidences[k], powers[1] / powers.sum())
        k += 1
  assert k == len(boxes) == len(confidences)


def test_suppression_keeps_the_best_of_those_that_overlap():
  boxes = np.array(
    [[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 30]], float
  )
  confidences = np.array([0.8, 0.9, 0.7, 0.6])
  np.testing.assert_array_equal(suppress(boxes, confidences, 0.3), [1, 2, 3])
  np.testing.assert_array_equal(suppress(boxes, confidences, 0.1), [1, 2])
  assert len(suppress(boxes[:0], confidences[:0], 0.1)) == 0


def test_selection_suppresses_twice():
  """What the second pass drops has dropped its neighbour in the first."""
  boxes = np.array([[0, 0, 10, 10], [7, 0, 17, 10], [11, 0, 21, 10]], float)
  confidences = np.array([0.99, 0.98, 0.97])
  # The third overlaps the second by 6 / 14, the first not at all; the second
  # overlaps the first by 3 / 17.
  np.testing.assert_array_equal(select(boxes, confidences)[:, 4], [0.99])
  assert len(suppress(boxes, confidences, 0.1)) == 2
  assert select(boxes, confidences, 0.985).shape == (1, 5)
  assert select(boxes, confidences, 0.99).shape == (0, 5)


@pytest.mark.parity
def test_decoding_and_selection_equal_pytorch():
  """Greedy suppression in PyTorch, over all boxes above 0.05 as in public."""
  torch = pytest.importorskip('torch', reason='no torch: make parity')
  outputs = grids(120, 160, np.random.RandomState(1))
  for scores, _ in outputs:
    scores *= 2  # Some are sure.
  boxes, confidences = decode(outputs, (120, 160))
  both = torch.cat([torch.from_numpy(s).reshape(-1, 2) for s, _ in outputs])
  theirs = both.softmax(-1)[:, 1]
  np.testing.assert_allclose(confidences, theirs.numpy())

  def greedy(boxes, scores, limit):
    kept = []
    for i in scores.argsort(descending=True).tolist():
      for j in kept:
        low = torch.maximum(boxes[i, :2], boxes[j, :2])
        high = torch.minimum(boxes[i, 2:], boxes[j, 2:])
        shared = (high - low).clamp(min=0).prod()
        areas = [(boxes[k, 2:] - boxes[k, :2]).prod() for k in (i, j)]
        if shared / (sum(areas) - shared) > limit:
          break
      else:
        kept.append(i)
    return torch.tensor(kept)

  mask = theirs > 0.05
  found, scores = torch.from_numpy(boxes)[mask], theirs[mask]
  kept = greedy(found, scores, 0.3)[:750]
  found, scores = found[kept], scores[kept]
  found, scores = found[scores > 0.9], scores[scores > 0.9]
  kept = greedy(found, scores, 0.1)
  ours = select(boxes, confidences)
  assert len(ours) > 3
  np.testing.assert_allclose(ours[:, :4], found[kept].numpy())
  np.testing.assert_allclose(ours[:, 4], scores[kept].numpy())


class Bright(nn.Module):
  """In the place of S3FD: bright cells of the finest grid are faces."""

  def __call__(self, image):
    Bright.traces += 1
    outputs = []
    for step in STEPS:
      size = -(-image.shape[1] // step), -(-image.shape[2] // step)
      face = jnp.full((len(image), *size), -9.0)
      if step == 4:
        face = jnp.where(image[:, 2::4, 2::4, 0] > 100, 9.0, -9.0)
      scores = jnp.stack([jnp.zeros_like(face), face], -1)
      outputs.append((scores, jnp.zeros((*face.shape, 4))))
    return outputs


def test_boxes_are_in_pixels_of_the_frame(monkeypatch):
  """A cell of 4 pixels of the quarter is 16 of the frame, its box 64."""
  monkeypatch.setattr(face_detection, 'S3FD', Bright)
  Bright.traces = 0
  frames = np.zeros((5, 128, 192, 3), np.uint8)
  for i in range(1, 5):
    frames[i, 48:64, 16 * i : 16 * i + 16] = 255
  frames[4, 48:64, 160:176] = 255
  detect = face_detection.s3fd_detector({}, batch_size=2)
  found = detect(frames)
  assert [len(x) for x in found] == [0, 1, 1, 1, 2]
  for i in range(1, 4):
    x = 16 * i + 8
    np.testing.assert_allclose(found[i][0, :4], [x - 32, 24, x + 32, 88])
    assert found[i][0, 4] > 0.99
  assert Bright.traces == 1
  assert detect([]) == []


def test_frames_that_cannot_be_looked_at_are_errors(monkeypatch):
  monkeypatch.setattr(face_detection, 'S3FD', Bright)
  detect = face_detection.s3fd_detector({})
  frame = np.zeros((128, 192, 3), np.uint8)
  for frames, message in (
    ([frame[:100]], 'too small'),
    ([frame, frame[:, :150]], 'differ in size'),
    ([frame.astype(float)], 'not uint8'),
  ):
    with pytest.raises(InputError, match=message):
      detect(frames)

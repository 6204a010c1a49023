"""CSIM with a small random network in an ONNX file made here."""

import builtins
import hashlib

import numpy as np
import pytest

from mdcf_jax.errors import InputError, NoScore
from mdcf_jax.metrics import identity
from tests.metrics import face_tracks

SIDE = 160


def write_network(path, shape=('N', 3, 112, 112), rank=2, dtype='FLOAT'):
  """Means of 16x16 squares, times a random matrix: `[N, 3, H, W]` to 8."""
  onnx = pytest.importorskip('onnx')
  helper, kind = onnx.helper, getattr(onnx.TensorProto, dtype)
  pool = 16 if dtype == 'FLOAT' else 1  # onnxruntime pools float32 alone.
  rows = shape[1] * (shape[2] // pool) * (shape[3] // pool)
  matrix = np.random.default_rng(0).normal(size=(rows, 8))
  matrix = matrix.astype(helper.tensor_dtype_to_np_dtype(kind))
  sides = dict(kernel_shape=[pool] * 2, strides=[pool] * 2)
  nodes = [
    helper.make_node('AveragePool', ['x'], ['pooled'], **sides),
    helper.make_node('Flatten', ['pooled'], ['flat']),
    helper.make_node('MatMul', ['flat', 'w'], ['y']),
  ]
  if pool == 1:
    nodes = [helper.make_node('Flatten', ['x'], ['flat']), nodes[2]]
  if rank == 4:
    nodes = [helper.make_node('AveragePool', ['x'], ['y'], **sides)]
  out = ('N', 8) if rank == 2 else ('N', 3, 7, 7)
  graph = helper.make_graph(
    nodes,
    'network',
    [helper.make_tensor_value_info('x', kind, shape)],
    [helper.make_tensor_value_info('y', kind, out)],
    [onnx.numpy_helper.from_array(matrix, 'w')] if rank == 2 else [],
  )
  model = helper.make_model(
    graph, ir_version=8, opset_imports=[helper.make_opsetid('', 13)]
  )
  path.write_bytes(model.SerializeToString())
  return matrix


@pytest.fixture
def network(tmp_path):
  pytest.importorskip('onnxruntime', reason='needs the extra [eval]')
  path = tmp_path / 'network.onnx'
  return write_network(path), identity.ArcFace(path), path


def clip(num=4, seed=0):
  """Frames `[T, H, W, 3]` and landmarks of a face in them."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (num, 8, 8, 3), np.uint8)
  frames = coarse.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)
  return frames, np.tile(face_tracks.face_points(), (num, 1, 1))


def test_five_points_are_means_in_pixels():
  points = identity.five_points(face_tracks.face_points(), (100, 200))
  expected = np.array(
    [[0.4, 0.4], [0.6, 0.4], [0.5, 0.53], [0.42, 0.65], [0.58, 0.65]]
  )
  np.testing.assert_allclose(points, expected * (200, 100) - 0.5)


def test_an_aligned_face_stays_where_it_is():
  """Landmarks upon the template: the crop is the picture itself."""
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (112, 112, 3), np.uint8)
  marks = np.zeros((478, 3))
  for some, point in zip(identity.FIVE_POINTS, identity.TEMPLATE):
    marks[list(some), :2] = (point + 0.5) / 112
  np.testing.assert_array_equal(identity.align(image, marks), image)
  wide = np.concatenate([np.zeros_like(image), image], axis=1)
  marks[:, 0] = (marks[:, 0] + 1) / 2
  np.testing.assert_array_equal(identity.align(wide, marks), image)


def test_embeddings_are_those_of_the_formula(network):
  """RGB in this order, (x - 127.5) / 127.5, planes, unit length."""
  matrix, arcface, path = network
  crops = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), np.uint8)
  x = (crops.astype(np.float64) - 127.5) / 127.5
  squares = x.reshape(3, 7, 16, 7, 16, 3).mean(axis=(2, 4))
  expected = np.moveaxis(squares, -1, 1).reshape(3, -1) @ matrix
  expected /= np.linalg.norm(expected, axis=1, keepdims=True)
  # float32 sums.
  np.testing.assert_allclose(arcface(crops), expected, atol=1e-5)
  assert arcface.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
  more = identity.ArcFace(path, threads=2)
  np.testing.assert_allclose(more(crops), expected, atol=1e-5)


def test_the_same_face_is_one_and_another_less(network):
  _, arcface, _ = network
  frames, marks = clip()
  same = identity.csim(
    arcface, frames[0], marks[0], np.stack([frames[0]] * 3), marks[:3]
  )
  assert same.mean == same.lowest == pytest.approx(1, abs=1e-6)
  assert (same.frames, same.faces) == (3, 3) and same.sha256 == arcface.sha256
  found = identity.csim(arcface, frames[0], marks[0], iter(frames), marks)
  assert found.per_frame[0] == pytest.approx(1, abs=1e-6)
  assert found.lowest < 0.9 and found.mean == np.mean(found.per_frame)


def test_alignment_follows_the_face(network):
  """The face elsewhere in the picture is the same face."""
  _, arcface, _ = network
  (frame,), marks = clip(1)
  moved = np.zeros((SIDE + 40, SIDE + 40, 3), np.uint8)
  moved[30 : 30 + SIDE, 10 : 10 + SIDE] = frame
  there = (marks[0] * SIDE + (10, 30)) / (SIDE + 40)
  found = identity.csim(arcface, frame, marks[0], moved[None], there[None])
  # Landmarks beyond float64's last digits can round a pixel otherwise.
  assert found.mean == pytest.approx(1, abs=1e-4)


def test_frames_without_a_face_are_left_out(network):
  _, arcface, _ = network
  frames, marks = clip()
  whole = identity.csim(arcface, frames[0], marks[0], frames, marks)
  lost = marks.copy()
  lost[[1, 2]] = np.nan
  found = identity.csim(arcface, frames[0], marks[0], frames, lost)
  assert (found.frames, found.faces) == (4, 2)
  assert found.per_frame == (whole.per_frame[0], whole.per_frame[3])
  assert found.mean == np.mean(found.per_frame)
  lost[:] = np.nan
  with pytest.raises(NoScore, match='no face in any of 4 frames'):
    identity.csim(arcface, frames[0], marks[0], frames, lost)
  with pytest.raises(NoScore, match='source image'):
    identity.csim(arcface, frames[0], lost[0], frames, marks)
  with pytest.raises(ValueError, match='zip'):
    identity.csim(arcface, frames[0], marks[0], frames, marks[:3])


@pytest.mark.parametrize(
  'wrong',
  [
    dict(shape=('N', 3, 128, 128)),
    dict(shape=('N', 1, 112, 112)),
    dict(shape=(8, 3, 112, 112)),
    dict(rank=4),
    dict(dtype='DOUBLE'),
  ],
  ids=str,
)
def test_other_networks_are_refused(tmp_path, wrong):
  pytest.importorskip('onnxruntime', reason='needs the extra [eval]')
  path = tmp_path / 'other.onnx'
  write_network(path, **wrong)
  with pytest.raises(InputError, match='other.onnx: not a network') as error:
    identity.ArcFace(path)
  assert '\n' not in str(error.value)


def test_sizes_that_are_fixed_to_one_or_open_are_fine(tmp_path):
  pytest.importorskip('onnxruntime', reason='needs the extra [eval]')
  crops = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), np.uint8)
  rows = []
  for batch in (1, None, 'batch'):
    path = tmp_path / f'{batch}.onnx'
    write_network(path, shape=(batch, 3, 112, 112))
    rows.append(identity.ArcFace(path)(crops))
  np.testing.assert_array_equal(rows[0], rows[1])
  np.testing.assert_array_equal(rows[0], rows[2])


def test_grey_faces_without_an_embedding(network):
  """127.5 cannot be had, but a network of zeros can."""
  _, arcface, path = network
  onnx = pytest.importorskip('onnx')
  model = onnx.load(path)
  weights = model.graph.initializer[0]
  zeros = np.zeros(tuple(weights.dims), np.float32)
  weights.CopyFrom(onnx.numpy_helper.from_array(zeros, weights.name))
  path.write_bytes(model.SerializeToString())
  with pytest.raises(InputError, match='network.onnx: .* length 0'):
    identity.ArcFace(path)(np.zeros((1, 112, 112, 3), np.uint8))


def test_files_that_are_no_network(tmp_path):
  pytest.importorskip('onnxruntime', reason='needs the extra [eval]')
  with pytest.raises(InputError, match='there is no such file'):
    identity.ArcFace(tmp_path / 'absent.onnx')
  path = tmp_path / 'text.onnx'
  path.write_bytes(b'no network')
  with pytest.raises(InputError, match='text.onnx cannot be read') as error:
    identity.ArcFace(path)
  assert '\n' not in str(error.value)


def test_onnxruntime_that_is_not_there(tmp_path, monkeypatch):
  original = builtins.__import__

  def fail(name, *args, **kwargs):
    if name == 'onnxruntime':
      raise ImportError(f'No module named {name!r}')
    return original(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', fail)
  with pytest.raises(InputError, match=r"pip install '.\[eval\]'"):
    identity.ArcFace(tmp_path / 'any.onnx')

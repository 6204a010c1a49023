"""CSIM: does every frame show the person of the source image?

Cosine between ArcFace embeddings (Deng et al. 2019) of the source and of each
frame. The face is brought upon the five points of ArcFace's template in a
112x112 picture; RGB values x go in as (x - 127.5) / 127.5.

Bring your own network: an ONNX file, run with onnxruntime. None comes along
and no address is given; InsightFace's (buffalo_l, antelopev2) are for
non-commercial research only, and scores of different files do not compare, so
the sha256 of the file belongs to every score.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable

import numpy as np

from mdcf_jax.errors import InputError, NoScore, reading
from mdcf_jax.media import files
from mdcf_jax.metrics import alignment

SIZE = 112
# (x, y) of the eye at the left of the picture, the eye at its right, the tip
# of the nose, and the mouth's corners at left and right: `arcface_src` of
# deepinsight/insightface, python-package/insightface/utils/face_align.py.
TEMPLATE = np.array(
  [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
  ]
)
# The same five of MediaPipe's 478 landmarks, means of those listed. An eye is
# the middle of its corners: unlike the iris, they do not follow the gaze, and
# they are seen when it is shut. Point 1 and the corners fit the template best
# of the tips (1, 4, 5, 19) and centres (corners, iris) that could be meant.
FIVE_POINTS = ((33, 133), (362, 263), (1,), (61,), (291,))


@dataclasses.dataclass(frozen=True)
class IdentityScore:
  """CSIM of one clip.

  Attributes:
    mean, lowest: over the frames with a face, in [-1, 1].
    per_frame: `[faces]` of those frames, in order.
    frames: of the clip, `faces` of them with a face.
    faces: frames that count.
    sha256: of the network's file.
  """

  mean: float
  lowest: float
  per_frame: tuple[float, ...]
  frames: int
  faces: int
  sha256: str


class ArcFace:
  """A recognition network in an ONNX file of the user's.

  Its one input is `[N, 3, 112, 112]` float32 and its one output `[N, D]`. It
  must take values that are already normalised; some old exports do that
  themselves and would give wrong scores, which cannot be seen from outside.

  Args:
    path: the ONNX file, all in one: with weights beside it, its sha256 would
      not say what was run.
    threads: of onnxruntime on the CPU. One gives the same sums everywhere.

  Attributes:
    sha256: of the file.

  Raises:
    InputError: onnxruntime or the file is missing, or it is no such network.
  """

  def __init__(self, path: str | os.PathLike, *, threads: int = 1):
    runtime = _import_onnxruntime()
    path = files.check_file(path)
    content = path.read_bytes()
    self.sha256 = hashlib.sha256(content).hexdigest()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # Errors; they come as exceptions too.
    with reading(path, 'it must be an ONNX file with its weights inside'):
      self._session = runtime.InferenceSession(
        content, options, providers=['CPUExecutionProvider']
      )
    self._path = path
    self._input = self._check()

  def _check(self) -> str:
    """Returns the input's name; InputError unless the shapes are right."""
    inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
    shapes = ' and '.join(
      f'{[(x.name, x.type, x.shape) for x in xs]}' for xs in (inputs, outputs)
    )
    # Sizes that an export leaves open are names or None.
    fits = len(inputs) == len(outputs) == 1
    fits = fits and inputs[0].type == outputs[0].type == 'tensor(float)'
    fits = fits and len(inputs[0].shape) == 4 and len(outputs[0].shape) == 2
    fits = fits and all(
      size == wanted or not isinstance(size, int)
      for size, wanted in zip(inputs[0].shape, (1, 3, SIZE, SIZE))
    )
    if not fits:
      raise InputError(
        f'{self._path}: not a network from [N, 3, {SIZE}, {SIZE}] to [N, D] '
        f'in float32; it has {shapes}'
      )
    return inputs[0].name

  def __call__(self, crops: np.ndarray) -> np.ndarray:
    """Returns `[N, D]` float32 of unit length for aligned faces.

    One picture is run at a time, so that a score depends on no other.

    Args:
      crops: `[N, 112, 112, 3]` uint8, RGB.

    Raises:
      InputError: the network fails, or gives zero or what is not finite.
    """
    rows = []
    for crop in crops:
      x = (np.float32(crop) - np.float32(127.5)) / np.float32(127.5)
      x = np.moveaxis(x, -1, 0)[None]
      with reading(self._path, 'it does not run'):
        (row,) = self._session.run(None, {self._input: x})
      length = np.linalg.norm(row)
      if not (np.isfinite(length) and length > 0):
        raise InputError(f'{self._path}: an embedding has length {length}')
      rows.append(row[0] / length)
    return np.stack(rows)


def five_points(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """The points of TEMPLATE in a picture of `size` (height, width).

  Args:
    landmarks: `[..., 478, 2 or 3]` of MediaPipe, x in widths, y in heights.

  Returns:
    `[..., 5, 2]` (x, y) in pixels, integers at the centres of pixels.
  """
  flat = np.asarray(landmarks, float)[..., :2]
  means = [flat[..., list(some), :].mean(axis=-2) for some in FIVE_POINTS]
  return np.stack(means, axis=-2) * (size[1], size[0]) - 0.5


def align(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
  """Returns the face of `image [H, W, 3]` uint8 as `[112, 112, 3]` uint8.

  Raises:
    NoScore: the landmarks `[478, 2 or 3]` all lie in one place.
  """
  points = five_points(landmarks, image.shape[:2])
  return alignment.warp(image, alignment.similarity(points, TEMPLATE), SIZE)


def csim(
  network: ArcFace,
  source: np.ndarray,
  source_landmarks: np.ndarray,
  frames: Iterable[np.ndarray],
  landmarks: np.ndarray,
) -> IdentityScore:
  """Cosine similarity of the source image and every frame with a face.

  Args:
    network: an `ArcFace`.
    source: `[H, W, 3]` uint8, RGB: the portrait, or the first true frame.
    source_landmarks: `[478, 2 or 3]`, NaN where there is no face.
    frames: `[T, H, W, 3]` uint8, or any iterable of T frames.
    landmarks: `[T, 478, 2 or 3]`, NaN for frames without a face; see
      `landmarks.only_seen`.

  Raises:
    NoScore: no face in the source, or none in any frame.
    ValueError: frames and landmarks are not equally many.
  """
  if not np.isfinite(source_landmarks).all():
    raise NoScore('no face in the source image')
  (reference,) = network(align(source, source_landmarks)[None])
  values, count = [], 0
  for frame, points in zip(frames, landmarks, strict=True):
    count += 1
    if np.isfinite(points).all():
      (embedding,) = network(align(frame, points)[None])
      values.append(float(np.clip(embedding @ reference, -1, 1)))
  if not values:
    raise NoScore(f'no face in any of {count} frames')
  return IdentityScore(
    mean=float(np.mean(values)),
    lowest=min(values),
    per_frame=tuple(values),
    frames=count,
    faces=len(values),
    sha256=network.sha256,
  )


def _import_onnxruntime():
  try:
    import onnxruntime
  except ImportError as error:
    raise InputError(
      f"CSIM needs onnxruntime: pip install '.[eval]' ({error})"
    ) from error
  return onnxruntime

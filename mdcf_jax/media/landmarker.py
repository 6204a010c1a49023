"""MediaPipe's Face Landmarker, the one place that knows it.

MediaPipe is imported when first used: it needs system libraries that a slim
image lacks, and generation from a portrait does without it.
"""

import contextlib
import os
import pathlib
import sys

import numpy as np

from mdcf_jax.errors import InputError

MODEL_NAME = 'face_landmarker.task'
MAX_FACES = 4


def find_model(model_path: str | os.PathLike | None = None) -> pathlib.Path:
  """Returns the Face Landmarker's file.

  Searched in this order: `model_path`, `$MDCF_FACE_MODEL`, the user's cache.

  Raises:
    InputError: it is not there.
  """
  from mdcf_jax.media import download

  given = model_path or os.environ.get('MDCF_FACE_MODEL')
  path = pathlib.Path(given) if given else download.cache_dir() / MODEL_NAME
  if not path.is_file():
    raise InputError(
      f'{path}: the face model is not there; `mdcf download faces` fetches it'
    )
  return path


class Landmarker:
  """MediaPipe's landmarker, a context manager: an image in, its faces out.

  Every image is looked at on its own.

  Args:
    model_path: the Face Landmarker's file; None searches for it.
    max_faces: how many faces to find at most. Looking for one is faster, and
      which one of several that gives is not ours to choose.

  Raises:
    InputError: MediaPipe or its model is missing.
  """

  def __init__(
    self,
    model_path: str | os.PathLike | None = None,
    max_faces: int = MAX_FACES,
  ):
    mediapipe, vision = _import_mediapipe()
    path = find_model(model_path)
    options = vision.FaceLandmarkerOptions(
      base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path)),
      running_mode=vision.RunningMode.IMAGE,
      num_faces=max_faces,
      output_facial_transformation_matrixes=True,
    )
    self._mediapipe = mediapipe
    try:
      with _quiet():
        self._task = vision.FaceLandmarker.create_from_options(options)
        # The first image makes the rest of the notices.
        self._detect(np.zeros((64, 64, 3), np.uint8))
    except OSError as error:  # EGL and GLES are loaded here.
      raise _missing_libraries(error) from error
    except (RuntimeError, ValueError) as error:
      raise InputError(
        f'{path}: not a face model that MediaPipe can open; '
        '`mdcf download faces` fetches one'
      ) from error

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._task.close()

  def __call__(self, image: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (points, matrix) of each face in `image [H, W, 3]` uint8.

    Returns:
      points: `[478, 3]` float32, x and z in image widths, y in image heights;
        of a face that is cut off, some lie outside the image.
      matrix: `[4, 4]` from the canonical face to the camera, in cm, y upwards,
        z towards the camera.
    """
    result = self._detect(image)
    return [
      (
        np.array([(p.x, p.y, p.z) for p in marks], np.float32),
        np.asarray(matrix),
      )
      for marks, matrix in zip(
        result.face_landmarks, result.facial_transformation_matrixes
      )
    ]

  def _detect(self, image: np.ndarray):
    return self._task.detect(
      self._mediapipe.Image(
        image_format=self._mediapipe.ImageFormat.SRGB,
        data=np.ascontiguousarray(image, np.uint8),
      )
    )


@contextlib.contextmanager
def _quiet():
  """Discards what MediaPipe's libraries write to stderr, past Python."""
  sys.stderr.flush()
  kept = os.dup(2)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(nowhere, 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)


def _import_mediapipe():
  """Imports MediaPipe, or says in one line what is missing."""
  try:
    import mediapipe
    from mediapipe.tasks.python import vision
  except ModuleNotFoundError as error:
    raise InputError(
      f"looking for faces needs MediaPipe: pip install '.[faces]' ({error})"
    ) from error
  except (ImportError, OSError) as error:
    raise _missing_libraries(error) from error
  return mediapipe, vision


def _missing_libraries(error: Exception) -> InputError:
  reason = ' '.join(str(error).split())
  return InputError(
    'MediaPipe misses system libraries; on Debian or Ubuntu: apt-get install '
    f'libgl1 libglib2.0-0 libegl1 libgles2 ({reason})'
  )

"""What metrics need beside the clips: trained networks, and where they are.

A network of a metric is one safetensors file in one folder, by default
`metrics` in the user's cache, which `mdcf convert` writes. There is no
config.json: what the file is stands in its own header. None comes along and no
random network ever takes its place; a metric that lacks one is skipped.
"""

import functools
import importlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mdcf_jax import weights
from mdcf_jax.errors import InputError
from mdcf_jax.media import download, landmarker
from mdcf_jax.metrics import batches, face_detection, identity, lip_sync
from mdcf_jax.metrics.protocol import Protocol

NETWORKS = ('inception', 'i3d', 'syncnet', 's3fd', 'raft', 'lpips')
_SPREAD = ('inception', 'i3d', 'lpips')  # In batches that devices divide.
# The keyword of its module by which a network is told from its like.
_CHOICE = {'raft': 'size', 'lpips': 'net'}


def default_folder() -> pathlib.Path:
  """Where `mdcf convert` writes networks of metrics."""
  return download.cache_dir() / 'metrics'


def save(
  folder: str | os.PathLike,
  name: str,
  variables: Mapping[str, Any],
  description: Mapping[str, Any],
) -> pathlib.Path:
  """Writes a network of a metric, in float32.

  Args:
    folder: made when absent.
    name: of NETWORKS.
    variables: of the module.
    description: JSON of the file's header: model (keywords of the module),
      source (names of the files that it was made of, and their sha256).

  Raises:
    InputError: it cannot be written.
  """
  text = json.dumps({'network': name, **description}, sort_keys=True)
  weights.save(folder, name, variables, 'float32', {'metric': text})
  return pathlib.Path(folder) / f'{name}.safetensors'


class Networks:
  """Networks of a folder, each read when it is first asked for.

  Args:
    protocol: which of several variants belong to it.
    folder: of `save`; None is `default_folder()`.
    arcface: the user's ONNX file for CSIM.
    face_model: MediaPipe's; None searches as `landmarker.find_model`.
  """

  def __init__(
    self,
    protocol: Protocol,
    folder: str | os.PathLike | None = None,
    *,
    arcface: str | os.PathLike | None = None,
    face_model: str | os.PathLike | None = None,
  ):
    self._protocol = protocol
    self._folder = pathlib.Path(folder) if folder else default_folder()
    self._arcface = arcface
    self._face_model = face_model
    self._descriptions: dict[str, dict[str, Any]] = {}

  def describe(self, name: str) -> dict[str, Any]:
    """What stands for a need in a report: its sha256, and whence it is.

    Args:
      name: of NETWORKS, or 'faces', 'arcface', 'opencv'.

    Raises:
      InputError: it is missing, damaged, or not that of the protocol.
    """
    if name not in self._descriptions:
      find = _OTHERS.get(name, Networks._describe_file)
      self._descriptions[name] = find(self, name)
    return self._descriptions[name]

  def key(self, name: str) -> str:
    """What a result that was stored depends on: sha256, or a version."""
    found = self.describe(name)
    return ' '.join(str(found[k]) for k in ('sha256', 'version') if k in found)

  def _describe_file(self, name: str) -> dict[str, Any]:
    path = self._folder / f'{name}.safetensors'
    if not path.is_file():
      raise InputError(
        f'no {name} weights: {path} is not there (see mdcf download {name})'
      )
    text = weights.read_metadata(path).get('metric')
    try:
      found = json.loads(text or '{}')
      model = found['model']
      if found['network'] != name:
        raise KeyError(name)
    except (ValueError, KeyError, TypeError) as error:
      raise InputError(
        f'{path} is no network of `mdcf convert {name}`'
      ) from error
    self._check_variant(path, name, model)
    return {
      'sha256': download.file_sha256(path),
      'model': model,
      'source': found.get('source', {}),
    }

  def _check_variant(self, path, name: str, model: Mapping[str, Any]) -> None:
    wanted = {'raft': 'small', 'lpips': self._protocol.lpips.split(',')[0]}
    key = _CHOICE.get(name)
    if key and model.get(key) != wanted[name]:
      raise InputError(
        f'{path} is {name} {model.get(key)!r}; protocol {self._protocol.name} '
        f'has {wanted[name]!r}'
      )

  def _describe_faces(self, name: str) -> dict[str, Any]:
    path = landmarker.find_model(self._face_model)
    with landmarker.Landmarker(path, max_faces=1):  # Is MediaPipe there?
      pass
    return {
      'sha256': download.file_sha256(path),
      'version': f'mediapipe {importlib.metadata.version("mediapipe")}',
    }

  def _describe_arcface(self, name: str) -> dict[str, Any]:
    if not self._arcface:
      raise InputError('no ArcFace: --arcface names your own ONNX file')
    return {'sha256': self.arcface.sha256}

  def _describe_opencv(self, name: str) -> dict[str, Any]:
    try:
      import cv2
    except ImportError as error:
      raise InputError(f"no OpenCV: pip install '.[eval]' ({error})") from error
    return {'version': f'opencv {cv2.__version__}'}

  @functools.cached_property
  def arcface(self) -> identity.ArcFace:
    """The user's recognition network."""
    return identity.ArcFace(self._arcface)

  @functools.cached_property
  def face_model(self) -> pathlib.Path:
    """MediaPipe's file."""
    return landmarker.find_model(self._face_model)

  def variables(self, name: str) -> Mapping[str, Any]:
    """Variables of a network, on all local devices if its batches are."""
    return self._load(name)

  @functools.cached_property
  def sync_embedder(self) -> lip_sync.Embedder:
    """SyncNet, for `lip_sync.score_clip`."""
    return lip_sync.syncnet_embedder(self._read('syncnet'))

  @functools.cached_property
  def face_detector(self) -> face_detection.Detector:
    """S3FD."""
    return face_detection.s3fd_detector(self._read('s3fd'))

  @functools.cache  # noqa: B019 - lives as long as the command.
  def _load(self, name: str) -> Mapping[str, Any]:
    spread = batches.replicated() if name in _SPREAD else None
    return jax.device_put(self._read(name), spread)

  def _read(self, name: str) -> Mapping[str, Any]:
    model = self.describe(name)['model']
    module = importlib.import_module(f'mdcf_jax.convert.{name}')
    choice = [model[_CHOICE[name]]] if name in _CHOICE else []
    return weights.load(self._folder, name, module.shapes(*choice))


_OTHERS: dict[str, Callable[[Networks, str], dict[str, Any]]] = {
  'faces': Networks._describe_faces,
  'arcface': Networks._describe_arcface,
  'opencv': Networks._describe_opencv,
}

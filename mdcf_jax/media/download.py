"""Files that are fetched on request, checked, and kept in the user's cache."""

import contextlib
import hashlib
import http.client
import os
import pathlib
import urllib.error
import urllib.request

from mdcf_jax import network
from mdcf_jax.errors import InputError

# Google's official bundle, float16, version 1; Apache-2.0.
FACE_MODEL_URL = (
  'https://storage.googleapis.com/mediapipe-models/face_landmarker/'
  'face_landmarker/float16/1/face_landmarker.task'
)
FACE_MODEL_SHA256 = (
  '64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff'
)


def cache_dir() -> pathlib.Path:
  """Returns `$XDG_CACHE_HOME/mdcf_jax`, by default `~/.cache/mdcf_jax`."""
  home = os.environ.get('XDG_CACHE_HOME')
  # Unlike pathlib's home, this never fails: a user may have none.
  home = home or os.path.join(os.path.expanduser('~'), '.cache')
  return pathlib.Path(home) / 'mdcf_jax'


def download(url: str, path: str | os.PathLike, sha256: str) -> pathlib.Path:
  """Fetches `url` to `path`; does nothing when the right file is there.

  The file grows beside its name with `.part` behind it, is checked, and then
  renamed. What broke off goes on from there the next time, if the server can.

  Raises:
    InputError: it cannot be fetched or written, its content is not the one
      expected, or `MDCF_OFFLINE` is set.
  """
  path = pathlib.Path(path)
  if path.is_file() and file_sha256(path) == sha256:
    return path
  part = path.with_name(f'{path.name}.part')
  try:
    _fetch(url, part)
    found = file_sha256(part)
    if found != sha256:
      part.unlink()  # To go on from it would never end well.
      raise InputError(f'{url}: sha256 is {found}, expected {sha256}')
    part.replace(path)
  except urllib.error.URLError as error:
    raise InputError(
      f'{url}: cannot be fetched: {error.reason}; '
      f'a copy of the file may be put at {path}'
    ) from error
  except (OSError, ValueError, http.client.HTTPException) as error:
    if isinstance(error, InputError):
      raise
    raise InputError(f'{path}: cannot be fetched from {url}: {error}') from (
      error
    )
  finally:
    with contextlib.suppress(OSError):
      if not part.stat().st_size:
        part.unlink()
  return path


def _fetch(url: str, part: pathlib.Path) -> None:
  """Fetches what `part` lacks, or all of it where the server only has that."""
  network.check(url)
  part.parent.mkdir(parents=True, exist_ok=True)
  start = part.stat().st_size if part.exists() else 0
  request = urllib.request.Request(url)
  if start:
    request.add_header('Range', f'bytes={start}-')
  try:
    response = urllib.request.urlopen(request, timeout=60)
  except urllib.error.HTTPError as error:
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
      return  # Nothing is lacking, or it is another file: the sum tells.
    raise
  with response:
    going_on = getattr(response, 'status', None) == (
      http.HTTPStatus.PARTIAL_CONTENT
    )
    length = response.headers.get('Content-Length')
    with part.open('ab' if start and going_on else 'wb') as file:
      before = file.tell()
      while block := response.read(1 << 20):
        file.write(block)
      got = file.tell() - before
  if length is not None and length.isdecimal() and got < int(length):
    raise InputError(
      f'{url}: the connection broke off after {got} of {length} bytes; the '
      'same command goes on'
    )


def download_face_model(url: str = FACE_MODEL_URL) -> pathlib.Path:
  """Fetches MediaPipe's Face Landmarker (3.8 MB) into the user's cache."""
  return download(url, cache_dir() / 'face_landmarker.task', FACE_MODEL_SHA256)


def file_sha256(path: str | os.PathLike) -> str:
  """Returns the sha256 of a file as 64 hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()

"""What a generated video says of itself, besides the mark in its pictures."""

import importlib.metadata
import logging
import os

from mdcf_jax.errors import InputError
from mdcf_jax.media import certificates, credentials
from mdcf_jax.media.certificates import Certificate

logger = logging.getLogger(__name__)


def version() -> str:
  """Of this package; 'unknown' where it runs from a checkout."""
  try:
    return importlib.metadata.version('mdcf_jax')
  except importlib.metadata.PackageNotFoundError:
    return 'unknown'


def label(marked: bool) -> str:
  """The comment in a file's metadata."""
  return f'mdcf_jax {version()}; AI-generated; mark={int(marked)}'


def signer(
  path: str | os.PathLike, choice: bool | Certificate
) -> Certificate | None:
  """Who signs a file.

  Args:
    path: of the file: not every container takes a manifest.
    choice: False for nobody, a certificate, or True for the self-signed one,
      if `c2pa-python` is installed.
  """
  suffix = os.path.splitext(path)[1].lower()
  if choice is False or suffix not in credentials.FORMATS:
    return None
  if choice is not True:
    return choice
  if not certificates.available():
    return None
  return certificates.own_certificate()


def sign(path: str | os.PathLike, certificate: Certificate) -> None:
  """Puts the manifest into a finished file; see `credentials.sign`.

  Nobody asked for the self-signed one: when it fails, a warning is enough, and
  the video stays.

  Raises:
    InputError: it cannot be signed with a certificate of the user's.
  """
  try:
    credentials.sign(path, certificate, version())
  except InputError as error:
    if not certificate.self_made:
      raise
    logger.warning('no C2PA manifest: %s', error)

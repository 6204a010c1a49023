"""Content Credentials: a signed statement of origin inside of a file (C2PA).

What is written follows the C2PA specification, version 2: one action,
`c2pa.created`, of the digital source type that IPTC has for media made by a
trained model. Signing and verifying are those of the package `c2pa-python`
(Builder, Signer, Reader), which is optional. Nothing here goes to the network:
there is no time stamp, no list of trust, no question for revoked certificates.
"""

import dataclasses
import io
import json
import os
import pathlib
import uuid
from typing import Any

from mdcf_jax.errors import InputError
from mdcf_jax.media.certificates import OWN_NAME, Certificate, need

SOURCE_TYPE = (
  'http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia'
)
# Containers that a manifest can be put in, of those that are written.
FORMATS = {
  '.mp4': 'video/mp4',
  '.m4v': 'video/x-m4v',
  '.mov': 'video/quicktime',
}
# Nothing is fetched, whatever a file says.
_SETTINGS = {'verify': {'remote_manifest_fetch': False, 'ocsp_fetch': False}}


@dataclasses.dataclass(frozen=True)
class Credentials:
  """The manifest that a file came with.

  Attributes:
    verified: the signature is that of the certificate, and the file is as it
      was when it was signed.
    trusted: an authority of the reader's list vouches for the certificate;
      no list is given to it here.
    generator: program and version, as claimed.
    issuer, name: organisation and common name in the certificate.
    self_made: the certificate says that mdcf_jax made it.
    source_types: digital source types of the actions, their last words.
    problems: codes of C2PA for what failed.
  """

  verified: bool
  trusted: bool
  generator: str
  issuer: str
  name: str
  self_made: bool
  source_types: tuple[str, ...]
  problems: tuple[str, ...]


def sign(
  path: str | os.PathLike, certificate: Certificate, version: str
) -> None:
  """Puts a signed manifest into a file, which is replaced when it is whole.

  Args:
    path: of a video that ends in one of FORMATS.
    certificate: who signs.
    version: of this package.

  Raises:
    InputError: it cannot be signed or written; the file is then as it was.
  """
  import c2pa

  path = pathlib.Path(path)
  form = FORMATS[path.suffix.lower()]
  part = path.with_name(f'.{uuid.uuid4().hex[:8]}.signed.part{path.suffix}')
  try:
    with path.open('rb') as source, part.open('w+b') as target:
      _sign(source, target, form, certificate, version)
    part.replace(path)
  except (c2pa.C2paError, OSError) as error:
    raise InputError(f'{path}: cannot be signed: {error}') from error
  finally:
    part.unlink(missing_ok=True)


def check(certificate: Certificate, path: str | os.PathLike) -> None:
  """Signs a picture of nothing: better now than after hours of generation.

  Raises:
    InputError: C2PA does not take the certificate, which came from `path`.
  """
  import c2pa
  from PIL import Image

  source, target = io.BytesIO(), io.BytesIO()
  Image.new('RGB', (16, 16)).save(source, 'png')
  source.seek(0)
  try:
    _sign(source, target, 'image/png', certificate, '0')
  except c2pa.C2paError as error:
    raise InputError(f'{path}: C2PA does not take it: {error}') from error


def read(path: str | os.PathLike) -> Credentials | None:
  """Reads and verifies the manifest of a file; None where there is none.

  Raises:
    InputError: `c2pa-python` is not installed.
  """
  need()
  import c2pa

  try:
    context = c2pa.Context.from_dict(_SETTINGS)
    with open(path, 'rb') as file:
      with c2pa.Reader(None, file, None, context) as reader:
        store = json.loads(reader.json())
  except c2pa.C2paError:
    return None  # No manifest, or no kind of file that may have one.
  return _describe(store)


def _describe(store: dict[str, Any]) -> Credentials:
  """Picks what matters from a manifest store as C2PA's reader gives it."""
  active = store.get('manifests', {}).get(store.get('active_manifest'), {})
  state = store.get('validation_state')
  generators = active.get('claim_generator_info') or [{}]
  signature = active.get('signature_info') or {}
  actions = [
    action
    for assertion in active.get('assertions', ())
    if str(assertion.get('label')).startswith('c2pa.actions')
    for action in assertion.get('data', {}).get('actions', ())
  ]
  kinds = [str(action.get('digitalSourceType', '')) for action in actions]
  name = signature.get('common_name') or ''
  generator = (generators[0].get(key) for key in ('name', 'version'))
  return Credentials(
    verified=state in ('Valid', 'Trusted'),
    trusted=state == 'Trusted',
    generator=' '.join(str(part) for part in generator if part),
    issuer=signature.get('issuer') or '',
    name=name,
    self_made=name == OWN_NAME,
    source_types=tuple(kind.rpartition('/')[2] for kind in kinds if kind),
    problems=tuple(
      str(status.get('code')) for status in store.get('validation_status') or ()
    ),
  )


def _sign(source, target, form: str, certificate: Certificate, version: str):
  import c2pa

  manifest = {
    'claim_generator_info': [{'name': 'mdcf_jax', 'version': version}],
    'assertions': [
      {
        'label': 'c2pa.actions.v2',
        'data': {
          'actions': [
            {'action': 'c2pa.created', 'digitalSourceType': SOURCE_TYPE}
          ]
        },
      }
    ],
  }
  info = c2pa.C2paSignerInfo(
    certificate.algorithm, certificate.chain, certificate.private_key, None
  )
  context = c2pa.Context.from_dict(_SETTINGS)
  with c2pa.Signer.from_info(info) as signer:
    with c2pa.Builder(json.dumps(manifest), context) as builder:
      builder.sign(signer, form, source, target)

"""Certificates that sign videos: the user's own, or a self-signed one."""

import contextlib
import dataclasses
import datetime
import importlib
import os
import pathlib
import uuid

from mdcf_jax.errors import InputError
from mdcf_jax.media.download import cache_dir

INSTALL = "pip install '.[provenance]'"
OWN_NAME = 'mdcf_jax, made on this computer, vouched for by nobody'
_DAYS = 3650


@dataclasses.dataclass(frozen=True)
class Certificate:
  """Who signs.

  Attributes:
    chain: PEM of the signer's certificate and of those above it.
    private_key: PEM, PKCS 8, not encrypted.
    algorithm: as C2PA calls it, such as 'es256'.
    self_made: by `own_certificate`.
  """

  chain: bytes
  private_key: bytes = dataclasses.field(repr=False)
  algorithm: str
  self_made: bool = False


def available() -> bool:
  """Whether `c2pa-python` and `cryptography` are installed, and load."""
  try:
    importlib.import_module('c2pa')
    importlib.import_module('cryptography.x509')
  except Exception:  # Of a library in it that is not for this machine, too.
    return False
  return True


def load_certificate(
  certificate: str | os.PathLike, private_key: str | os.PathLike
) -> Certificate:
  """Reads a user's certificate; `credentials.check` tries it.

  Args:
    certificate: PEM; the signer's first, then those above it.
    private_key: PEM, not encrypted: EC P-256, P-384, P-521, Ed25519 or RSA.

  Raises:
    InputError: a file cannot be read, they do not belong together, C2PA has
      no signatures of such a key, or the packages are missing.
  """
  need()
  from cryptography import x509
  from cryptography.hazmat.primitives import serialization

  chain, key = map(_read, (certificate, private_key))
  try:
    signer = x509.load_pem_x509_certificates(chain)[0]
  except (ValueError, IndexError) as error:
    raise InputError(f'{certificate}: not a certificate in PEM') from error
  try:
    loaded = serialization.load_pem_private_key(key, None)
  except Exception as error:  # Of several kinds, for several kinds of damage.
    raise InputError(
      f'{private_key}: not a private key in PEM, or one with a password'
    ) from error
  if loaded.public_key() != signer.public_key():
    raise InputError(f'{private_key} is not the key of {certificate}')
  return Certificate(chain, _key_pem(loaded), _algorithm(loaded, private_key))


def own_certificate() -> Certificate:
  """Returns a self-signed certificate: made once, kept in the user's cache.

  It shows that files were signed by the same installation and were not changed
  since, and nothing about who that is. The key can be read by the user alone
  (0600). Where the cache cannot be written, it lives as long as the process.

  Raises:
    InputError: the packages are missing.
  """
  need()
  path = cache_dir() / 'provenance' / 'self-signed.pem'
  kept = _read_own(path)
  if kept is not None:
    return kept
  made = _make_own()
  with contextlib.suppress(OSError):
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f'.{path.name}.{uuid.uuid4().hex[:8]}.part')
    try:
      flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
      with os.fdopen(os.open(part, flags, 0o600), 'wb') as file:
        file.write(made.private_key + made.chain)
      part.replace(path)
    finally:
      part.unlink(missing_ok=True)
  return made


def need() -> None:
  """InputError unless the packages of `available` are installed."""
  if not available():
    raise InputError(f'C2PA needs the package c2pa-python: {INSTALL}')


def _read(path) -> bytes:
  try:
    return pathlib.Path(path).read_bytes()
  except (OSError, ValueError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise InputError(f'{path}: cannot be read: {reason}') from error


def _key_pem(key) -> bytes:
  from cryptography.hazmat.primitives import serialization

  return key.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
  )


def _algorithm(key, path) -> str:
  """The name that C2PA has for signatures of a key."""
  from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

  if isinstance(key, ec.EllipticCurvePrivateKey):
    names = {256: 'es256', 384: 'es384', 521: 'es512'}
    if key.curve.name.startswith('secp') and key.curve.name.endswith('r1'):
      if key.curve.key_size in names:
        return names[key.curve.key_size]
  if isinstance(key, ed25519.Ed25519PrivateKey):
    return 'ed25519'
  if isinstance(key, rsa.RSAPrivateKey):
    return 'ps256'
  raise InputError(f'{path}: C2PA has no signatures of such a key')


def _read_own(path: pathlib.Path) -> Certificate | None:
  """What `own_certificate` kept; None if it is not there, spoilt or too old."""
  from cryptography import x509
  from cryptography.hazmat.primitives import serialization

  try:
    content = path.read_bytes()
    key = serialization.load_pem_private_key(content, None)
    chain = x509.load_pem_x509_certificates(content)
    now = datetime.datetime.now(datetime.UTC)
    if chain[0].not_valid_after_utc < now + datetime.timedelta(days=1):
      return None
    if chain[0].public_key() != key.public_key():
      return None
  except Exception:  # Whatever is wrong with it, another one is made.
    return None
  pem = serialization.Encoding.PEM
  parts = b''.join(x.public_bytes(pem) for x in chain)
  return Certificate(parts, _key_pem(key), 'es256', True)


def _make_own() -> Certificate:
  """An authority, whose key is thrown away, and a signer's certificate.

  C2PA does not take a certificate that signs itself, so there are two.
  """
  from cryptography.hazmat.primitives import serialization
  from cryptography.hazmat.primitives.asymmetric import ec

  root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
  chain = _issue(leaf, root, False), _issue(root, root, True)
  pem = serialization.Encoding.PEM
  parts = b''.join(x.public_bytes(pem) for x in chain)
  return Certificate(parts, _key_pem(leaf), 'es256', True)


def _issue(key, issuer, authority: bool):
  """A certificate with what the C2PA specification asks for (its X.509)."""
  from cryptography import x509
  from cryptography.hazmat.primitives import hashes
  from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

  def name(common: str):
    parts = (NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, OWN_NAME)
    return x509.Name([x509.NameAttribute(*part) for part in parts])

  above = 'self-signed by mdcf_jax'
  now = datetime.datetime.now(datetime.UTC)
  usage = dict.fromkeys(
    (
      *('content_commitment', 'key_encipherment', 'data_encipherment'),
      *('key_agreement', 'encipher_only', 'decipher_only'),
    ),
    False,
  )
  builder = (
    x509.CertificateBuilder()
    .subject_name(name(above if authority else OWN_NAME))
    .issuer_name(name(above))
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=_DAYS))
    .add_extension(x509.BasicConstraints(authority, None), True)
    .add_extension(
      x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),
      False,
    )
    .add_extension(
      x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    )
    .add_extension(
      x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        **usage,
      ),
      True,
    )
  )
  if not authority:
    purposes = [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
  return builder.sign(issuer, hashes.SHA256())

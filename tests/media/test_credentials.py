"""C2PA: what is signed verifies, what is changed does not."""

import datetime

import numpy as np
import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.media import certificates, credentials
from mdcf_jax.media.files import check_file
from mdcf_jax.media.writer import VideoWriter


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """Keys go to a folder of this test."""
  folder = tmp_path / 'cache'
  monkeypatch.setattr(certificates, 'cache_dir', lambda: folder)
  return folder / 'provenance'


@pytest.fixture
def packages():
  pytest.importorskip('c2pa')
  pytest.importorskip('cryptography')


def write(path, **options):
  with VideoWriter(path, 64, **options) as writer:
    for k in range(5):
      writer.write(np.full((64, 64, 3), 20 * k, np.uint8))
  return path


@pytest.mark.parametrize('suffix', ['mp4', 'm4v', 'mov'])
def test_videos_are_signed(suffix, packages, tmp_path, cache):
  path = write(tmp_path / f'a.{suffix}')
  found = credentials.read(path)
  assert found.verified and found.self_made and not found.trusted
  assert found.generator.startswith('mdcf_jax ')
  assert found.source_types == ('trainedAlgorithmicMedia',)
  assert found.problems == ('signingCredential.untrusted',)
  assert {x.name for x in tmp_path.iterdir()} == {path.name, 'cache'}
  (key,) = cache.iterdir()
  assert key.stat().st_mode & 0o777 == 0o600
  assert key.parent.stat().st_mode & 0o777 == 0o700


def test_a_changed_file_does_not_verify(packages, tmp_path):
  path = write(tmp_path / 'a.mp4')
  content = bytearray(path.read_bytes())
  place = content.index(b'mdat') + 40
  content[place] ^= 1
  path.write_bytes(content)
  found = credentials.read(path)
  assert not found.verified and 'assertion.bmffHash.mismatch' in found.problems


def test_no_manifest(packages, tmp_path):
  assert credentials.read(write(tmp_path / 'a.mp4', sign=False)) is None
  assert credentials.read(write(tmp_path / 'a.mkv')) is None
  (tmp_path / 'a.txt').write_text('no video')
  assert credentials.read(tmp_path / 'a.txt') is None


def test_own_certificate_is_kept(packages, cache):
  made = certificates.own_certificate()
  assert certificates.own_certificate() == made
  (path,) = cache.iterdir()
  path.write_text('spoilt')
  other = certificates.own_certificate()
  assert other != made and certificates.own_certificate() == other


def test_a_cache_that_cannot_be_written(packages, tmp_path, monkeypatch):
  (tmp_path / 'file').touch()
  monkeypatch.setattr(certificates, 'cache_dir', lambda: tmp_path / 'file')
  assert credentials.read(write(tmp_path / 'a.mp4')).verified


def make_pair(folder, name, leaf_ends=True):
  """A user's certificate under an authority, and its key."""
  from cryptography import x509
  from cryptography.hazmat.primitives import hashes, serialization
  from cryptography.hazmat.primitives.asymmetric import ec
  from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

  key, root = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
  who, above = (
    x509.Name(
      [
        x509.NameAttribute(NameOID.COMMON_NAME, x),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'A firm'),
      ]
    )
    for x in (name, 'Authority')
  )
  now = datetime.datetime.now(datetime.UTC)
  builder = (
    x509.CertificateBuilder(above, who, key.public_key(), 7)
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(
      x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()),
      False,
    )
    .add_extension(
      x509.KeyUsage(True, *[False] * 8),
      True,
    )
  )
  if leaf_ends:
    builder = builder.add_extension(
      x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False
    )
  pem = serialization.Encoding.PEM
  leaf = builder.sign(root, hashes.SHA384())
  paths = folder / f'{name}.pem', folder / f'{name}.key'
  paths[0].write_bytes(leaf.public_bytes(pem))
  paths[1].write_bytes(certificates._key_pem(key))
  return paths


def test_a_user_s_certificate(packages, tmp_path, cache):
  loaded = certificates.load_certificate(*make_pair(tmp_path, 'Ada'))
  assert loaded.algorithm == 'es384' and not loaded.self_made
  assert 'PRIVATE KEY' not in repr(loaded)
  credentials.check(loaded, 'Ada.pem')
  found = credentials.read(write(tmp_path / 'a.mp4', sign=loaded))
  assert found.verified and not found.self_made
  assert (found.name, found.issuer) == ('Ada', 'A firm')
  assert not cache.exists()


def test_certificates_that_cannot_be_used(packages, tmp_path):
  certificate, key = make_pair(tmp_path, 'Ada')
  _, other = make_pair(tmp_path, 'Bob')
  (tmp_path / 'empty').touch()
  for pair, reason in (
    ((certificate, other), 'is not the key of'),
    ((tmp_path / 'none', key), 'cannot be read'),
    ((tmp_path / 'empty', key), 'not a certificate'),
    ((certificate, tmp_path / 'empty'), 'not a private key'),
    ((certificate, certificate), 'not a private key'),
  ):
    with pytest.raises(InputError, match=reason):
      certificates.load_certificate(*pair)
  useless = certificates.load_certificate(*make_pair(tmp_path, 'Eve', False))
  with pytest.raises(InputError, match='Eve.pem: C2PA does not take it'):
    credentials.check(useless, 'Eve.pem')


def test_a_failing_signature_leaves_nothing(packages, tmp_path):
  made = certificates.own_certificate()
  broken = certificates.Certificate(made.chain, b'no key', 'es256')
  with pytest.raises(InputError, match='cannot be signed'):
    write(tmp_path / 'a.mp4', sign=broken)
  assert [x.name for x in tmp_path.iterdir()] == ['cache']


def test_a_failing_signature_of_nobody_s_asking(packages, tmp_path, caplog):
  """The video stays, without a manifest."""
  made = certificates.own_certificate()
  broken = certificates.Certificate(made.chain, b'no key', 'es256', True)
  path = write(tmp_path / 'a.mp4', sign=broken)
  assert credentials.read(path) is None
  assert 'no C2PA manifest' in caplog.text
  assert {x.name for x in tmp_path.iterdir()} == {'a.mp4', 'cache'}


def test_without_the_packages(tmp_path, monkeypatch):
  monkeypatch.setattr(certificates, 'available', lambda: False)
  check_file(write(tmp_path / 'a.mp4'))
  for call in (certificates.own_certificate, lambda: credentials.read('a')):
    with pytest.raises(InputError, match='provenance'):
      call()

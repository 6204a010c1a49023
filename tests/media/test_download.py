"""Downloads: checked, whole or not at all, one line when offline."""

import hashlib

import pytest

from mdcf_jax.errors import InputError
from mdcf_jax.media import download, faces


def test_a_file_is_checked_and_kept(tmp_path):
  source = tmp_path / 'source'
  source.write_bytes(b'content')
  digest = hashlib.sha256(b'content').hexdigest()
  target = tmp_path / 'cache' / 'file'
  assert download.download(source.as_uri(), target, digest) == target
  assert target.read_bytes() == b'content'
  source.unlink()  # What is there is not fetched again.
  assert download.download(source.as_uri(), target, digest) == target


def test_wrong_content_is_refused(tmp_path):
  source = tmp_path / 'source'
  source.write_bytes(b'something else')
  target = tmp_path / 'cache' / 'file'
  with pytest.raises(InputError, match='sha256'):
    download.download(source.as_uri(), target, '0' * 64)
  assert not list(target.parent.iterdir())


@pytest.mark.parametrize('url', ['http://127.0.0.1:9/model', 'file:///none'])
def test_offline_is_one_line(tmp_path, url):
  target = tmp_path / 'cache' / 'file'
  with pytest.raises(InputError, match='cannot be fetched') as error:
    download.download(url, target, '0' * 64)
  assert '\n' not in str(error.value)
  assert not list(target.parent.iterdir())


def test_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'cache').write_text('a file in the way')
  with pytest.raises(InputError, match='cannot be fetched'):
    download.download('file:///none', tmp_path / 'cache' / 'file', '0' * 64)


def test_the_face_model_goes_where_it_is_looked_for(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.delenv('MDCF_FACE_MODEL', raising=False)
  source = tmp_path / 'source'
  source.write_bytes(b'model')
  digest = hashlib.sha256(b'model').hexdigest()
  monkeypatch.setattr(download, 'FACE_MODEL_SHA256', digest)
  path = download.download_face_model(source.as_uri())
  assert faces.find_model() == path == tmp_path / 'mdcf_jax' / faces.MODEL_NAME

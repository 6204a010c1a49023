"""Downloads: checked, whole or not at all, one line when offline."""

import hashlib
import http.server
import threading

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


class Server(http.server.BaseHTTPRequestHandler):
  """Serves `content`, from where it is asked to if `ranges`."""

  content, ranges, asked, cut = b'', True, [], None

  def do_GET(self):
    given = self.headers.get('Range')
    self.asked.append(given)
    start = int(given.removeprefix('bytes=')[:-1]) if given else 0
    if not self.ranges:
      start = 0
    if start >= len(self.content):
      self.send_error(416)
      return
    self.send_response(206 if given and self.ranges else 200)
    self.send_header('Content-Length', str(len(self.content) - start))
    self.end_headers()
    self.wfile.write(self.content[start : self.cut])

  def log_message(self, *args):
    pass


@pytest.fixture
def server():
  Server.content = bytes(range(256)) * 40
  Server.asked, Server.ranges, Server.cut = [], True, None
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server) as running:
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{running.server_port}/file'
    running.shutdown()


@pytest.mark.parametrize('ranges', [True, False])
@pytest.mark.parametrize('have', [0, 3000, 10240])
def test_a_download_goes_on_where_it_broke_off(tmp_path, server, ranges, have):
  Server.ranges = ranges
  target = tmp_path / 'cache' / 'file'
  target.parent.mkdir()
  if have:
    (target.parent / 'file.part').write_bytes(Server.content[:have])
  digest = hashlib.sha256(Server.content).hexdigest()
  download.download(server, target, digest)
  assert target.read_bytes() == Server.content
  assert Server.asked == [f'bytes={have}-' if have else None]
  assert [path.name for path in target.parent.iterdir()] == ['file']


def test_a_connection_that_breaks_off_leaves_what_came(tmp_path, server):
  target = tmp_path / 'file'
  digest = hashlib.sha256(Server.content).hexdigest()
  Server.cut = 5000
  with pytest.raises(InputError, match='the same command goes on'):
    download.download(server, target, digest)
  assert (tmp_path / 'file.part').stat().st_size == 5000
  Server.cut = None
  download.download(server, target, digest)
  assert target.read_bytes() == Server.content
  assert Server.asked == [None, 'bytes=5000-']

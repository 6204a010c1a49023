"""A server that answers as the Hub does, as far as its library asks."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

REPO = '/api/models/(?P<repo>[^/]+/[^/]+)'


def files_of(folder):
  """Name -> content of the files of a folder."""
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def git_sha(content: bytes) -> str:
  return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


class FakeHub:
  """Repositories in memory, and what was asked.

  Attributes:
    commits: (repo, commit) -> {path: content}.
    refs: (repo, branch) -> commit.
    gated: repositories that show nothing but that they exist.
    asked: 'METHOD path' of every request.
    cut: names of files that break off after 1000 bytes.
    spoil: whether large files have a wrong byte.
  """

  def __init__(self):
    self.commits, self.refs = {}, {}
    self.gated, self.asked, self.private = set(), [], {}
    self.cut, self.spoil = (), False

  def commit(self, repo, files, branch='main'):
    """Adds a commit; returns its name."""
    last = self.commits.get((repo, self.refs.get((repo, branch))), {})
    name = hashlib.sha1(repr((repo, len(self.commits))).encode()).hexdigest()
    files = {k: v for k, v in {**last, **files}.items() if v is not None}
    self.commits[repo, name] = files
    self.refs[repo, branch] = name
    return name

  def find(self, repo, revision):
    """(commit, files) of a branch or commit, or None."""
    commit = self.refs.get((repo, revision), revision)
    files = self.commits.get((repo, commit))
    return None if files is None else (commit, files)


def is_large(path):
  return path.endswith('.safetensors')


class Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'
  hub: FakeHub

  def log_message(self, *args):
    pass

  def do_HEAD(self):
    self._answer()

  def do_GET(self):
    self._answer()

  def do_POST(self):
    length = int(self.headers.get('Content-Length') or 0)
    self._body = self.rfile.read(length) if length else self._chunks()
    self._answer()

  def _chunks(self):
    if self.headers.get('Transfer-Encoding') != 'chunked':
      return b''
    content = b''
    while size := int(self.rfile.readline(), 16):
      content += self.rfile.read(size)
      self.rfile.readline()
    self.rfile.readline()
    return content

  def _answer(self):
    path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
    self.hub.asked.append(f'{self.command} {path}')
    for pattern, method in ROUTES:
      if found := re.fullmatch(pattern, path):
        return method(self, **found.groupdict())
    self._send(404, {'error': f'no {path}'})

  def _send(self, status, content, **headers):
    if not isinstance(content, bytes):
      content = json.dumps(content).encode()
      headers['Content-Type'] = 'application/json'
    self.send_response(status)
    headers = {'Content-Length': len(content)} | headers
    for name, value in headers.items():
      self.send_header(name.replace('_', '-'), str(value))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(content)

  def _files(self, repo, revision, closed=False):
    """(commit, files), or None when an error has been sent."""
    if not any(name == repo for name, _ in self.hub.commits):
      self._send(404, {'error': ''}, X_Error_Code='RepoNotFound')
    elif closed and repo in self.hub.gated:
      self._send(403, {'error': ''}, X_Error_Code='GatedRepo')
    elif (found := self.hub.find(repo, revision)) is None:
      self._send(404, {'error': ''}, X_Error_Code='RevisionNotFound')
    else:
      return found

  def info(self, repo, revision='main'):
    if found := self._files(repo, revision):
      siblings = [{'rfilename': path} for path in found[1]]
      about = dict(id=repo, modelId=repo, sha=found[0], siblings=siblings)
      self._send(200, about | dict(private=False, tags=[], downloads=0))

  def tree(self, repo, revision):
    if found := self._files(repo, revision, closed=True):
      rows = []
      for path, content in found[1].items():
        row = dict(type='file', path=path, size=len(content))
        row['oid'] = git_sha(content)
        if is_large(path):
          digest = hashlib.sha256(content).hexdigest()
          row['lfs'] = dict(oid=digest, size=len(content), pointerSize=1)
        rows.append(row)
      self._send(200, rows)

  def resolve(self, repo, revision, file):
    found = self._files(repo, revision, closed=True)
    if not found:
      return
    commit, files = found
    if file not in files:
      self._send(404, {'error': ''}, X_Error_Code='EntryNotFound')
      return
    content = files[file]
    digest = hashlib.sha256(content).hexdigest()
    etag = digest if is_large(file) else git_sha(content)
    headers = {'X-Repo-Commit': commit, 'ETag': f'"{etag}"'}
    if self.command == 'GET' and is_large(file):
      if self.hub.spoil:
        content = content[:-1] + bytes([content[-1] ^ 1])
    if self.command == 'GET' and file in self.hub.cut:
      headers['Content-Length'] = len(content)
      self.close_connection, content = True, content[:1000]
    self._send(200, content, **headers)

  def create(self):
    about = json.loads(self._body)
    repo = f'{about["organization"]}/{about["name"]}'
    if any(name == repo for name, _ in self.hub.commits):
      url = f'http://{self.headers["Host"]}/{repo}'
      self._send(409, {'error': 'exists', 'url': url})
      return
    shown = about.get('visibility')
    self.hub.private[repo] = about.get('private', shown == 'private')
    self.hub.commit(repo, {'.gitattributes': b''})
    self._send(200, {'url': f'http://{self.headers["Host"]}/{repo}'})

  def yaml(self):
    self._send(200, {'errors': [], 'warnings': []})

  def branch(self, repo, branch):
    if (repo, branch) in self.hub.refs:
      self._send(409, {'error': 'exists'})
      return
    self.hub.refs[repo, branch] = self.hub.refs[repo, 'main']
    self._send(200, {})

  def preupload(self, repo, revision):
    files = [
      dict(path=x['path'], uploadMode='regular', shouldIgnore=False)
      for x in json.loads(self._body)['files']
    ]
    self._send(200, {'files': files})

  def store(self, repo, revision):
    files = {}
    for line in self._body.splitlines():
      row = json.loads(line)
      value = row['value']
      if row['key'] == 'file':
        files[value['path']] = base64.b64decode(value['content'])
      elif row['key'] == 'deletedFile':
        files[value['path']] = None
    name = self.hub.commit(repo, files, revision)
    # Older libraries know one address, that of when they were imported.
    url = f'https://huggingface.co/{repo}/commit/{name}'
    self._send(200, {'commitUrl': url, 'commitOid': name})


ROUTES = [
  (f'{REPO}', Handler.info),
  (f'{REPO}/revision/(?P<revision>.+)', Handler.info),
  (f'{REPO}/tree/(?P<revision>[^/]+)/?', Handler.tree),
  (f'{REPO}/branch/(?P<branch>[^/]+)', Handler.branch),
  (f'{REPO}/preupload/(?P<revision>[^/]+)', Handler.preupload),
  (f'{REPO}/commit/(?P<revision>[^/]+)', Handler.store),
  ('/api/repos/create', Handler.create),
  ('/api/validate-yaml', Handler.yaml),
  (
    '/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)',
    Handler.resolve,
  ),
]


@contextlib.contextmanager
def serve():
  """Yields (FakeHub, its address)."""
  hub = FakeHub()
  handler = type('Bound', (Handler,), {'hub': hub})
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, args=(0.02,))
  thread.start()
  try:
    yield hub, f'http://127.0.0.1:{server.server_address[1]}'
  finally:
    server.shutdown()
    server.server_close()
    thread.join()

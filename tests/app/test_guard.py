"""What the server answers to, apart from gradio."""

import asyncio
import json

import pytest

from mdcf_jax.app.guard import Guard

HOST = (b'host', b'127.0.0.1:7860')


@pytest.fixture
def root(tmp_path):
  (tmp_path / 'root' / 'visits').mkdir(parents=True)
  (tmp_path / 'root' / 'visits' / 'a.mp4').write_bytes(b'x')
  (tmp_path / 'secret').write_bytes(b'x')
  (tmp_path / 'root' / 'link').symlink_to(tmp_path / 'secret')
  return tmp_path / 'root'


def ask(root, method, path, body=b'', headers=(HOST,), query=b'', **options):
  """The status, headers and what reached the application inside."""
  reached, sent = [], []

  async def inside(scope, receive, send):
    message = await receive()
    reached.append(message.get('body'))
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b''})

  parts = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b'']

  async def receive():
    part = parts.pop(0)
    return dict(type='http.request', body=part, more_body=bool(parts))

  async def send(message):
    sent.append(message)

  scope = dict(type='http', method=method, path=path, query_string=query)
  scope['headers'] = list(headers)
  guard = Guard(inside, root, 1000, **options)
  asyncio.run(guard(scope, receive, send))
  return sent[0]['status'], dict(sent[0]['headers']), reached


@pytest.mark.parametrize(
  ('method', 'path'),
  [
    *(('GET', '/'), ('HEAD', '/'), ('GET', '/config'), ('GET', '/theme.css')),
    *(('GET', '/assets/index.js'), ('GET', '/gradio_api/queue/data')),
    *(('GET', '/gradio_api/heartbeat/abc1'), ('GET', '/gradio_api/info')),
  ],
)
def test_the_page_is_served(root, method, path):
  status, headers, reached = ask(root, method, path)
  assert status == 200 and reached
  policy = headers[b'content-security-policy'].decode()
  assert "default-src 'self'" in policy and 'http' not in policy
  assert headers[b'x-content-type-options'] == b'nosniff'


@pytest.mark.parametrize(
  ('method', 'path'),
  [
    *(('GET', '/monitoring'), ('GET', '/gradio_api/deep_link')),
    *(('GET', '/gradio_api/proxy=http://a.b/c'), ('GET', '/docs')),
    *(('POST', '/gradio_api/run/predict'), ('POST', '/gradio_api/call/make')),
    *(('POST', '/gradio_api/component_server'), ('GET', '/gradio_api/runs')),
    *(('POST', '/gradio_api/process_recording'), ('GET', '/login')),
    *(('GET', '/gradio_api/stream/a/b/1/playlist.m3u8'), ('PUT', '/')),
    *(('GET', '/gradio_api/file'), ('GET', '/file=/etc/passwd')),
    *(('GET', '/gradio_api/dev/reload'), ('GET', '/openapi.json')),
    *(('DELETE', '/gradio_api/file=a'), ('GET', '/assets/a\0b')),
  ],
)
def test_nothing_else_is(root, method, path):
  status, headers, reached = ask(root, method, path, b'{}')
  assert status == 404 and not reached
  assert b'content-security-policy' in headers


def test_a_deep_link_is_none_of_ours(root):
  assert ask(root, 'GET', '/', query=b'deep_link=abc')[0] == 404


@pytest.mark.parametrize(
  'path',
  [
    *('/etc/passwd', '../secret', 'visits/a.mp4', 'http://a.b/c', ''),
    *('ROOT/../secret', 'ROOT/visits/../visits/a.mp4', 'ROOT/link'),
    *('file:///etc/passwd', 'ROOT\0', '~/.ssh/id_rsa', '\\\\host\\share'),
  ],
)
def test_files_come_out_of_one_folder(root, path):
  path = path.replace('ROOT', str(root))
  status, _, reached = ask(root, 'GET', f'/gradio_api/file={path}')
  assert status in (403, 404) and not reached
  body = json.dumps({'data': [[{'a': {'path': path}}]]}).encode()
  status, _, reached = ask(root, 'POST', '/gradio_api/queue/join', body)
  assert status == 403 and not reached


def test_a_file_of_a_visit_is_served(root):
  path = root / 'visits' / 'a.mp4'
  assert ask(root, 'GET', f'/gradio_api/file={path}')[0] == 200
  body = json.dumps({'data': [{'path': str(path)}, {'path': None}]}).encode()
  status, _, reached = ask(root, 'POST', '/gradio_api/queue/join', body)
  assert status == 200 and reached == [body]


@pytest.mark.parametrize('path', [7, [], {}, True, 1.5])
def test_a_path_is_a_text(root, path):
  body = json.dumps({'path': path}).encode()
  assert ask(root, 'POST', '/gradio_api/queue/join', body)[0] == 403


@pytest.mark.parametrize(
  'headers',
  [
    [(b'host', b'evil.example')],
    [(b'host', b'evil.example:7860')],
    [(b'host', b'127.0.0.1.evil.example:7860')],
    [],
    [HOST, (b'origin', b'http://evil.example')],
    [HOST, (b'origin', b'null')],
    [HOST, (b'origin', b'http://127.0.0.1:9999')],
  ],
)
def test_other_sites_cannot_ask(root, headers):
  """Neither by their own name for this address, nor from their pages."""
  for method, path in (('GET', '/'), ('POST', '/gradio_api/queue/join')):
    assert ask(root, method, path, b'{}', headers)[0] in (403, 421)


def test_our_own_names(root):
  for host in (b'localhost:7860', b'localhost', b'[::1]:7860', b'127.0.0.1'):
    headers = [(b'host', host), (b'origin', b'http://' + host)]
    assert ask(root, 'GET', '/', headers=headers)[0] == 200
  shared = [(b'host', b'abc.gradio.example')]
  assert ask(root, 'GET', '/', headers=shared, any_host=True)[0] == 200


@pytest.mark.parametrize(
  ('path', 'body', 'length', 'status'),
  [
    ('queue/join', b'{' + b' ' * (2 << 20), None, 413),
    ('queue/join', b'{}', 3 << 20, 413),
    ('queue/join', b'no json', None, 400),
    ('queue/join', b'[' * 200_000, None, 400),
    ('upload', b'x', 10**9, 413),
    ('upload', b'x', None, 411),
    ('upload', b'x', 1, 200),
  ],
)
def test_what_is_sent_has_limits(root, path, body, length, status):
  headers = [HOST]
  if length is not None:
    headers.append((b'content-length', str(length).encode()))
  found, _, _ = ask(root, 'POST', f'/gradio_api/{path}', body, headers)
  assert found == status

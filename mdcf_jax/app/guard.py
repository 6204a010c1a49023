"""What the server answers to: the page's own requests, and nothing else.

Gradio has an API, a proxy, a monitor and more under the same address. The page
needs few of them; here all others end. No request may name a file outside of
the folder of visits, or come from the page of another site.
"""

import json
import pathlib
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

_API = '/gradio_api'
_GET = re.compile(
  r'/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json'
  r'|/(assets|static|svelte)/.+'
  rf'|{_API}/(info/?|theme\.css|app_id/?|startup-events|queue/data'
  r'|queue/status|upload_progress|heartbeat/\w+|file=.+)'
)
_POST = re.compile(rf'{_API}/(queue/join|upload|cancel|reset)/?')
_FILE = f'{_API}/file='
_UPLOAD = f'{_API}/upload'
_HOSTS = 'localhost', '127.0.0.1', '[::1]'
_JSON_BYTES = 1 << 20  # Of a request that is no upload.
_FORM_BYTES = 1 << 16  # Around the file of an upload.

# Gradio's own scripts lie in the page, and make functions of strings.
_POLICY = '; '.join(
  (
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "media-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  )
)
_HEADERS = (
  (b'content-security-policy', _POLICY.encode()),
  (b'referrer-policy', b'no-referrer'),
  (b'x-content-type-options', b'nosniff'),
  (b'x-frame-options', b'DENY'),
  (b'permissions-policy', b'geolocation=(), camera=(self), microphone=(self)'),
)


class Refused(Exception):
  """A request that gets no answer but its status."""

  def __init__(self, status: int, reason: str):
    super().__init__(reason)
    self.status = status


class Guard:
  """ASGI middleware around gradio."""

  def __init__(
    self,
    app: Any,
    root: pathlib.Path,
    upload_bytes: int,
    any_host: bool = False,
  ):
    """Takes the application inside.

    Args:
      app: of gradio.
      root: the only folder that files are taken from and given out of.
      upload_bytes: of a file.
      any_host: whether other names than this machine's are answered, for a
        share link; else a site whose name leads here could read the page.
    """
    self._app, self._root = app, root.resolve()
    self._upload_bytes, self._any_host = upload_bytes, any_host

  async def __call__(self, scope, receive, send) -> None:
    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
      return
    try:
      if scope['type'] != 'http':
        raise Refused(404, 'not found')
      headers = {k.lower(): v for k, v in scope['headers']}
      self._check(scope, headers)
      receive = await self._body(scope, headers, receive)
    except Refused as refused:
      await _answer(send, refused)
      return

    async def with_headers(message):
      if message['type'] == 'http.response.start':
        ours = {name for name, _ in _HEADERS}
        kept = [x for x in message['headers'] if x[0].lower() not in ours]
        message = {**message, 'headers': [*kept, *_HEADERS]}
      await send(message)

    await self._app(scope, receive, with_headers)

  def _check(self, scope, headers: dict[bytes, bytes]) -> None:
    host = headers.get(b'host', b'').decode('latin-1')
    if not self._any_host and host.rpartition(':')[0] not in _HOSTS:
      if host not in _HOSTS:
        raise Refused(421, 'this server has another name')
    origin = headers.get(b'origin', b'').decode('latin-1')
    if origin and urllib.parse.urlsplit(origin).netloc != host:
      raise Refused(403, 'another site asks')
    path, method = scope['path'], scope['method']
    allowed = {'GET': _GET, 'HEAD': _GET, 'POST': _POST}.get(method)
    if '\0' in path or allowed is None or not allowed.fullmatch(path):
      raise Refused(404, 'not found')
    if b'deep_link' in scope.get('query_string', b''):
      raise Refused(404, 'not found')
    if path.startswith(_FILE):
      self._check_path(path.removeprefix(_FILE))

  def _check_path(self, text: Any) -> None:
    """Refuses what is no file below the folder."""
    try:
      path = pathlib.Path(text)
      inside = path.is_absolute() and path.resolve().is_relative_to(self._root)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
      raise Refused(403, 'no such file') from error
    if not inside or '..' in path.parts:
      raise Refused(403, 'no such file')

  async def _body(self, scope, headers, receive):
    """Limits what is sent; returns a `receive` that gives it."""
    if scope['method'] != 'POST':
      return receive
    upload = scope['path'].rstrip('/') == _UPLOAD
    most = self._upload_bytes + _FORM_BYTES if upload else _JSON_BYTES
    length = headers.get(b'content-length', b'')
    if length.isdigit() and int(length) > most:
      raise Refused(413, f'at most {most >> 20} MB')
    if upload:
      if not length.isdigit():  # Else it could go on forever.
        raise Refused(411, 'say how long it is')
      return receive
    body, more = b'', True
    while more:
      message = await receive()
      if message['type'] != 'http.request':
        raise Refused(400, 'broken off')
      body += message.get('body', b'')
      more = message.get('more_body', False)
      if len(body) > most:
        raise Refused(413, f'at most {most >> 20} MB')
    self._check_json(body)
    sent = False

    async def again():
      nonlocal sent
      if sent:
        return await receive()
      sent = True
      return {'type': 'http.request', 'body': body, 'more_body': False}

    return again

  def _check_json(self, body: bytes) -> None:
    try:
      found = json.loads(body)
    except (ValueError, RecursionError) as error:
      raise Refused(400, 'not JSON') from error
    for value in _objects(found):
      if value.get('path') is not None:
        self._check_path(value['path'])


def _objects(value: Any) -> Iterator[dict]:
  """All objects within a value, without recursion."""
  waiting = [value]
  while waiting:
    value = waiting.pop()
    if isinstance(value, dict):
      yield value
      waiting += value.values()
    elif isinstance(value, list):
      waiting += value


async def _answer(send, refused: Refused) -> None:
  body = json.dumps({'detail': str(refused)}).encode()
  headers = [
    (b'content-type', b'application/json'),
    (b'content-length', str(len(body)).encode()),
    *_HEADERS,
  ]
  await send(
    {
      'type': 'http.response.start',
      'status': refused.status,
      'headers': headers,
    }
  )
  await send({'type': 'http.response.body', 'body': body})

"""A browser without a screen: gradio's protocol by hand, good and bad."""

import json
import secrets
import threading
from typing import Any

import httpx

API = '/gradio_api'


class Visitor:
  """A visit of the page at an address.

  Attributes:
    key: of the session.
    http: the client, for requests of one's own.
  """

  def __init__(self, address: str):
    self.key = secrets.token_hex(5)
    self.http = httpx.Client(base_url=address, timeout=60)
    config = self.http.get('/config').json()
    self.events = {x['api_name']: x for x in config['dependencies']}
    self._beat = threading.Event()

  def upload(self, name: str, content: bytes) -> httpx.Response:
    return self.http.post(f'{API}/upload', files={'files': (name, content)})

  def given(self, name: str, content: bytes) -> dict[str, Any]:
    """What a component sends of an upload."""
    (path,) = self.upload(name, content).json()
    return file_data(path)

  def join(self, name: str, *data: Any) -> httpx.Response:
    event = self.events[name]
    body = dict(
      data=list(data),
      fn_index=event['id'],
      session_hash=self.key,
      trigger_id=event['targets'][0][0],
      event_data=None,
    )
    return self.http.post(f'{API}/queue/join', json=body)

  def call(self, name: str, *data: Any) -> list[dict]:
    """Messages of an event up to its end."""
    answer = self.join(name, *data)
    assert answer.status_code == 200, answer.text
    return self._listen(answer.json()['event_id'])

  def _listen(self, event: str) -> list[dict]:
    """Messages of one event; others of the session are lost."""
    found = []
    with self.http.stream(
      'GET', f'{API}/queue/data', params=dict(session_hash=self.key)
    ) as stream:
      for line in stream.iter_lines():
        if line.startswith('data:'):
          message = json.loads(line[5:])
          if message.get('event_id') in (event, None):
            found.append(message)
            if message['msg'] in ('process_completed', 'close_stream'):
              break
    return found

  def output(self, name: str, *data: Any) -> list:
    """What an event put into its outputs; fails if it failed."""
    last = self.call(name, *data)[-1]
    assert last['success'], last
    return last['output']['data']

  def error(self, name: str, *data: Any) -> str:
    """What the page shows when an event fails."""
    last = self.call(name, *data)[-1]
    assert not last['success'], last
    return json.dumps(last['output'])

  def leave(self) -> None:
    """Opens the stream that says that the page is open, and breaks it off."""
    with self.http.stream('GET', f'{API}/heartbeat/{self.key}') as stream:
      next(stream.iter_lines())
    self.http.close()


def file_data(path: Any, **more: Any) -> dict[str, Any]:
  return dict(path=path, meta={'_type': 'gradio.FileData'}, **more)

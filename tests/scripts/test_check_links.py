"""Links of README and docs/ lead somewhere; those that do not are found."""

import http.server
import importlib.util
import threading

import pytest


@pytest.fixture(scope='module')
def script(repository):
  path = repository / 'scripts' / 'check_links.py'
  spec = importlib.util.spec_from_file_location('check_links', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_links_within_the_repository(script):
  assert len(script.pages()) > 20
  assert sum(len(script.links(page)) for page in script.pages()) > 60
  assert script.check_inside() == []


def test_what_leads_nowhere_is_found(script, tmp_path):
  (tmp_path / 'docs').mkdir()
  (tmp_path / 'README.md').write_text(
    '# A\n[a](docs/b.md) [b](docs/c.md) [c](docs/b.md#two-words)\n'
    '[d](docs/b.md#three) <img alt="" src="d.png"> ![e](e.png) [f](#a)\n'
    '```\n[in code](nowhere.md)\n```\n[g](../outside.md) [h](https://x.org)\n'
  )
  (tmp_path / 'docs' / 'b.md').write_text('# Two `words`\n```\n# Three\n```\n')
  (tmp_path.parent / 'outside.md').write_text('')
  found = script.check_inside(tmp_path)
  assert len(found) == 5
  for problem, link in zip(
    sorted(found),
    ['../outside.md', 'd.png', 'docs/b.md#three', 'docs/c.md', 'e.png'],
  ):
    assert problem.startswith(f'README.md: {link}: ')
  assert dict(script.addresses(tmp_path)) == {'https://x.org': ['README.md']}


def test_anchors_are_those_of_repository_hosts(script, tmp_path):
  page = tmp_path / 'page.md'
  page.write_text(
    '# A, b: `c_d` - e\n## Same\n### Same\n## [A link](x.md) ##\n'
  )
  assert script.anchors(page) == {'a-b-c_d---e', 'same', 'same-1', 'a-link'}


def test_addresses_are_asked(script):
  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_response(int(self.path[1:]))
      self.end_headers()

    def log_message(self, *args):
      pass

  with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_port}'
    answers = [
      script.ask(f'{address}/{code}', 2, 0) for code in (200, 404, 500)
    ]
    server.shutdown()
  assert answers == [None, 404, 500]
  assert 'refused' in script.ask(f'{address}/200', 1, 0)

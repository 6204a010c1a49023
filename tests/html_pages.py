"""Reads a page of ours back, and checks that it needs nothing but itself."""

import html.parser
import re

VOID = {'meta', 'input', 'img', 'br', 'link'}
ADDRESSES = ('href', 'src', 'xlink:href', 'srcset', 'action', 'poster')


class Page(html.parser.HTMLParser):
  """The tags of a page, and the text of its rows.

  Attributes:
    tags: (name, attributes) in their order.
    rows: cells of every row of every table, as text.
  """

  def __init__(self, text: str):
    super().__init__()
    self.text, self.open, self.tags, self.rows = text, [], [], []
    self.scripts: dict[str, str] = {}
    self.feed(text)
    self.close()
    assert not self.open, f'never closed: {self.open}'

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    self.tags.append((tag, attributes))
    if tag == 'tr':
      self.rows.append([])
    if tag in ('td', 'th'):
      self.rows[-1].append('')
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self.open and self.open[-1] == tag, f'</{tag}> in {self.open}'
    self.open.pop()

  def handle_data(self, data):
    if 'td' in self.open or 'th' in self.open:
      self.rows[-1][-1] += data
    if self.open and self.open[-1] == 'script':
      name = self.tags[-1][1].get('id', '')
      self.scripts[name] = self.scripts.get(name, '') + data

  def all(self, tag: str) -> list[dict]:
    """Attributes of every `tag`."""
    return [attributes for name, attributes in self.tags if name == tag]

  def row(self, first: str) -> list[str]:
    """The cells of the first row that begins so."""
    return next(row for row in self.rows if row and row[0].startswith(first))

  def check(self, addresses: tuple[str, ...] = ('data:',)) -> None:
    """Nothing from elsewhere, no handlers in tags, every picture is named."""
    names = [a['id'] for _, a in self.tags if 'id' in a]
    assert len(names) == len(set(names))
    for tag, attributes in self.tags:
      assert tag not in ('link', 'iframe', 'object', 'base', 'embed')
      assert not any(name.startswith('on') for name in attributes)
      if tag == 'script':
        assert 'src' not in attributes
      for key in ADDRESSES:
        address = attributes.get(key)
        if address is None:
          continue
        if address.startswith('#'):
          assert address[1:] in names
        else:
          assert address.startswith(addresses), address[:60]
      if tag == 'img':
        assert attributes['alt']
    assert not re.search(r'(src|href|poster)\s*=\s*["\']?\s*https?:', self.text)
    assert not re.search(r'\b(fetch|XMLHttpRequest|WebSocket)\(', self.text)
    style = self.text.split('<style>')[1].split('</style>')[0]
    assert 'url(' not in style and '@import' not in style
    policies = [a['content'] for a in self.all('meta') if 'http-equiv' in a]
    assert len(policies) == 1 and "default-src 'none'" in policies[0]

"""Checks the links of README and its like, and of docs/.

  python scripts/check_links.py             # files and headings, no network
  python scripts/check_links.py --outside   # addresses elsewhere, too

Prints what leads nowhere and exits with 1 if anything does. A server that
refuses robots (401, 403, 429) proves nothing: its addresses are only printed.
"""

import argparse
import concurrent.futures
import functools
import pathlib
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = '*.md', 'docs/**/*.md', 'assets/*.md', 'colab/*.md'
TIMEOUT, TRIES, PAUSE = 20, 3, 5  # Seconds; a server may have a bad moment.
REFUSED = 401, 403, 429
AGENT = 'Mozilla/5.0 (compatible; mdcf_jax link check)'

_CODE = re.compile(r'^(```|~~~).*?^\1|`[^`\n]+`', re.M | re.S)
_LINK = re.compile(r'\]\(\s*<?([^()<>\s]+(?:\([^()\s]*\)[^()\s]*)?)>?')
_TAG = re.compile(r'<(?:a|img|source)[^>]*? (?:href|src(?:set)?)="([^"]+)"')
_AUTO = re.compile(r'<(https?://[^>\s]+)>')
_HEADING = re.compile(r'^#{1,6} +(.+?) *#*$', re.M)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--outside', action='store_true')
  args = parser.parse_args()
  problems = check_inside()
  if args.outside:
    problems += check_outside()
  for problem in problems:
    sys.stdout.write(f'{problem}\n')
  return bool(problems)


def pages(root: pathlib.Path = ROOT) -> list[pathlib.Path]:
  """Every page whose links are checked."""
  return sorted({path for pattern in PAGES for path in root.glob(pattern)})


def links(page: pathlib.Path) -> list[str]:
  """Targets of the links and pictures of a page, outside of its code."""
  text = _CODE.sub('', page.read_text(encoding='utf-8'))
  return [x for pattern in (_LINK, _TAG, _AUTO) for x in pattern.findall(text)]


@functools.cache
def anchors(page: pathlib.Path) -> frozenset[str]:
  """Anchors of the headings of a page, as repository hosts and the site
  make them."""
  text = re.sub(
    r'^(```|~~~).*?^\1', '', page.read_text('utf-8'), flags=re.M | re.S
  )
  found: dict[str, int] = {}
  for heading in _HEADING.findall(text):
    words = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading).lower()
    slug = re.sub(r'[^\w\- ]', '', words).replace(' ', '-')
    found[slug] = found.get(slug, 0) + 1
  # Those of the same words are numbered.
  numbered = (f'{slug}-{i}' for slug, n in found.items() for i in range(1, n))
  return frozenset([*found, *numbered])


def check_inside(root: pathlib.Path = ROOT) -> list[str]:
  """What links within the repository lead nowhere."""
  problems = []
  for page in pages(root):
    for link in links(page):
      if re.match(r'\w+:', link):
        continue
      path, _, anchor = link.partition('#')
      target = (page.parent / path).resolve() if path else page
      where = f'{page.relative_to(root)}: {link}'
      if not target.exists():
        problems.append(f'{where}: there is no such file')
      elif root.resolve() not in (target, *target.parents):
        problems.append(f'{where}: is not in the repository')
      elif anchor and target.suffix == '.md' and anchor not in anchors(target):
        problems.append(f'{where}: there is no such heading')
  return problems


def addresses(root: pathlib.Path = ROOT) -> Iterator[tuple[str, list[str]]]:
  """Every address elsewhere, and the pages that have it."""
  found: dict[str, list[str]] = {}
  for page in pages(root):
    for link in links(page):
      if link.startswith(('http://', 'https://')):
        url = link.partition('#')[0]
        found.setdefault(url, []).append(str(page.relative_to(root)))
  yield from sorted(found.items())


def check_outside(root: pathlib.Path = ROOT) -> list[str]:
  """What addresses elsewhere do not answer."""
  found = dict(addresses(root))
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(ask, found))
  problems = []
  for (url, where), answer in zip(found.items(), answers):
    if answer in REFUSED:
      sys.stdout.write(f'{url}: refuses ({answer}), look yourself\n')
    elif answer is not None:
      problems.append(f'{", ".join(sorted(set(where)))}: {url}: {answer}')
  return problems


def ask(url: str, tries: int = TRIES, pause: float = PAUSE) -> int | str | None:
  """None if the address answers; else the status or the reason."""
  answer: int | str | None = None
  for i in range(tries):
    time.sleep(pause * i)
    request = urllib.request.Request(url, headers={'User-Agent': AGENT})
    try:
      with urllib.request.urlopen(request, timeout=TIMEOUT):
        return None
    except urllib.error.HTTPError as error:
      answer = error.code
      if error.code in (*REFUSED, 404, 410):
        return answer
    except (OSError, ValueError) as error:
      answer = str(getattr(error, 'reason', error))
  return answer


if __name__ == '__main__':
  sys.exit(main())

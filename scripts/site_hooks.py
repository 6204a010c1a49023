"""What `mkdocs build` does for this repository, beside docs/ itself.

Pages of the root (README and its like) are pages of the site, so that nothing
is written twice; their links work on both. Links to files that are no pages
become plain text. A page that loads anything from elsewhere ends the build.
"""

import argparse
import os
import pathlib
import re

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from pymdownx.slugs import slugify

ROOT = pathlib.Path(__file__).resolve().parent.parent
# File of the repository -> page of the site.
PAGES = {
  'README.md': 'index.md',
  'MODEL_CARD.md': 'model-card.md',
  'SECURITY.md': 'security.md',
  'CONTRIBUTING.md': 'contributing.md',
  'CHANGELOG.md': 'changelog.md',
  'assets/README.md': 'demo-assets.md',
}
COMMANDS = '<!-- The site has the help of every command here. -->'

_LINK = re.compile(r'(?<!!)\[([^][]*)\]\(([^()\s]+)\)')
_SOURCE = re.compile(
  r'(!\[[^][]*\]\(|<(?:img|source)[^>]*? src(?:set)?=")([^)"\s]+)'
)
_FENCE = re.compile(r'(^```.*?^```|`[^`\n]+`)', re.M | re.S)
# Code in a row of a table, with a bar in it.
_ROW = re.compile(r'(?<=^\|)[^\n]*`[^`\n]*\\\|[^`\n]*`[^\n]*', re.M)
_LOADED = re.compile(
  r'<(?:script|img|source|iframe)[^>]*? src(?:set)?="?(?:https?:)?//[^>]*>'
  r'|<link[^>]*?rel="?(?:stylesheet|preconnect|icon|preload)"?[^>]*?'
  r'href="?(?:https?:)?//[^>]*>'
)


def on_config(config):
  """Anchors are those of the pages that show the repository itself."""
  config['mdx_configs']['toc']['slugify'] = slugify(case='lower')
  return config


def on_files(files, config):
  """Adds the pages that are not in docs/."""
  for source, page in PAGES.items():
    files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
  return files


def on_page_markdown(markdown, page, config, files):
  """Turns links between files into links between pages; fills in help."""
  if COMMANDS in markdown:
    markdown = markdown.replace(COMMANDS, describe_commands())
  sources = {page: source for source, page in PAGES.items()}
  name = page.file.src_uri
  source = sources.get(name, f'docs/{name}')

  def site_path(link):
    """The link from this page, or None if it leads out of the site."""
    path, _, anchor = link.partition('#')
    target = os.path.normpath(os.path.join(os.path.dirname(source), path))
    target = PAGES.get(target, target.removeprefix('docs/'))
    if files.get_file_from_path(target) is None:
      return None
    path = os.path.relpath(target, os.path.dirname(name) or '.')
    return f'{path}#{anchor}' if anchor else path

  def replace_link(match):
    text, link = match.groups()
    if link.startswith('#') or ':' in link:
      return match[0]
    path = site_path(link)
    if path is None and not (ROOT / os.path.dirname(source) / link).exists():
      return match[0]  # Broken; the strict build says so.
    return text if path is None else f'[{text}]({path})'

  def replace_source(match):
    return match[1] + (site_path(match[2]) or match[2])

  # Repository hosts want a bar escaped in the code of a table, the site not.
  markdown = _ROW.sub(lambda row: row[0].replace('\\|', '|'), markdown)
  parts = _FENCE.split(markdown)
  for i in range(0, len(parts), 2):  # Odd ones are code.
    parts[i] = _SOURCE.sub(replace_source, parts[i])
  # Text of links may have code in it.
  return _LINK.sub(replace_link, ''.join(parts))


def on_post_page(output, page, config):
  """Refuses what a reader without a network would miss."""
  found = _LOADED.search(output)
  if found:
    raise PluginError(f'{page.file.src_uri} loads {found[0]}')
  return output


def describe_commands() -> str:
  """The help of every command."""
  from mdcf_jax.cli import main

  lines = []
  for name, summary in main.COMMANDS.items():
    if not main._exists(name):
      continue
    lines += [f'## mdcf {name}', '', f'{summary[0].upper()}{summary[1:]}.', '']
    # `output` scrolls, `text` would be wrapped.
    lines += ['```output', _help(main._parser(name), name), '```', '']
  return '\n'.join(lines)


def _help(parser: argparse.ArgumentParser, name: str) -> str:
  os.environ['COLUMNS'] = '76'  # As wide as the page.
  (commands,) = (
    action
    for action in parser._actions
    if isinstance(action, argparse._SubParsersAction)
  )
  return commands.choices[name].format_help().strip()

"""Pages that are one file: no other file, nothing from the network."""

import os
import pathlib
import string

from mdcf_jax.errors import InputError
from mdcf_jax.pages.markup import escape

_STYLE = pathlib.Path(__file__).with_name('base.css')


def write(
  path: str | os.PathLike,
  template: pathlib.Path,
  *,
  title: str,
  body: str,
  **parts: str,
) -> None:
  """Writes a page; what was there is replaced when the new one is whole.

  Args:
    path: of the page.
    template: HTML with `$style`, `$title`, `$body` and the names of `parts`.
    title: text, not yet escaped.
    body: HTML.
    **parts: HTML or script.

  Raises:
    InputError: the page cannot be written.
  """
  page = string.Template(template.read_text(encoding='utf-8'))
  style = _STYLE.read_text(encoding='utf-8')
  text = page.substitute(style=style, title=escape(title), body=body, **parts)
  path = pathlib.Path(path)
  partial = path.with_name(path.name + '.partial')
  try:
    partial.write_text(text, encoding='utf-8')
    os.replace(partial, path)
  except OSError as error:
    raise InputError(f'{path}: cannot be written ({error})') from error

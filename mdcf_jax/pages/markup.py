"""Text, figures and pictures as they stand in a page."""

import base64
import html
import io
import math
import unicodedata
from typing import Any

from PIL import Image

NONE = '–'


def escape(value: Any) -> str:
  """Any value as text of a page.

  Names come from files, so they may hold what is no text: bytes of another
  encoding and control characters are shown with backslashes.
  """
  if isinstance(value, bytes):
    value = value.decode('utf-8', 'surrogateescape')
  text = str(value).encode('utf-8', 'backslashreplace').decode()
  control = {
    ord(c): ascii(c)[1:-1] for c in set(text) if unicodedata.category(c) == 'Cc'
  }
  return html.escape(text.translate(control))


def number(value: float, digits: int = 0) -> str:
  """A figure with thousands separated; NaN is a dash."""
  if not math.isfinite(value):
    return NONE
  text = f'{value:,.{digits}f}'
  if float(text.replace(',', '')) == 0:
    text = text.lstrip('-')
  return text.replace('-', '\N{MINUS SIGN}')


def signed(value: float) -> str:
  """A whole number, or one with a decimal, and its sign."""
  text = number(value, 0 if value == round(value, 0) else 1)
  return f'+{text}' if value > 0 else text


def minutes(seconds: float) -> str:
  """Minutes; less than one has two decimals."""
  return number(seconds / 60, 1 if seconds >= 60 or not seconds else 2)


def percent(part: float, whole: float) -> str:
  """A share; one that is not zero does not read so."""
  share = 100 * part / whole if whole else 0.0
  if 0 < share < 0.1:
    return 'under 0.1 %'
  return f'{number(share, 1 if share < 10 else 0)} %'


def plural(count: int, one: str, many: str | None = None) -> str:
  """'1 clip', '2,000 clips'."""
  return f'{number(count)} {one if count == 1 else many or one + "s"}'


def small_jpeg(
  data: bytes | None, side: int, quality: int = 80
) -> bytes | None:
  """A picture made small for the page.

  Args:
    data: an image file.
    side: pixels of the longer side; a smaller picture keeps its size.

  Returns:
    A JPEG file, or None where there is no picture that can be read.
  """
  if not data:
    return None
  try:
    with Image.open(io.BytesIO(data)) as image:
      image.draft('RGB', (side, side))
      picture = image.convert('RGB')
  except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
    return None
  picture.thumbnail((side, side), Image.Resampling.LANCZOS)
  buffer = io.BytesIO()
  picture.save(buffer, 'JPEG', quality=quality, optimize=True)
  return buffer.getvalue()


def picture_size(data: bytes) -> tuple[int, int] | None:
  """Width and height of an image file; None if it is not one."""
  try:
    with Image.open(io.BytesIO(data)) as image:
      return image.size
  except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
    return None


def data_uri(jpeg: bytes) -> str:
  """A JPEG file as an address that needs no file."""
  return 'data:image/jpeg;base64,' + base64.b64encode(jpeg).decode()

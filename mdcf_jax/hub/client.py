"""The library of the Hub: how it is asked, and its errors in one line."""

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

from mdcf_jax import network
from mdcf_jax.errors import InputError

_NO = ('', '0', 'no', 'off', 'false')


class Unreachable(InputError):
  """The Hub did not answer, or not as it does: it says nothing of the name."""


def library():
  """Returns `huggingface_hub`.

  Raises:
    InputError: it is not installed.
  """
  try:
    import huggingface_hub
  except ImportError as error:
    raise InputError(
      f"no huggingface_hub: pip install 'mdcf_jax[hub]' ({error})"
    ) from error
  return huggingface_hub


def is_offline() -> bool:
  """Whether `MDCF_OFFLINE` or the library's own `HF_HUB_OFFLINE` is set.

  Both are read now; the library reads its own when it is imported.
  """
  own = os.environ.get('HF_HUB_OFFLINE', '').strip().lower()
  return network.is_offline() or own not in _NO


def check(what: str) -> None:
  """Raises InputError where the network must not be used for `what`."""
  network.check(what)
  if is_offline():
    raise InputError(f'{what}: HF_HUB_OFFLINE is set, the network is not used')


def endpoint() -> str | None:
  """Address of the Hub; None is the usual one."""
  return os.environ.get('HF_ENDPOINT') or None


def cache_dir() -> str | None:
  """Folder that the library keeps files in; None is the usual one."""
  home = os.environ.get('HF_HOME')
  return os.environ.get('HF_HUB_CACHE') or (home and os.path.join(home, 'hub'))


def whoami() -> dict[str, str]:
  """Name and version of this package, as the library tells them to the Hub."""
  try:
    version = importlib.metadata.version('mdcf_jax')
  except importlib.metadata.PackageNotFoundError:
    version = 'checkout'
  return dict(library_name='mdcf_jax', library_version=version)


@contextlib.contextmanager
def asking(name: str, revision: str) -> Iterator[None]:
  """Turns whatever the library raises inside into one line about `name`.

  Raises:
    Unreachable: the Hub cannot be asked.
    InputError: what it answered.
  """
  try:
    yield
  except InputError:
    raise
  except Exception as error:
    text = _explain(error, name, revision)
    if text is not None:
      raise InputError(f'{name}: {text}') from error
    reason = f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
    # Of the libraries for HTTP, one has errors of its own.
    if isinstance(error, OSError) or type(error).__module__.startswith('httpx'):
      raise Unreachable(f'{name}: the Hub cannot be reached ({reason})') from (
        error
      )
    raise InputError(f'{name}: huggingface_hub failed ({reason})') from error


def _explain(error: Exception, name: str, revision: str) -> str | None:
  """What an answer of the Hub means; None where there is none."""
  from huggingface_hub import errors

  answers: list[tuple[Any, str]] = [
    (
      errors.GatedRepoError,
      'gated: accept its terms on its page of the Hub, and log in '
      '(hf auth login)',
    ),
    (
      errors.RepositoryNotFoundError,
      f'there is no folder {name}, and the Hub has no such repository, or it '
      'is private and you are not logged in (hf auth login)',
    ),
    (errors.RevisionNotFoundError, f'it has no revision {revision}'),
    (errors.HFValidationError, f'no name of the Hub ({error})'),
    (
      errors.LocalEntryNotFoundError,
      None,  # The library's word for a Hub that cannot be reached.
    ),
    (errors.EntryNotFoundError, 'no weights of mdcf_jax: it lacks files'),
  ]
  for kind, text in answers:
    if isinstance(error, kind):
      return text and ' '.join(text.split())
  response = getattr(error, 'response', None)
  status = getattr(response, 'status_code', None)
  if isinstance(error, errors.HfHubHTTPError) and status in (401, 403):
    return f'the Hub does not allow it ({status}); log in (hf auth login)'
  if isinstance(error, errors.HfHubHTTPError) and status and status < 500:
    return f'the Hub refuses ({status}: {" ".join(str(error).split())[:200]})'
  return None

"""Weights by name: those that come along, a folder, or a repository of the Hub.

As in other libraries a folder that exists comes first. Of a repository nothing
is fetched but `config.json`, the safetensors files of the phases that it names,
HuBERT's, and texts; the first alone tells whether it is a model of mdcf_jax.
Files lie in the Hub library's own cache, which its other users share.
"""

import dataclasses
import logging
import os
import pathlib
import re
from collections.abc import Iterable

from mdcf_jax import network, weights
from mdcf_jax.errors import InputError
from mdcf_jax.hub import client
from mdcf_jax.media import download

logger = logging.getLogger(__name__)

BUNDLED = {'mini': pathlib.Path(__file__).parent.parent / 'bundled'}
PHASES = 'fde', 'lmae', 'diffusion', 'pbnet'
TEXTS = ('README.md', 'MODEL_CARD.md', 'LICENSE', 'LICENSE.txt', 'LICENSE.md')
# Beside the files of phases, where weights were trained on its features.
EXTRA = ('hubert.safetensors',)
NAME = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*')
_COMMIT = re.compile('[0-9a-f]{40}')
_SHA256 = re.compile('[0-9a-f]{64}')


@dataclasses.dataclass(frozen=True)
class Found:
  """A folder of weights.

  Attributes:
    folder: of `weights.load`.
    origin: 'user/name@commit' where it is of the Hub, else ''.
  """

  folder: pathlib.Path
  origin: str = ''


def find_weights(name: str | os.PathLike, revision: str | None = None) -> Found:
  """Returns where weights of a name are; fetches those of the Hub.

  Args:
    name: 'mini'; a folder; 'user/name' or 'user/name@revision' of the Hub.
    revision: branch, tag or commit (40 hexadecimal digits) of a repository; by
      default 'main'. A commit that was fetched once asks the network no more.

  Raises:
    InputError: there are no such weights, they cannot be fetched, or a revision
      is given for what has none.
  """
  text = os.fspath(name)
  folder = BUNDLED.get(text, pathlib.Path(text))
  if folder.is_dir():
    if revision is not None:
      raise InputError(
        f'{name} is a folder: a revision is of a repository of the Hub'
      )
    return Found(folder)
  repo, _, written = text.partition('@')
  if not NAME.fullmatch(repo):
    raise InputError(
      f'{name}: no such weights; give a folder that `mdcf pack` made, '
      f'user/name of the Hugging Face Hub, or one of: {", ".join(BUNDLED)}'
    )
  if written and revision not in (None, written):
    raise InputError(f'{name}: another revision, {revision}, is given as well')
  return fetch(repo, revision or written or 'main')


def fetch(repo: str, revision: str = 'main') -> Found:
  """Returns the weights of a repository, from the cache where that will do.

  Args:
    repo: 'user/name'.
    revision: branch, tag, or commit. A branch or a tag is asked for every time;
      where the Hub cannot be reached, the commit that it was last is taken.

  Raises:
    InputError: no such repository or revision, gated, no weights of mdcf_jax,
      not reachable or offline and not in the cache, or a file that was fetched
      is not what the Hub has.
  """
  client.library()
  pinned = _COMMIT.fullmatch(revision) is not None
  cached = _cached(repo, revision)
  if client.is_offline():
    if cached is None:
      variable = network.OFFLINE if network.is_offline() else 'HF_HUB_OFFLINE'
      raise InputError(
        f'{repo}: {variable} is set, and revision {revision} is not in the '
        'cache'
      )
    return _found(repo, revision, cached)
  if cached is not None and pinned:
    return _found(repo, revision, cached)
  try:
    commit = revision if pinned else _resolve(repo, revision)
    if cached is not None and cached.name == commit:
      return _found(repo, revision, cached)
    return _found(repo, revision, _download(repo, commit, revision))
  except client.Unreachable as error:
    if cached is None:
      raise
    logger.warning('%s; %s of the cache is taken', error, revision)
    return _found(repo, revision, cached)


def phase_files(names: Iterable[str] = PHASES) -> list[str]:
  """Names of the files of phases; of names that are none there is no file."""
  return [f'{name}.safetensors' for name in PHASES if name in names]


def _found(repo: str, revision: str, folder: pathlib.Path) -> Found:
  """Checks the files of a commit's folder, and tells which commit it is."""
  _check_sums(repo, folder)
  commit = folder.name
  if revision != commit:
    logger.info('%s: %s is commit %s', repo, revision, commit)
  return Found(folder, f'{repo}@{commit}')


def _resolve(repo: str, revision: str) -> str:
  """Returns the commit that a branch or a tag is now."""
  api = _api(f'{repo} of the Hub')
  with client.asking(repo, revision):
    return str(api.model_info(repo, revision=revision, timeout=10).sha)


def _api(what: str):
  client.check(what)
  return client.library().HfApi(endpoint=client.endpoint(), **client.whoami())


def _download(repo: str, commit: str, revision: str) -> pathlib.Path:
  """Fetches what is lacking of a commit, config.json first."""
  api, where = _api(f'{repo} of the Hub'), dict(cache_dir=client.cache_dir())
  with client.asking(repo, revision):
    config = api.hf_hub_download(
      repo, weights.CONFIG_NAME, revision=commit, **where
    )
  folder = pathlib.Path(config).parent
  names = [*_needed(repo, folder), *EXTRA, *TEXTS]
  with client.asking(repo, revision):
    api.snapshot_download(repo, revision=commit, allow_patterns=names, **where)
    if revision != commit:
      # Also notes which commit the branch is, for when there is no network.
      api.hf_hub_download(repo, weights.CONFIG_NAME, revision=revision, **where)
  lacking = [name for name in _needed(repo, folder) if not _there(folder, name)]
  if lacking:
    raise InputError(f'{repo}: no weights of mdcf_jax: it lacks {lacking[0]}')
  return folder


def _needed(repo: str, folder: pathlib.Path) -> list[str]:
  """Names of the safetensors files that config.json speaks of.

  Raises:
    InputError: it is not one of mdcf_jax.
  """
  try:
    config = weights.load_config(folder)
  except InputError as error:
    raise InputError(f'{repo}: no weights of mdcf_jax: {error}') from error
  names = phase_files(config['phases'])
  if not names:
    raise InputError(f'{repo}: no weights of mdcf_jax: no phase is known')
  return names


def _cached(repo: str, revision: str) -> pathlib.Path | None:
  """The folder of a revision in the cache, if it is whole there."""
  hub = client.library()
  with client.asking(repo, revision):
    path = hub.try_to_load_from_cache(
      repo, weights.CONFIG_NAME, client.cache_dir(), revision
    )
  if not isinstance(path, str) or not os.path.isfile(path):
    return None
  folder = pathlib.Path(path).parent
  whole = all(_there(folder, name) for name in _needed(repo, folder))
  return folder if whole else None


def _there(folder: pathlib.Path, name: str) -> bool:
  return (folder / name).is_file()


def _check_sums(repo: str, folder: pathlib.Path) -> None:
  """Compares large files with the sha256 that the cache calls them by.

  A damaged one is removed, as to keep it would never end well.
  """
  for name in _needed(repo, folder):
    blob = (folder / name).resolve()
    if not _SHA256.fullmatch(blob.name):
      continue  # A copy, on a system without links.
    if download.file_sha256(blob) != blob.name:
      blob.unlink(missing_ok=True)
      raise InputError(
        f'{repo}: {name} was damaged on the way; it is removed, and fetched '
        'anew the next time'
      )

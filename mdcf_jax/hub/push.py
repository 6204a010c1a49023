"""A folder of weights becomes a repository of the Hub, in one commit."""

import os
import pathlib

from mdcf_jax import weights
from mdcf_jax.errors import InputError
from mdcf_jax.hub import client, fetch
from mdcf_jax.hub.card import write_card

CARD = 'README.md'


def push(
  folder: str | os.PathLike,
  repo: str,
  *,
  private: bool = True,
  branch: str = 'main',
  message: str = 'Weights of mdcf_jax',
) -> str:
  """Uploads config.json, the weights, a card, and texts of the folder.

  All in one commit, so a repository never has halves of two models; files of
  phases that these weights lack are removed. A README.md of the folder is the
  card; else one that is there already stays, and else one is made from
  config.json. HuBERT is not ours and stays here.

  Args:
    folder: of `mdcf pack` or `Pipeline.save_pretrained`.
    repo: 'user/name'; made when absent.
    private: whether others see it, where it is new. An old one stays as it is.
    branch: made when absent.
    message: of the commit.

  Returns:
    'user/name@commit'.

  Raises:
    InputError: no such folder, a file of it is damaged, or the Hub refuses.
  """
  if not fetch.NAME.fullmatch(repo):
    raise InputError(f'{repo!r} is no name of the Hub: user/name')
  files = _files(pathlib.Path(folder))
  config = weights.load_config(folder)
  what = f'upload to {repo}'
  client.check(what)
  hub = client.library()
  api = hub.HfApi(endpoint=client.endpoint(), **client.whoami())
  with client.asking(what, branch):
    api.create_repo(repo, private=private, exist_ok=True)
    if branch != 'main':
      api.create_branch(repo, branch=branch, exist_ok=True)
    there = set(api.list_repo_files(repo, revision=branch))
    if CARD not in files and CARD not in there:
      files[CARD] = write_card(config, repo).encode()
    stale = [name for name in fetch.phase_files() if name in there - set(files)]
    commit = api.create_commit(
      repo,
      [
        *(hub.CommitOperationAdd(name, of) for name, of in files.items()),
        *(hub.CommitOperationDelete(name) for name in stale),
      ],
      commit_message=message,
      revision=branch,
    )
  return f'{repo}@{commit.oid}'


def _files(folder: pathlib.Path) -> dict[str, str | bytes]:
  """Name in the repository -> file; all have been looked into.

  Raises:
    InputError: one is missing or damaged.
  """
  config = weights.load_config(folder)
  files: dict[str, str | bytes] = {}
  for name in fetch.phase_files(config['phases']):
    weights.load(folder, pathlib.Path(name).stem)  # Or an error.
    files[name] = str(folder / name)
  for name in (weights.CONFIG_NAME, *fetch.TEXTS):
    if (folder / name).is_file():
      files[name] = str(folder / name)
  return files

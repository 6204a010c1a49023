"""A finding of the doctor, and what of it nobody else needs to know."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator

# An essential check that failed means: it cannot generate.
OK, FAILED, LACKING, PLAIN = 'ok', 'failed', 'lacking', ''


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line.

  Attributes:
    section: what it is about, one word.
    name: of what was looked at.
    state: 'ok'; 'failed', without which nothing is generated; 'lacking', which
      something else needs; '' for what is only told.
    text: the rest, without secrets and without the name of the home folder.
  """

  section: str
  name: str
  state: str
  text: str


class Findings(list[Finding]):
  """Findings of one section after the other; a check that fails is one."""

  def add(
    self, section: str, name: str, state: str = PLAIN, text: str = ''
  ) -> None:
    """Notes a finding."""
    self.append(Finding(section, name, state, private(text)))

  @contextlib.contextmanager
  def checking(
    self, section: str, name: str, otherwise: str = FAILED
  ) -> Iterator[None]:
    """Whatever is raised inside becomes a finding; the next check goes on."""
    try:
      yield
    except Exception as error:
      self.add(section, name, otherwise, words(error))

  def check(
    self, section: str, name: str, look: Callable[[], str], otherwise=FAILED
  ) -> None:
    """Notes what `look` returns as 'ok', or why it failed."""
    with self.checking(section, name, otherwise):
      self.add(section, name, OK, look())

  @property
  def healthy(self) -> bool:
    """Whether nothing failed that generation needs."""
    return all(finding.state != FAILED for finding in self)


def words(error: BaseException) -> str:
  """An error in one line: of this package its text, of others its kind too."""
  text = ' '.join(str(error).split())[:200]
  if type(error).__module__.startswith('mdcf_jax.'):
    return text
  return f'{type(error).__name__}: {text}'


def private(text: str) -> str:
  """One line, without the home folder, the user's name and passwords."""
  text = ' '.join(text.split())
  home = os.path.expanduser('~')
  if len(home) > 1:
    text = re.sub(re.escape(home) + r'(?![\w.-])', '~', text)
  text = re.sub(r'//[^/@\s]*@', '//', text)
  user = os.environ.get('USER', '')
  if user and user != 'root':
    text = re.sub(rf'(?<=/){re.escape(user)}(?=/|\s|$)', 'USER', text)
  return text

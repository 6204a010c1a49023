"""The one gate before every access to the network.

The package goes to the network in a few places, each of which the user asked
for: `mdcf download`, weights by a name of the Hub, `mdcf push`. All of them ask
here first; a test reads the sources for others. What FFmpeg or C2PA could fetch
is switched off where they are called. Hosts of one training run, which talk to
one another, and a page that this machine serves to itself are no such accesses.
"""

import os

from mdcf_jax.errors import InputError

OFFLINE = 'MDCF_OFFLINE'
_NO = ('', '0', 'no', 'off', 'false')


def is_offline() -> bool:
  """Whether `MDCF_OFFLINE` is set, to anything but 0, no, off or false."""
  return os.environ.get(OFFLINE, '').strip().lower() not in _NO


def check(what: str) -> None:
  """To be called before anything is fetched or sent.

  Args:
    what: would be done, for the message.

  Raises:
    InputError: `MDCF_OFFLINE` is set.
  """
  if is_offline():
    raise InputError(f'{what}: {OFFLINE} is set, the network is not used')

"""All that the doctor looks at, one after the other."""

import os
from collections.abc import Callable, Mapping

from mdcf_jax.doctor import machine, parts, trial
from mdcf_jax.doctor.findings import Findings


def examine(
  test: bool = True, variables: Mapping[str, str] | None = None
) -> Findings:
  """Looks at everything; whatever fails is a finding and stops nothing.

  Args:
    test: whether to generate a short video with the bundled weights.
    variables: of the environment, before libraries added theirs.

  Returns:
    findings in the order in which they are told.
  """
  from mdcf_jax.media.download import cache_dir

  found = Findings()
  variables = os.environ if variables is None else variables
  looks: list[tuple[str, Callable[[Findings], None]]] = [
    ('versions', machine.versions),
    ('devices', machine.devices),
    ('memory', lambda found: machine.memory(found, cache_dir())),
    ('codecs', parts.codecs),
    ('extras', machine.extras),
    ('weights', parts.bundled),
    ('weights', parts.face_model),
    ('weights', parts.networks),
    ('environment', lambda found: machine.environment(found, variables)),
  ]
  if test:
    looks.append(('self-test', trial.try_everything))
  for section, look in looks:
    with found.checking(section, 'doctor'):
      look(found)
  return found

"""The four phases of training, in their order."""

import importlib

_CLASSES = {
  'fde': 'FDEPhase',
  'lmae': 'LMAEPhase',
  'diffusion': 'DiffusionPhase',
  'pbnet': 'PBNetPhase',
}


class _Phases(dict):
  """Imports a phase when it is asked for."""

  def __missing__(self, name: str):
    module = importlib.import_module(f'mdcf_jax.phases.{name}')
    self[name] = getattr(module, _CLASSES[name])
    return self[name]


PHASES = _Phases()

"""The four phases of training, in their order."""

from mdcf_jax.phases.diffusion import DiffusionPhase
from mdcf_jax.phases.fde import FDEPhase
from mdcf_jax.phases.lmae import LMAEPhase
from mdcf_jax.phases.pbnet import PBNetPhase

PHASES = {
  phase.name: phase
  for phase in (FDEPhase, LMAEPhase, DiffusionPhase, PBNetPhase)
}

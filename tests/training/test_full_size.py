"""The paper's sizes, without a number being computed: shapes and programs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdcf_jax import sharding
from mdcf_jax.training import checks
from mdcf_jax.training.optimizer import create_optimizer
from mdcf_jax.training.state import TrainState
from mdcf_jax.training.step import make_train_step
from tests import phase_inputs

# FDE: the reference's LFG at its own widths. What the paper leaves open is
# ours: the LMAE, the stem and the encoder of sound beside the public U-Net, and
# PBNet with its encoder of sound.
PARAMETERS = dict(
  fde=66_004_557, lmae=21_457_675, diffusion=48_349_284, pbnet=2_177_364
)
# With latents of H/16 the LMAE has one level less, and so has the stem.
PARAMETERS_D16 = PARAMETERS | dict(lmae=14_371_595, diffusion=47_102_308)

# Products that stay float32 beside bfloat16: what ends in coordinates, logits
# or a prediction.
FLOAT32 = {
  *('regions', 'mask', 'occlusion', 'fc'),  # Motion of the FDE.
  *('conv_out', 'head_0_out'),  # Of the LMAE and the U-Net.
  *('to_mean', 'to_logvar', 'to_delta', 'event_logit', 'PBNet._pool'),
}
FULL = (jax.lax.Precision.HIGHEST,) * 2
# Scores of attention are float32, and so is their gradient.
SCORES = {
  *('bnqphd,bnkphd->bnphqk', 'nqhd,nkhd->nhqk'),  # U-Net.
  *('bqc,bkc->bqk', 'bqhd,bkhd->bhqk'),  # LMAE, PBNet.
}


def trace_step(phase_name, variant):
  """The program of a train step, parameters, and what goes in and comes out."""
  config = phase_inputs.get_config(phase_name, variant)
  config.dtype, config.remat = 'bfloat16', 'blocks'
  phase, (params, model_state, frozen, batch) = phase_inputs.abstract_inputs(
    config
  )
  tx = create_optimizer(config)
  mesh = sharding.create_mesh(devices=jax.devices()[:1])
  state = jax.eval_shape(
    lambda x: TrainState.create(x, tx), {'params': params, **model_state}
  )
  step = make_train_step(
    phase,
    tx,
    config.ema_decay,
    sharding.state_sharding(mesh, state),
    sharding.batch_sharding(mesh, batch),
  )
  jaxpr, (after, metrics) = jax.make_jaxpr(step, return_shape=True)(
    state, frozen, batch, phase_inputs.RNG
  )
  return jaxpr, state, after, metrics


def products(jaxpr, path=''):
  """(names around it, dtypes, multiplications, precision) of each."""
  for eqn in jaxpr.eqns:
    here = f'{path}/{eqn.source_info.name_stack}'
    if eqn.primitive.name in ('conv_general_dilated', 'dot_general'):
      left, right = (x.aval for x in eqn.invars)
      if eqn.primitive.name == 'dot_general':
        (axes, _), _ = eqn.params['dimension_numbers']
        terms = int(np.prod([left.shape[i] for i in axes]))
      else:
        features = eqn.params['dimension_numbers'].rhs_spec[0]
        terms = right.size // right.shape[features]
      dtypes = {left.dtype, right.dtype}
      count = eqn.outvars[0].aval.size * terms
      yield here, dtypes, count, eqn.params['precision']
    for value in eqn.params.values():
      for inner in value if isinstance(value, (tuple, list)) else (value,):
        inner = getattr(inner, 'jaxpr', inner)
        if hasattr(inner, 'eqns'):
          yield from products(inner, here)


def check_shapes(state, after, metrics, expected):
  """Nothing changes its shape or type in a step, and all of it is float32."""
  signature = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert signature(state) == signature(after)
  arrays = (after.params, after.ema_params, after.model_state, metrics)
  moments = [x for x in jax.tree.leaves(after.opt_state) if x.ndim]
  for x in jax.tree.leaves((arrays, moments)):
    assert x.dtype == jnp.float32
  assert all(x.shape == () for x in metrics.values())
  assert sum(x.size for x in jax.tree.leaves(after.params)) == expected


@pytest.mark.parametrize('name', PARAMETERS)
def test_steps_of_the_paper_s_size(name):
  """At 256; what they multiply is bfloat16 but for what is named above."""
  jaxpr, *shapes = trace_step(name, 'base,256')
  check_shapes(*shapes, PARAMETERS[name])
  total, wide = 0, 0
  for path, dtypes, count, precision in products(jaxpr):
    total += count
    if jnp.dtype('float32') not in dtypes:
      continue
    wide += count
    names = set(re.split(r'[/()]', path))
    # Coordinates and their resizing ask for all the bits of float32.
    assert names & (FLOAT32 | SCORES) or precision == FULL, path
  # PBNet's scores are a larger part of it; else heads and resizing.
  assert wide < (0.07 if name == 'pbnet' else 0.015) * total


VARIANTS = {
  ('fde', '512'): PARAMETERS['fde'],
  ('fde', 'd8'): 89_609_037,
  ('lmae', 'd8'): PARAMETERS_D16['lmae'],
  ('lmae', 'd16'): PARAMETERS_D16['lmae'],
  ('lmae', 'no_igc'): PARAMETERS['lmae'],
  ('lmae', 'no_tpc'): PARAMETERS['fde'] + PARAMETERS['lmae'],
  ('lmae', 'vae'): 94_561_803,
  # Latents of 4 x 4: the U-Net leaves out its upper level.
  ('diffusion', '128'): 47_036_388,
  ('diffusion', '512'): PARAMETERS['diffusion'],
  ('diffusion', 'd8'): 47_167_844,
  ('diffusion', 'stage1'): PARAMETERS['diffusion'],
  ('diffusion', 'stage2'): PARAMETERS['diffusion'],
  ('diffusion', 'dawn,identity,128'): 44_098_467,
  ('pbnet', '512'): PARAMETERS['pbnet'],
}


@pytest.mark.parametrize('name,variant', VARIANTS)
def test_variants_of_the_paper_s_size(name, variant):
  config = phase_inputs.get_config(name, variant)
  phase = checks.make_phase(config)
  shapes = phase_inputs.batch_shapes(config)
  params = jax.eval_shape(phase.init, phase_inputs.RNG, shapes)['params']
  found = sum(x.size for x in jax.tree.leaves(params))
  assert found == VARIANTS[name, variant]


@pytest.mark.slow
@pytest.mark.parametrize(
  'name,variant,expected',
  [
    ('fde', 'base,128', PARAMETERS),
    ('lmae', 'base,128', PARAMETERS),
    # With all levels of the U-Net, whose latents must be H/16 for it.
    ('diffusion', 'base,128,d16', PARAMETERS_D16),
    *((name, 'base,512', PARAMETERS) for name in ('fde', 'lmae', 'diffusion')),
  ],
)
def test_steps_of_other_resolutions(name, variant, expected):
  _, *shapes = trace_step(name, variant)
  check_shapes(*shapes, expected[name])

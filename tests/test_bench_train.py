"""bench/train.py and bench/scaling.py print what they say."""

import argparse
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from bench import programs, scaling, train
from mdcf_jax import sharding

ROW = dict(
  phase='pbnet',
  variant='tiny',
  topology='cpu:8',
  frames=1,
  batch=1,
  dtype='',
  remat='',
)


def test_a_program_that_cannot_be_read_has_its_memory():
  class Unread:
    def __init__(self, compiled):
      self.memory_analysis = compiled.memory_analysis
      self.cost_analysis = compiled.cost_analysis

    def as_text(self):
      raise jax.errors.JaxRuntimeError('INTERNAL: an instruction of tomorrow')

  compiled = jax.jit(lambda x: x + 1).lower(jnp.ones(8)).compile()
  found = scaling.describe(Unread(compiled))
  assert found == scaling.describe(compiled) | dict(collectives=None)
  assert scaling._moved(None) == 'not read' and scaling._moved({}) == 'none'


def _collectives(function, *specs, out):
  """Bytes of what `function` of `[64, 16]` float32 sends on eight devices."""
  mesh = sharding.create_mesh()
  named = [jax.NamedSharding(mesh, spec) for spec in (*specs, out)]
  program = jax.jit(
    function, in_shardings=tuple(named[:-1]), out_shardings=named[-1]
  )
  shapes = [jax.ShapeDtypeStruct((64, 16), jnp.float32)] * len(specs)
  return scaling.collective_bytes(program.lower(*shapes).compile().as_text())


def test_an_all_reduce_counts_its_result():
  found = _collectives(lambda x: jnp.sum(x, 0), P('data'), out=P())
  assert found == {'all-reduce': 16 * 4}


def test_an_all_gather_counts_its_result():
  found = _collectives(lambda x: 2 * x, P('data'), out=P())
  assert found == {'all-gather': 64 * 16 * 4}


def test_no_communication_is_found_where_there_is_none():
  assert _collectives(lambda x: 2 * x, P('data'), out=P('data')) == {}


def test_what_is_in_a_loop_counts_each_time():
  def function(x, y):
    def step(total, _):
      # Depends on the loop's state, so it cannot be moved out of it.
      return total + x.T @ (y * total[0, 0]), None

    return jax.lax.scan(step, jnp.ones((16, 16)), length=5)[0]

  found = _collectives(function, P('data'), P('data'), out=P())
  assert found == {'all-reduce': 5 * 16 * 16 * 4}


def test_of_an_asynchronous_pair_the_end_counts():
  text = """HloModule m

%wrapped (p: bf16[8,4]) -> bf16[8,4] {
  %p = bf16[8,4]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %r = bf16[8,4]{1,0:T(8,128)(2,1)} all-reduce(%p), to_apply=%add
}

ENTRY %main (x: bf16[8,4]) -> bf16[64,4] {
  %x = bf16[8,4]{1,0:T(8,128)(2,1)} parameter(0)
  %f = bf16[8,4]{1,0} fusion(%x), kind=kCustom, calls=%wrapped
  %s = (bf16[8,4]{1,0}, bf16[64,4]{1,0}) all-gather-start(%f), dimensions={0}
  ROOT %d = bf16[64,4]{1,0} all-gather-done(%s)
}
"""
  found = scaling.collective_bytes(text)
  assert found == {'all-reduce': 8 * 4 * 2, 'all-gather': 64 * 4 * 2}


@pytest.mark.slow
def test_a_row_is_complete():
  found = scaling.measure(**ROW, fsdp=1)
  assert found['devices'] == 8
  assert found['collectives']['all-reduce'] >= found['params']
  assert 0 < found['flop'] < found['compiler_flop']  # It has no loop.
  # The arguments of the program are what was said to lie on a device.
  parts = ('params', 'average', 'optimizer', 'frozen', 'inputs')
  # The counter of steps, the key and padding are all that is left out.
  assert abs(found['argument'] - sum(found[p] for p in parts)) < 4096
  lines = scaling.table([found | ROW | {'fsdp': 1}]).splitlines()
  assert len(lines) == 3
  assert lines[0].count('|') == lines[1].count('|') == lines[2].count('|')


def test_fsdp_holds_less_on_a_device():
  """All but small arrays are split; nothing is compiled for that."""
  config = programs.load_config('pbnet', 'mini', batch=8)
  whole, split = (
    programs.train_program(config, 'mini', sharding.create_mesh(fsdp))[1][0]
    for fsdp in (1, 8)
  )
  for name in ('params', 'ema_params', 'opt_state'):
    before, after = (
      programs.device_bytes(getattr(state, name)) for state in (whole, split)
    )
    assert before / 8 <= after < before / 2


def test_a_mesh_that_cannot_be_is_said():
  assert 'no mesh of 3 x 1' in scaling.measure(**ROW, fsdp=3)['error']


@pytest.mark.parametrize(
  'phase, variant', [('fde', 'base,512'), ('diffusion', 'base,stage2')]
)
def test_no_run_is_needed_to_start_from(phase, variant):
  config = programs.load_config(phase, variant)
  assert config.init_from.weights  # Of this phase at another size or stage.
  args = argparse.Namespace(
    **dict(phase=phase, variant=variant, resolution=0, batch=0, dtype=''),
    **dict(remat='', mesh='', data='', weights='', vgg19=''),
  )
  assert not train.make_config(args).init_from.weights


@pytest.mark.slow
@pytest.mark.parametrize('phase', ['fde', 'diffusion'])
def test_training_is_measured(repository, phase):
  command = [sys.executable, repository / 'bench' / 'train.py', '--json']
  flags = ['--phase', phase, '--variant', 'tiny', '--batch', '8']
  done = subprocess.run(
    [*command, *flags, '--steps', '2', '--warmup', '1', '--mesh', 'fsdp=2'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found['loss'] == found['loss']  # Not NaN: the weights are of use.
  assert 0 < found['quartiles_s'][0] <= found['median_s']
  assert found['median_s'] <= found['quartiles_s'][1]
  assert found['flop'] > 0 and found['mfu'] > 0
  # The encoding of frames is a loop of the diffusion's, which the compiler
  # takes to run once; it counts sums and activations, as we do not.
  more = found['compiler_flop'] - found['flop']
  assert more < 0 if phase == 'diffusion' else more > 0
  assert 0 <= found['data_wait'] <= 1
  assert found['memory']['temporaries'] > 0
  assert found['frozen'] == 'random'


@pytest.mark.slow
def test_a_mesh_misspelt_is_an_error(repository):
  done = subprocess.run(
    [
      *(sys.executable, repository / 'bench' / 'train.py'),
      *('--variant', 'tiny', '--mesh', 'fspd=2'),
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert "--mesh 'fspd=2'" in done.stderr.splitlines()[-1]

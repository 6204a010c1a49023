"""Small runs of the paper's rows, for bench/ablation.py and robustness.py.

A run lies in `<workdir>/<row>-<seed>`: its averaged weights and `result.json`.
One that is there is not trained again; one that was stopped starts anew.
"""

import argparse
import dataclasses
import importlib
import json
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import numpy as np  # noqa: E402

from mdcf_jax import sharding, weights  # noqa: E402
from mdcf_jax.data import pipeline  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.training import checks, optimizer  # noqa: E402
from mdcf_jax.training import step as steps  # noqa: E402
from mdcf_jax.training.run import numeric  # noqa: E402
from mdcf_jax.training.state import TrainState  # noqa: E402

# The paper's weights, whatever the size's config says; the L1 of pixels stands
# beside its perceptual distance, whose features are untrained here.
_LMAE_LOSS = dict(kl_weight=1e-4, mse_weight=1.0, igc_weight=1.0, l1_weight=5.0)
_LOSS = dict(mouth_weight=4.0, window=0, teacher_forcing=False)  # Of all rows.
_SETTINGS = ('size', 'resolution', 'steps', 'batch_size', 'data', 'vgg19')


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of a table.

  Attributes:
    title: as it is printed.
    file: configs/<file>.py.
    variant: ablation of it.
    ratio: numbers in a picture per number in what it is compressed to.
    runs: how many times `--steps` it is trained for.
    loss: changes of the loss's weights.
  """

  title: str
  file: str
  variant: str
  ratio: int
  runs: int = 1
  loss: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @property
  def needs_fde(self) -> bool:
    """Whether it is trained on top of the row 'fde' of the same seed."""
    return self.file == 'lmae' and self.runs == 1


ROWS = {
  'fde': Row('FDE (d/4)', 'fde', '', 16),
  'd8': Row('FDE (d/8)', 'fde', 'd8', 64),
  'vae': Row('VAE (d/32)', 'lmae', 'vae', 768, runs=2),
  'd16': Row('MDCF (d/16)', 'lmae', 'd16', 192),
  'mdcf': Row('MDCF (d/32)', 'lmae', '', 768),
  'no_igc': Row('w/o IGC', 'lmae', 'no_igc', 768),
  'no_tpc': Row('w/o TPC', 'lmae', 'no_tpc', 768, runs=2),
  'kl_0': Row('KL 0', 'lmae', '', 768, loss=dict(kl_weight=0.0)),
  'kl_1e-2': Row('KL 1e-2', 'lmae', '', 768, loss=dict(kl_weight=1e-2)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options that decide what is trained."""
  add = parser.add_argument
  add('--size', default='tiny', choices=('tiny', 'mini'))
  add('--resolution', type=int, default=64, help='of both; mini takes 256')
  add('--steps', type=int, default=500, help='of each phase')
  add('--seeds', type=int, default=3)
  add('--batch_size', type=int, default=8)
  add('--data', default='', help='prepared dataset; synthetic heads if absent')
  add('--vgg19', default='', help='its weights; untrained features if absent')
  add('--workdir', required=True, help='folder of the runs')
  add('--json', default='', help='file for the numbers')


def check_workdir(args: argparse.Namespace) -> None:
  """Keeps runs of other settings apart.

  Raises:
    InputError: the folder has such runs, or a config cannot be.
  """
  folder = pathlib.Path(args.workdir)
  folder.mkdir(parents=True, exist_ok=True)
  path, wanted = folder / 'settings.json', {k: vars(args)[k] for k in _SETTINGS}
  if path.is_file():
    found = json.loads(path.read_text())
    changed = [k for k in _SETTINGS if found[k] != wanted[k]]
    if changed:
      raise InputError(
        f'{folder} has runs with --{changed[0]}={found[changed[0]]}, not '
        f'{wanted[changed[0]]}; give another --workdir'
      )
  path.write_text(json.dumps(wanted, indent=2))
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update('jax_compilation_cache_dir', str(folder / 'programs'))


def make_config(args: argparse.Namespace, row: Row) -> Any:
  """Returns the config of a row: equal data, optimizer and steps for all."""
  module = importlib.import_module(f'configs.{row.file}')
  parts = [args.size, str(args.resolution), row.variant]
  config = module.get_config(','.join(filter(None, parts)))
  changes = dict(_LOSS)
  if row.file == 'lmae' and row.variant != 'vae':
    changes |= _LMAE_LOSS
  if row.variant == 'no_igc':
    changes |= dict(igc_weight=0.0, l1_weight=0.0)
  changes |= row.loss
  known = {k: v for k, v in changes.items() if k in config.loss}
  config.loss.update(known)
  if args.vgg19:
    config.perceptual, config.perceptual_weights = 'vgg19', args.vgg19
  config.dtype = 'float32'
  config.batch_size, config.total_steps = args.batch_size, args.steps * row.runs
  config.ema_decay = 0.99
  config.optimizer.update(
    learning_rate=1e-3, b1=0.9, schedule='constant', warmup_steps=20
  )
  config.data.update(dir=args.data, resize=True, min_zoom=0.8, num_threads=1)
  checks.check_config(config)
  return config


def batches(
  config: Any, split: str, *, seed: int
) -> Iterator[dict[str, np.ndarray]]:
  """Returns an endless stream of batches, without the names of clips."""
  return map(numeric, pipeline.create_dataset(config, split, seed=seed))


class Trainer:
  """Trains and evaluates one row on one device; compiles once for all seeds.

  Attributes:
    config: of `make_config`.
    phase: of the config.
    init: jitted `(rng, batch) -> state`.
    step: of `make_train_step`.
  """

  def __init__(self, config: Any):
    self.config = config
    self.phase = checks.make_phase(config)
    tx = optimizer.create_optimizer(config)

    def init(rng, batch):
      return TrainState.create(self.phase.init(rng, batch), tx)

    batch = next(batches(config, 'train', seed=0))
    state = jax.eval_shape(init, jax.random.key(0), batch)
    mesh = sharding.create_mesh(devices=jax.devices()[:1])
    self.init = jax.jit(
      init, compiler_options={'xla_backend_optimization_level': 0}
    )
    self.step = steps.make_train_step(
      *(self.phase, tx, config.ema_decay),
      sharding.state_sharding(mesh, state),
      sharding.batch_sharding(mesh, batch),
    )
    self._predict = jax.jit(self.phase.predict)

  def train(
    self, seed: int, frozen: Mapping[str, Any]
  ) -> tuple[dict[str, Any], float]:
    """Trains from scratch.

    Args:
      seed: of parameters, noise and the order of samples.
      frozen: variables of earlier phases.

    Returns:
      (variables, averaged; processor seconds of a step, the median: of all
      threads, those that read ahead too. Other programs change them less.)
    """
    stream = batches(self.config, 'train', seed=seed)
    rng, batch, times = jax.random.key(seed), next(stream), []
    state = self.init(rng, batch)
    for _ in range(self.config.total_steps):
      began = time.process_time()
      state, metrics = self.step(state, frozen, batch, rng)
      loss = float(metrics['loss'])
      times.append(time.process_time() - began)
      if not np.isfinite(loss):
        raise FloatingPointError(f'{self.config.phase}: the loss is {loss}')
      batch = next(stream)
    variables = {'params': state.ema_params, **state.model_state}
    return jax.device_get(variables), float(np.median(times))

  def predict(self, variables, frozen, batch, index: int) -> np.ndarray:
    """Pictures `[B, H, W, 3]` in [-1, 1] of the driving frames."""
    state = {k: v for k, v in variables.items() if k != 'params'}
    rng = jax.random.key(index)
    outputs = self._predict(variables['params'], state, frozen, batch, rng)
    return np.asarray(outputs['prediction'])


class Runs:
  """The runs of a workdir, trained where they are not there yet.

  Attributes:
    vgg19: `{'vgg19': its variables}`; empty where there are none.
  """

  def __init__(self, args: argparse.Namespace):
    check_workdir(args)
    self._args = args
    self._folder = pathlib.Path(args.workdir)
    self._trainers: dict[str, Trainer] = {}
    self.vgg19 = {}
    if args.vgg19:
      path = pathlib.Path(args.vgg19)
      self.vgg19 = {'vgg19': weights.load(path.parent, path.stem)}

  def trainer(self, name: str) -> Trainer:
    """Returns what trains a row."""
    if name not in self._trainers:
      self._trainers[name] = Trainer(make_config(self._args, ROWS[name]))
    return self._trainers[name]

  def variables(self, name: str, seed: int) -> dict[str, Any]:
    """Returns the averaged weights of a row, trained now if need be."""
    folder = self._folder / f'{name}-{seed}'
    phase = self.trainer(name).config.phase
    if not (folder / 'result.json').is_file():
      frozen = self.frozen(name, seed)
      began = time.process_time()
      found, seconds = self.trainer(name).train(seed, frozen)
      weights.save(folder, phase, found, 'float32')
      result = dict(
        seconds_per_step=seconds,
        steps=self.trainer(name).config.total_steps,
        parameters=count(found['params'], frozen.get('fde', {})),
      )
      # Last: with it the run is there.
      (folder / 'result.json').write_text(json.dumps(result))
      took = time.process_time() - began
      print(f'{name}, seed {seed}: {took:.0f} s', file=sys.stderr, flush=True)
    return weights.load(folder, phase)

  def result(self, name: str, seed: int) -> dict[str, float]:
    """Returns what is known of a trained run."""
    path = self._folder / f'{name}-{seed}' / 'result.json'
    return json.loads(path.read_text())

  def frozen(self, name: str, seed: int) -> dict[str, Any]:
    """Returns what a row is trained on top of."""
    if not ROWS[name].needs_fde:
      return self.vgg19
    found = dict(self.variables('fde', seed))
    return {
      **self.vgg19,
      'fde': {'params': found.pop('params'), 'model_state': found},
    }


def count(params: Any, fde: Mapping[str, Any]) -> int:
  """Parameters of a row with those of the FDE below it."""
  trees = params, fde.get('params', {})
  return sum(x.size for x in jax.tree.leaves(trees))


def summary(values: Iterable[float]) -> dict[str, Any]:
  """Mean and spread over seeds; the spread is the standard deviation."""
  values = [float(x) for x in values]
  spread = float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')
  return dict(mean=float(np.mean(values)), std=spread, values=values)


def show(found: Mapping[str, Any], digits: int) -> str:
  """Mean and spread as a cell of a table."""
  return f'{found["mean"]:.{digits}f} ± {found["std"]:.{digits}f}'


def print_table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> None:
  """Prints markdown."""
  header = list(header)
  for line in (header, ['---'] * len(header), *lines):
    print(f'| {" | ".join(line)} |', flush=True)

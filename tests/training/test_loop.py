"""Training as a whole: interrupted equals uninterrupted, signals, watching."""

import functools
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from mdcf_jax import sharding, weights
from mdcf_jax.data import pipeline
from mdcf_jax.errors import InputError
from mdcf_jax.phases import PHASES
from mdcf_jax.training import checkpoint, loop, stopping
from mdcf_jax.training import run as running


def assert_identical(a, b):
  """Bit for bit, in every array of two trees."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


def train(config, workdir, **changes):
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  return loop.train(config, workdir)


def test_interrupted_equals_uninterrupted(toy_config, tmp_path):
  whole = train(toy_config, tmp_path / 'a')
  train(toy_config, tmp_path / 'b', total_steps=7)
  resumed = train(toy_config, tmp_path / 'b')
  assert_identical(whole, resumed)


def test_resumes_from_the_last_checkpoint_after_a_kill(toy_config, tmp_path):
  """Steps since the checkpoint are repeated, not skipped."""
  whole = train(toy_config, tmp_path / 'a')

  class Killed(BaseException):
    pass

  def killed_stream(config, split, **_):
    stream = pipeline_stream(config, split)
    original = type(stream).__next__

    class Stream(type(stream)):
      def __next__(self):
        if self.split == 'train' and self.index == 8:
          raise Killed
        return original(self)

    return Stream(config, split)

  pipeline_stream = pipeline.create_dataset
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pipeline, 'create_dataset', killed_stream)
    with pytest.raises(Killed):
      train(toy_config, tmp_path / 'b')
  with checkpoint.Checkpoints(tmp_path / 'b') as checkpoints:
    assert checkpoints.latest_step() == 5
  assert_identical(whole, train(toy_config, tmp_path / 'b'))


def test_restores_onto_another_mesh(toy_config, tmp_path, monkeypatch):
  """Of split parameters, onto others: nothing depends on who wrote them."""
  whole = train(toy_config, tmp_path / 'a')
  # The toy's are too small to be split otherwise.
  split = functools.partial(sharding.state_sharding, min_size=16)
  monkeypatch.setattr(sharding, 'state_sharding', split)
  train(toy_config, tmp_path / 'b', total_steps=5)
  resumed = train(
    toy_config, tmp_path / 'b', **{'mesh.fsdp': 4, 'total_steps': 9}
  )
  kernel = resumed.params['Dense_0']['kernel']
  assert kernel.addressable_shards[0].data.size == kernel.size // 4
  resumed = train(toy_config, tmp_path / 'b', **{'mesh.fsdp': 2})
  assert int(resumed.step) == 12
  # Sums over devices in another order: float32 rounding, no more.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    jax.device_get(whole),
    jax.device_get(resumed),
  )


@pytest.fixture
def interruptible():
  """Tests that run in the background may have been told to ignore Ctrl-C."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures('interruptible')
def test_a_signal_saves_and_returns(toy_config, tmp_path, monkeypatch, number):
  """The handler is put back, and the run continues where it stopped."""
  whole = train(toy_config, tmp_path / 'a')
  original = loop._log

  def log_then_signal(run, watch, clock, history, step):
    original(run, watch, clock, history, step)
    if step == 3:
      os.kill(os.getpid(), number)

  before = signal.getsignal(number)
  monkeypatch.setattr(loop, '_log', log_then_signal)
  stopped = train(toy_config, tmp_path / 'b')
  assert int(stopped.step) == 3
  assert signal.getsignal(number) is before
  monkeypatch.setattr(loop, '_log', original)
  assert_identical(whole, train(toy_config, tmp_path / 'b'))


def test_the_second_interrupt_aborts(interruptible):
  with stopping.signals() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.is_set()
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_interrupt_stays_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    with stopping.signals() as stop:
      os.kill(os.getpid(), signal.SIGINT)
      assert not stop.is_set()
  finally:
    signal.signal(signal.SIGINT, before)


def test_stopping_while_calibrating_saves_nothing(
  toy_config, tmp_path, monkeypatch
):
  class Calibrated(PHASES['toy']):
    def calibrate(self, model_state, frozen, batches):
      next(batches)
      os.kill(os.getpid(), signal.SIGTERM)
      next(batches)

  monkeypatch.setitem(PHASES, 'toy', Calibrated)
  assert train(toy_config, tmp_path) is None
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest_step() is None


def test_without_validation_data_training_goes_on(
  toy_config, tmp_path, monkeypatch, caplog
):
  create = pipeline.create_dataset

  def without_val(config, split):
    if split == 'val':
      raise InputError("set: no split 'val'")
    return create(config, split)

  monkeypatch.setattr(pipeline, 'create_dataset', without_val)
  assert int(train(toy_config, tmp_path).step) == 12
  assert caplog.text.count("no split 'val'") == 1
  assert 'val/loss' not in (tmp_path / 'scalars.jsonl').read_text()


def test_a_checkpoint_is_saved_before_its_evaluation(
  toy_config, tmp_path, monkeypatch
):
  def fail(run, state):
    raise RuntimeError('evaluation')

  monkeypatch.setattr(loop, '_evaluate', fail)
  with pytest.raises(RuntimeError, match='evaluation'):
    train(toy_config, tmp_path)
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest_step() == 5


def test_a_loss_that_is_not_finite_stops(toy_config, tmp_path, monkeypatch):
  class Broken(PHASES['toy']):
    def loss_fn(self, *args, **kwargs):
      loss, aux = super().loss_fn(*args, **kwargs)
      return loss / 0, aux

  monkeypatch.setitem(PHASES, 'toy', Broken)
  with pytest.raises(
    FloatingPointError, match='at step 1: loss (nan|inf).*json'
  ):
    train(toy_config, tmp_path)
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest_step() is None


def test_scalars_and_pictures_are_written(toy_config, tmp_path):
  train(toy_config, tmp_path)
  lines = (tmp_path / 'scalars.jsonl').read_text().splitlines()
  scalars = [json.loads(line) for line in lines]
  losses = {s['step']: s['train/loss'] for s in scalars if 'train/loss' in s}
  assert sorted(losses) == [3, 6, 9, 12]
  assert losses[12] < losses[3]
  steps = [s['step'] for s in scalars if 'val/loss' in s]
  assert steps == [5, 10, 12]
  assert list((tmp_path / 'tensorboard').iterdir())


def test_only_the_newest_checkpoints_are_kept(toy_config, tmp_path):
  train(toy_config, tmp_path, save_every=2, total_steps=9)
  steps = {p.name for p in (tmp_path / checkpoint.FOLDER).iterdir()}
  assert steps == {'8', '9'}


def _cut_arrays(step):
  for path in (step / 'state').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(step):
  shutil.rmtree(step)
  step.mkdir()


@pytest.mark.parametrize('damage', [_cut_arrays, _empty])
def test_damaged_checkpoints_are_named(toy_config, tmp_path, damage):
  train(toy_config, tmp_path, total_steps=1)
  damage(tmp_path / checkpoint.FOLDER / '1')
  for load in (
    lambda: train(toy_config, tmp_path),
    lambda: checkpoint.load_run(tmp_path),
  ):
    with pytest.raises(InputError, match=f'{checkpoint.FOLDER}/1 ') as error:
      load()
    assert '\n' not in str(error.value)


def test_later_phases_get_the_averaged_weights(toy_config, tmp_path):
  state = train(toy_config, tmp_path)
  frozen = checkpoint.load_frozen(tmp_path, 'toy', {'features': 32})
  assert_identical(frozen['params'], jax.device_get(state.ema_params))
  assert_identical(frozen['model_state'], jax.device_get(state.model_state))
  assert set(frozen) == {'params', 'model_state'}


@pytest.mark.parametrize(
  'path,name,model,message',
  [
    ('run', 'fde', None, "is a run of 'toy'"),
    ('run', 'toy', {'features': 64}, r'model.toy.features = 32'),
    ('absent', 'fde', None, 'neither checkpoints nor weights of fde'),
    ('', 'fde', None, 'set config.init_from.fde'),
  ],
)
def test_wrong_earlier_phase(toy_config, tmp_path, path, name, model, message):
  train(toy_config, tmp_path / 'run', total_steps=1)
  with pytest.raises(InputError, match=message):
    checkpoint.load_frozen(path and tmp_path / path, name, model)


@pytest.mark.parametrize(
  'changes,message',
  [
    ({'resolution': 100}, 'divisible by 32'),
    ({'batch_size': 6}, 'divisible by 8: 8 groups of devices'),
    ({'mesh.fsdp': 3}, 'does not divide the 8 device'),
    ({'model.toy.features': 8}, 'was trained with model.toy'),
  ],
)
def test_wrong_configs_fail_in_one_line(toy_config, tmp_path, changes, message):
  if 'model.toy.features' in changes:
    train(toy_config, tmp_path, total_steps=1)
  with pytest.raises(InputError, match=message) as error:
    train(toy_config, tmp_path, **changes)
  assert '\n' not in str(error.value)


def pack(folder, variables, config):
  """Writes weights as `mdcf pack` does."""
  weights.save(folder, 'toy', variables, dtype='float32')
  weights.save_config(folder, json.loads(config.to_json()) | {'phases': {}})


def test_starts_from_packed_weights(toy_config, tmp_path):
  first = train(toy_config, tmp_path / 'a')
  variables = {'params': first.ema_params, **first.model_state}
  pack(tmp_path / 'packed', variables, toy_config)
  # At a learning rate of zero nothing moves away from what was loaded.
  changes = {
    'init_from.weights': str(tmp_path / 'packed'),
    'optimizer.learning_rate': 0.0,
    'total_steps': 2,
  }
  second = train(toy_config, tmp_path / 'b', **changes)
  assert_identical(second.params, first.ema_params)
  jax.tree.map(
    # The average of equal numbers, up to rounding.
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
    second.ema_params,
    first.ema_params,
  )


def test_packed_weights_of_another_model(toy_config, tmp_path):
  pack(tmp_path / 'packed', {'params': {'a': np.zeros(3)}}, toy_config)
  with pytest.raises(InputError, match='lacks tensor'):
    train(
      toy_config,
      tmp_path / 'b',
      **{'init_from.weights': str(tmp_path / 'packed')},
    )


def test_statistics_are_calibrated_once(toy_config, tmp_path, monkeypatch):
  """One pass over some batches, before the first step of a run."""
  calls = []

  class Calibrated(PHASES['toy']):
    def calibrate(self, model_state, frozen, batches):
      calls.append(len([batch['source'].shape for batch in batches]))
      return jax.tree.map(lambda x: x + 1, model_state)

  monkeypatch.setitem(PHASES, 'toy', Calibrated)
  changes = {'calibration_batches': 3, 'total_steps': 2}
  train(toy_config, tmp_path, **changes)
  train(toy_config, tmp_path, **changes | {'total_steps': 3})
  assert calls == [3]


def test_weights_of_vgg19_are_loaded(toy_config, tmp_path):
  from mdcf_jax.models.vgg import VGG19

  image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  params = jax.eval_shape(VGG19().init, jax.random.key(0), image)['params']
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), params)
  weights.save(tmp_path, 'features', {'params': {'vgg19': zeros}})
  toy_config.perceptual_weights = str(tmp_path / 'features.safetensors')
  loaded = running._load_frozen(toy_config, 'vgg19')
  assert loaded['params']['vgg19']['conv5_1']['bias'].shape == (512,)

"""Programs of a generation are compiled, and their memory known, before."""

import logging

import jax
import numpy as np
import pytest

from mdcf_jax import InputError, pipeline, stages
from mdcf_jax.metrics.psnr import psnr
from mdcf_jax.pipeline import Pipeline
from tests.tiny_model import write_tiny_weights

RATE = 16000
PORTRAIT = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.fixture(scope='module')
def pipe(tiny_weights):
  return Pipeline.from_pretrained(tiny_weights)


def sound(frames):
  return 0.1 * np.sin(np.arange(640 * frames) / 7).astype(np.float32), RATE


def test_nothing_is_compiled_while_it_runs(pipe):
  frames = pipe.stream(PORTRAIT, sound(12), steps=2)
  compiled, plan = set(pipe._stages.compiled), pipe.plan
  assert (plan.frames, plan.resolution) == (12, 64)
  names = {'motion', 'encode', 'diffusion', 'frames'}
  assert {name for name, _ in compiled} == set(plan.stages) == names
  assert len(list(frames)) == 12
  assert set(pipe._stages.compiled) == compiled


def test_a_given_motion_is_not_made(pipe):
  pipe.stream(PORTRAIT, sound(12), steps=2, pose='still', blink='none')
  assert 'motion' not in pipe.plan.stages


def test_the_plan_counts_weights_once(pipe):
  pipe.stream(PORTRAIT, sound(12), steps=2)
  plan = pipe.plan
  assert plan.weights == stages.num_bytes(pipe.variables)
  assert plan.weights == sum(x.nbytes for x in jax.tree.leaves(pipe.variables))
  for memory in plan.stages.values():
    assert 0 < memory.weights < plan.weights
    assert memory.temporaries >= 0 and memory.results >= 0
    assert plan.peak >= plan.weights + memory.beside_weights
  # The picture; nothing else comes in that is not a weight.
  assert abs(plan.stages['encode'].arguments - PORTRAIT.size) < 1024


def test_longer_videos_take_more_for_the_diffusion_alone(pipe):
  plans = []
  for count in (16, 64):
    pipe.stream(PORTRAIT, sound(count), steps=2)
    plans.append(pipe.plan.stages)
  for name in ('encode', 'frames'):
    assert plans[0][name] == plans[1][name]
  assert plans[1]['diffusion'].temporaries > plans[0]['diffusion'].temporaries


@pytest.mark.parametrize('free, warns', [(1000, True), (2**40, False)])
def test_too_little_memory_is_told(free, warns, pipe, monkeypatch, caplog):
  monkeypatch.setattr(pipeline, 'free_memory', lambda: free)
  with caplog.at_level(logging.WARNING):
    pipe.stream(PORTRAIT, sound(12), steps=2)
  assert ('12 frames of 64 x 64 may take' in caplog.text) == warns


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='reads /proc')
def test_free_memory_is_some_of_the_machine():
  assert 2**24 < pipeline.free_memory() < 2**50


def test_bfloat16_is_nearly_the_same(pipe, tiny_weights):
  half = Pipeline.from_pretrained(tiny_weights, dtype='bfloat16')
  params = half.variables['diffusion']['params']
  assert {str(x.dtype) for x in jax.tree.leaves(params)} == {'bfloat16'}
  statistics = half.variables['fde']['batch_stats']
  assert {str(x.dtype) for x in jax.tree.leaves(statistics)} == {'float32'}
  options = dict(steps=2, pose='still', blink='none')
  exact, rounded = (
    p(PORTRAIT, sound(8), **options).frames / np.float32(127.5) - 1
    for p in (pipe, half)
  )
  assert psnr(rounded, exact).min() > 40, psnr(rounded, exact)
  assert half.plan.weights < 0.6 * pipe.plan.weights


def test_other_types_are_refused(tiny_weights):
  with pytest.raises(InputError, match='float16.* none of: float32, bfloat16'):
    Pipeline.from_pretrained(tiny_weights, dtype='float16')


def test_mouths_that_are_apart_are_a_stage(tmp_path):
  """They follow the sound, at every length of padding and every size."""
  pipe = Pipeline.from_pretrained(write_tiny_weights(tmp_path, opening=True))
  options = dict(steps=1, pose='still', blink='none')
  samples, rate = sound(20)
  first = pipe(PORTRAIT, (samples, rate), **options).frames
  assert pipe.timings['speech'].frames == 20
  assert pipe.plan.stages['speech'].results == 24 * 2 * 2 * 4 * 4  # Of z.
  louder = pipe(PORTRAIT, (5 * samples, rate), **options).frames
  assert (first != louder).any()
  large = pipe(PORTRAIT, (samples, rate), resolution=128, **options).frames
  assert large.shape == (20, 128, 128, 3)

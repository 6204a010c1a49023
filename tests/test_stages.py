"""Programs of a generation are compiled, and their memory known, before."""

import logging

import jax
import numpy as np
import pytest

from mdcf_jax import InputError, stages
from mdcf_jax.devices import Devices
from mdcf_jax.metrics.psnr import psnr
from mdcf_jax.phases import packed
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
  names = {'motion', 'encode', 'diffusion', 'latents', 'frames'}
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
  monkeypatch.setattr(Devices, 'free_memory', free)
  with caplog.at_level(logging.WARNING):
    pipe.stream(PORTRAIT, sound(12), steps=2)
  assert ('12 frames of 64 x 64 may take' in caplog.text) == warns


def test_less_is_done_at_a_time_where_memory_is_short(
  tiny_weights, pipe, monkeypatch
):
  monkeypatch.setattr(
    stages.Chunks, 'usual', lambda resolution: stages.Chunks(8, 2**16)
  )
  options = dict(steps=1, pose='still', blink='none')
  expected = pipe(PORTRAIT, sound(12), **options).frames
  needed = pipe.plan.stages['frames'].beside_weights
  short = Pipeline.from_pretrained(tiny_weights)
  monkeypatch.setattr(Devices, 'free_memory', needed // 3)
  frames = short(PORTRAIT, sound(12), **options).frames
  found = max(x.beside_weights for x in short.plan.stages.values())
  assert found <= needed // 3 < needed
  assert close(frames, expected)


def test_fewer_are_made_together_where_memory_is_short(
  tiny_weights, pipe, monkeypatch
):
  monkeypatch.setattr(stages.Chunks, 'smaller', lambda self, stage: None)
  options = dict(steps=1, pose='still', blink='none')
  clips = [pipe.prepare(PORTRAIT, sound(12), seed=i, **options) for i in (0, 1)]
  expected = [list(frames) for frames in pipe.generate(clips)]
  assert pipe.plan.clips == 2
  free = pipe.plan.beside_weights - 1
  monkeypatch.setattr(Devices, 'free_memory', free)
  short = Pipeline.from_pretrained(tiny_weights)
  videos = short.generate(clips)
  assert short.plan.clips == 1 and short.plan.beside_weights <= free
  for frames, same in zip(videos, expected, strict=True):
    assert close(np.stack(list(frames)), np.stack(same))


def test_smaller_chunks_end():
  chunks, halved = stages.Chunks(8, 2**14), 0
  while smaller := chunks.smaller('frames') or chunks.smaller('diffusion'):
    chunks, halved = smaller, halved + 1
  assert chunks == stages.Chunks(1, 2**12) and halved == 5
  assert stages.Chunks(8, 2**14).smaller('encode') is None


def test_a_cpu_decodes_frame_by_frame_and_others_fill_up():
  assert stages.Chunks.usual(256, 'cpu').frames == 1
  sizes = {n: stages.Chunks.usual(n, 'gpu').frames for n in (128, 256, 512)}
  assert sizes == {128: 8, 256: 8, 512: 2}


@pytest.mark.parametrize('opening', [False, True])
def test_frames_over_several_devices_are_the_same(opening, tmp_path):
  weights = write_tiny_weights(tmp_path, opening=opening)
  # 20 frames are 24 in a bucket, and 9 on each of three devices.
  one, three = (Pipeline.from_pretrained(weights, devices=n) for n in (1, 3))
  videos = [
    p(PORTRAIT, sound(20), steps=2, seed=3).frames for p in (one, three)
  ]
  assert close(*videos)
  known = three.prepare(PORTRAIT, sound(30)).conditions
  assert known['frame_mask'].shape[1] % 3 == 0
  # What grows with the frames is shared.
  assert three.plan.stages['diffusion'].temporaries < (
    0.6 * one.plan.stages['diffusion'].temporaries
  )


def test_devices_that_are_not_there(tiny_weights):
  with pytest.raises(InputError, match='devices 99 is not in 1 to'):
    Pipeline.from_pretrained(tiny_weights, devices=99)


def test_clips_together_are_what_they_are_alone(pipe):
  other = np.flip(PORTRAIT, 0)
  given = [
    (PORTRAIT, sound(20), 1),
    (other, sound(18), 2),
    (other, sound(9), 3),
  ]
  clips = [pipe.prepare(*x, steps=2, seed=seed) for *x, seed in given]
  with pytest.raises(ValueError, match='of one kind'):
    pipe.generate(clips)
  pipe.timings = {}
  together = [np.stack(list(frames)) for frames in pipe.generate(clips[:2])]
  assert [len(frames) for frames in together] == [20, 18]
  assert pipe.timings['diffusion'].frames == 38
  for frames, (image, audio, seed) in zip(together, given):
    assert close(frames, pipe(image, audio, steps=2, seed=seed).frames)
  assert not close(together[0][:18], together[1])


def close(a, b):
  """Equal but for what rounding in another order does to a uint8."""
  return a.shape == b.shape and np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='reads /proc')
def test_free_memory_is_some_of_the_machine():
  assert 2**24 < Devices().free_memory < 2**50


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
  noise = np.random.default_rng(0).normal(0, 0.1, len(samples))
  other = pipe(PORTRAIT, (noise.astype(np.float32), rate), **options).frames
  assert (first != other).any()
  large = pipe(PORTRAIT, (samples, rate), resolution=128, **options).frames
  assert large.shape == (20, 128, 128, 3)


def test_phases_can_be_looked_at(pipe):
  """What notebooks take apart is what generates; the dict is a copy."""
  assert pipe.phases['fde'].fde == pipe.fde
  pipe.phases.clear()
  assert set(pipe.phases) == {'fde', 'lmae', 'diffusion', 'pbnet'}
  handed = packed.frozen(pipe.variables)
  assert handed['fde']['params'] is pipe.variables['fde']['params']
  assert set(handed['fde']['model_state']) == {'batch_stats'}
  nothing = packed.frozen({'fde': pipe.variables['fde']})['lmae']
  assert nothing == {'params': {}, 'model_state': {}}


def test_lids_come_down_in_the_frames(tmp_path):
  """Of weights that know faces; the latents have no part in it."""
  pipe = Pipeline.from_pretrained(write_tiny_weights(tmp_path, opening=True))
  made, variables = pipe._stages, pipe.variables
  call = made.encode(variables, PORTRAIT[None])
  features, face = made.program('encode', call)(*call.args)
  known = dict(source_blink=np.float32([[0.3, 0.25]]))
  lmae = pipe.lmae
  z = np.zeros((3, 2, 2, lmae.latent_channels), np.float32)

  def decode(eyes):
    call = made.decode(variables, features, z, eyes)
    return np.asarray(made.program('frames', call)(*call.args))

  blink = np.float32([[0.3, 0.25], [0.1, 0.1], [0.05, 0.05]])
  plain, lidded = (decode(e) for e in (None, made.eyes(face, known, blink)))
  assert close(lidded[:1], plain[:1])
  assert not close(lidded[2:], plain[2:])

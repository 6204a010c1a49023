"""bench/generate.py and bench/memory.py print what they say."""

import argparse
import json
import pathlib

import pytest

from bench import generate, memory
from mdcf_jax.errors import InputError
from mdcf_jax.models import hubert
from mdcf_jax.stages import num_bytes


def arguments(**given):
  known = dict(
    variant='tiny',
    steps=20,
    sampler='ddim',
    guidance_scale=1.0,
    dtype='float32',
    audio='mel',
    calls=1,
  )
  return argparse.Namespace(**known | given)


def test_a_generation_is_timed_by_stages():
  row = generate.measure(arguments(), 'mdcf', 20)
  json.dumps(row)
  assert (row['frames'], row['resolution']) == (20, 64)
  assert set(row['seconds']) == {'motion', 'encode', 'diffusion', 'frames'}
  assert row['total'] == sum(row['seconds'].values()) > 0
  # What was run, of what the time is told.
  stages = 'motion', 'encode', 'diffusion', 'latents', 'frames'
  assert row['calls'] == dict.fromkeys(stages, 1)
  line = generate._line(row)
  header = 2 + len(generate.STAGES) + 3
  assert line.count('|') == header + 1
  assert row['gib'] > 0


def test_a_ratio_is_of_two_ways(capsys):
  rows = [dict(mode='mdcf', total=2.0), dict(mode='dawn', total=9.0)]
  generate.tell_ratio(rows)
  assert 'mdcf is 4.5 times as fast as dawn' in capsys.readouterr().out
  generate.tell_ratio(rows[:1])
  assert not capsys.readouterr().out


def test_dawn_has_the_same_fde_and_no_auto_encoder():
  args = arguments(variant='tiny,identity')
  _, stages, variables = memory.build(args)
  _, _, ours = memory.build(arguments())
  assert 'lmae' not in variables
  assert num_bytes(variables['fde']) == num_bytes(ours['fde'])
  known = memory.shapes_of_conditions('mel', 16)
  from mdcf_jax.stages import Options

  calls = stages.calls(variables, known, 64, Options())
  *_, z, eyes = calls['frames'].args
  assert eyes is None
  assert z.shape[1:] == (16, 16, 3)


def test_bfloat16_halves_weights_but_not_statistics():
  full, half = (
    memory.build(arguments(dtype=dtype))[2] for dtype in memory.DTYPES
  )
  params = {k: v['params'] for k, v in full.items()}
  assert num_bytes(full) - num_bytes(half) == num_bytes(params) // 2


def test_a_resolution_that_cannot_be_is_refused():
  with pytest.raises(InputError, match='resolution'):
    memory.build(arguments(variant='tiny,96'))


def test_hubert_is_counted():
  size = memory.hubert_bytes('hubert-base')
  assert 90e6 < size / 4 < 100e6  # 95 million parameters.
  assert set(hubert.HUBERT_SIZES) == {'hubert-base', 'hubert-large'}


def test_a_plot_is_drawn(tmp_path):
  pytest.importorskip('matplotlib')
  rows = [
    dict(mode=m, variant='mini', dtype='float32', device='a chip')
    | dict(frames=n, total=n / speed, gib=1.0 + n / 1000)
    for m, speed in (('mdcf', 20), ('dawn', 2))
    for n in (100, 1000)
  ]
  output = pathlib.Path(tmp_path / 'plot.png')
  generate.plot(rows, str(output))
  assert output.read_bytes().startswith(b'\x89PNG')

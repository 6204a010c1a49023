"""What of a training is still known when its weights are used."""

import json

from configs import diffusion, models
from mdcf_jax.hub.fetch import BUNDLED
from mdcf_jax.phases import packed


def phase_of(loss):
  phases = dict(diffusion=dict(config=dict(loss=loss)))
  config = dict(resolution=64, audio_encoder='mel', phases=phases)
  return packed.build_phases(config | dict(model=models.SIZES['tiny']))[
    'diffusion'
  ]


def test_samples_are_drawn_as_was_trained():
  loss = diffusion.get_config('tiny').loss.to_dict()
  changed = dict(objective='flow', clip=3.0, smoothing=2.5)
  phase, default = phase_of(loss | changed), phase_of({})
  for name, value in changed.items():
    assert getattr(phase, name) == value != getattr(default, name)


def test_weights_of_old_have_defaults():
  phase = phase_of({})
  loss = diffusion.get_config('base').loss
  for name in ('objective', 'clip', 'smoothing'):
    assert getattr(phase, name) == loss[name]


def test_the_bundled_model_is_smooth_as_its_config():
  config = json.loads((BUNDLED['mini'] / 'config.json').read_text())
  phase = packed.build_phases(config)['diffusion']
  expected = diffusion.get_config('mini').loss.smoothing
  assert phase.smoothing == expected > 0

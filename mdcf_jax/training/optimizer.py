"""The optimizer and its learning rate, from `config.optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optax

from mdcf_jax.errors import InputError

SCHEDULES = ('constant', 'cosine')
# Settings that decide which arrays the optimizer's state has, and how.
PARTS = {
  'clip_norm': bool,
  'weight_decay': bool,
  'frozen': bool,
}


def create_schedule(config: Any) -> optax.Schedule:
  """Returns the learning rate as a function of the number of updates.

  Args:
    config: `optimizer.schedule` is one of SCHEDULES.
  """
  settings = config.optimizer
  updates = config.total_steps
  warmup = settings.warmup_steps
  rate = settings.learning_rate
  if settings.schedule == 'constant':
    main = optax.constant_schedule(rate)
  else:
    final = settings.final_rate / rate if rate else 0.0
    main = optax.cosine_decay_schedule(rate, max(1, updates - warmup), final)
  if not warmup:
    return main
  ramp = optax.linear_schedule(0.0, rate, warmup)
  return optax.join_schedules([ramp, main], [warmup])


def create_optimizer(config: Any) -> optax.GradientTransformation:
  """Returns AdamW with clipping and frozen parts, as asked.

  Its `init` raises InputError if `config.optimizer.frozen` names what the model
  has not.
  """
  settings = config.optimizer
  schedule = create_schedule(config)
  adam = dict(b1=settings.b1, b2=settings.b2)
  if PARTS['weight_decay'](settings.weight_decay):
    tx = optax.adamw(schedule, weight_decay=settings.weight_decay, **adam)
  else:
    tx = optax.adam(schedule, **adam)
  if PARTS['clip_norm'](settings.clip_norm):
    tx = optax.chain(optax.clip_by_global_norm(settings.clip_norm), tx)
  if PARTS['frozen'](settings.frozen):
    # Twice: before, for the norm of what is clipped; after, for the decay.
    still = optax.masked(optax.set_to_zero(), _find_parts(settings.frozen))
    tx = optax.chain(still, tx, still)
  return tx


def _find_parts(names: Sequence[str]) -> Callable[[dict], dict[str, bool]]:
  """Returns a function of parameters: which of their top modules are named."""

  def find(params: dict) -> dict[str, bool]:
    unknown = sorted(set(names) - set(params))
    if unknown:
      raise InputError(
        f'config.optimizer.frozen: there is no {", ".join(unknown)}; there is '
        f'{", ".join(sorted(params))}'
      )
    return {name: name in names for name in params}

  return find

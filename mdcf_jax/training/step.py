"""One update, the same for every phase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mdcf_jax.training.state import TrainState


def make_train_step(
  phase: Any,
  tx: optax.GradientTransformation,
  ema_decay: float,
  state_sharding: Any,
  batch_sharding: Any,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Returns the jitted `(state, frozen, batch, rng) -> (state, metrics)`.

  The state is donated. `rng` is the key of the run, the same at every step:
  the step number is folded in, so that a resumed run repeats itself.
  """

  def train_step(state, frozen, batch, rng):
    rng = jax.random.fold_in(rng, state.step)
    grad_fn = jax.value_and_grad(phase.loss_fn, has_aux=True)
    (loss, (model_state, metrics)), grads = grad_fn(
      state.params, state.model_state, frozen, batch, rng, train=True
    )
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # The average forgets its random start: a short run is not held back.
    decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
    ema = optax.incremental_update(params, state.ema_params, 1 - decay)
    state = state.replace(
      step=state.step + 1,
      params=params,
      model_state=model_state,
      ema_params=ema,
      opt_state=opt_state,
    )
    return state, metrics | {'loss': loss, 'grad_norm': optax.tree.norm(grads)}

  return jax.jit(
    train_step,
    donate_argnums=0,
    in_shardings=(state_sharding, None, batch_sharding, None),
    out_shardings=(state_sharding, None),
  )


def make_eval_step(
  phase: Any, batch_sharding: Any
) -> Callable[..., dict[str, jax.Array]]:
  """Returns the jitted `(params, model_state, frozen, batch, rng) -> metrics`.

  The loss as in training but with `train=False`; no state changes.
  """

  def eval_step(params, model_state, frozen, batch, rng):
    loss, (_, metrics) = phase.loss_fn(
      params, model_state, frozen, batch, rng, train=False
    )
    return metrics | {'loss': loss}

  return jax.jit(
    eval_step, in_shardings=(None, None, None, batch_sharding, None)
  )

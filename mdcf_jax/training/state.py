"""What a training run changes from step to step."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


class TrainState(flax.struct.PyTreeNode):
  """Arrays only, so that it shards, donates and saves as one tree.

  Attributes:
    step: number of batches seen, int32 scalar.
    params: trained parameters.
    model_state: everything else the modules keep (batch statistics).
    ema_params: average of `params`; what evaluation and later phases use.
    opt_state: the optimizer's.
  """

  step: jax.Array
  params: Any
  model_state: Any
  ema_params: Any
  opt_state: optax.OptState

  @classmethod
  def create(
    cls, variables: dict[str, Any], tx: optax.GradientTransformation
  ) -> TrainState:
    """Returns the state before the first step."""
    params = variables['params']
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      model_state={k: v for k, v in variables.items() if k != 'params'},
      # Copies: a donated state may not hold the same buffer twice.
      ema_params=jax.tree.map(jnp.copy, params),
      opt_state=tx.init(params),
    )

"""Latent motion auto-encoder on top of a trained FDE.

  python train.py --config=configs/lmae.py --workdir=runs/lmae
  python train.py --config=configs/lmae.py:tiny --workdir=/tmp/lmae
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('lmae', variant)
  config.init_from.fde = 'runs/fde'
  config.loss = dict(kl_weight=1e-4, mse_weight=1.0, igc_weight=1.0)

  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

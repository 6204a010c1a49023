"""Diffusion over the latents of all frames of a clip.

  python train.py --config=configs/diffusion.py --workdir=runs/diffusion
  python train.py --config=configs/diffusion.py:tiny --workdir=/tmp/diffusion
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('diffusion', variant)
  config.init_from.fde = 'runs/fde'
  config.init_from.lmae = 'runs/lmae'
  config.loss = dict(mouth_weight=1.0)

  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

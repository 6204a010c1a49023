"""Pose and blink sequences from audio.

  python train.py --config=configs/pbnet.py --workdir=runs/pbnet
  python train.py --config=configs/pbnet.py:tiny --workdir=/tmp/pbnet
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('pbnet', variant)
  config.loss = dict(kl_weight=1e-4)

  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

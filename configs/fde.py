"""Flow and dynamics estimator: motion between two frames.

  python train.py --config=configs/fde.py --workdir=runs/fde
  python train.py --config=configs/fde.py:tiny --workdir=/tmp/fde
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('fde', variant)
  config.loss = dict(perceptual_weight=10.0, equivariance_weight=10.0)

  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

"""Pose and blink sequences from audio.

  python train.py --config=configs/pbnet.py --workdir=runs/pbnet
  python train.py --config=configs/pbnet.py:tiny --workdir=/tmp/pbnet

Settings of `base` are DAWN's, whatever the resolution: windows of 200 frames,
40 of them a step, AdamW from 4e-4 to 2e-5, gradients of at most 2, 100,000
epochs, KL 0.004. Its other terms are not kept (`mdcf_jax/phases/pbnet.py` says
why), those of speed and blinks, the warm-up and the averaged weights are ours.

Expected: `mini` is measured in MODEL_CARD.md. Of `base` no whole run was made.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('pbnet', variant)
  config.loss = dict(
    kl_weight=4e-3,  # Nats per frame.
    mse_weight=1.0,  # Motion in units of its spread.
    velocity_weight=2.0,  # Its first differences.
    blink_weight=1.0,  # Cross entropy of blinks, nats per frame.
  )
  config.data.num_frames = 200
  config.batch_size = 40
  config.optimizer.learning_rate = 4e-4
  config.optimizer.warmup_steps = 100
  config.optimizer.schedule = 'cosine'

  if config.size == 'base':
    config.total_steps = base.steps_of(100_000, base.VIDEOS, config.batch_size)
    config.optimizer.final_rate = 2e-5
    config.optimizer.weight_decay = 0.01  # The default of PyTorch's AdamW.
    config.optimizer.clip_norm = 2.0
  if config.size == 'mini':
    config.batch_size = 16
    config.data.num_frames = 125
    config.data.audio_jitter = 1.0
    config.data.max_lag = 4.0  # In frames: sound that is late teaches nothing.
    config.optimizer.learning_rate = 1e-3
    config.total_steps = 3000
  if config.size == 'tiny':
    config.batch_size = 2
    config.data.num_frames = 32
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

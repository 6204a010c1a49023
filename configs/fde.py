"""FDE: flow and occlusion between two frames, and the frame made from them.

  python train.py --config=configs/fde.py --workdir=runs/fde
  python train.py --config=configs/fde.py:tiny --workdir=/tmp/fde  # CPU, 1 min

Settings of `base` are those with which DAWN's published weights of its LFG were
made (hdtf128_1000ep, hdtf256_400ep): Adam with b1 = 0.5, cosine to 2e-6, no
clipping of gradients, VGG19 features at four scales with weight 10,
equivariance 10, pairs of whole frames, mirrored, swapped and with other
colours. Ours are the averaged weights, and the warm-up: DAWN starts from
weights for VoxCeleb, this from nothing.

There is no 512 of DAWN's. Ours starts from the weights of 256, which fit any
size, with a smaller rate:

  python train.py --config=configs/fde.py:256 --workdir=runs/fde-256
  python train.py --config=configs/fde.py:512 --workdir=runs/fde

`--config.init_from.weights=` trains it from nothing.

Expected: `mini` is measured in MODEL_CARD.md. Of `base` no whole run was made.
"""

from ml_collections import ConfigDict

from configs import base

# Of `base`: epochs, batch size and learning rate.
SETTINGS = {
  128: (1000, 82, 4e-4),
  256: (400, 20, 6e-4),
  512: (100, 10, 2e-4),  # Ours; 100 epochs and 2e-4 are those of hdtf256.
}


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('fde', variant)
  config.loss = dict(
    perceptual_weight=10.0,  # Equation 5.
    equivariance_weight=10.0,  # Shift and affine term of MRAA.
    l1_weight=0.0,  # Mean absolute error of pixels.
    mouth_weight=0.0,  # Extra weight of the mouth box in it.
    landmark_weight=0.0,  # Regions to guide points of the face.
    teacher_forcing=False,  # Flow from the guide points' own regions.
    window=0,  # Side of the random window that is decoded; 0: all.
  )
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.schedule = 'cosine'

  if config.size == 'base':
    # A side without settings, 64, is too small for this model anyway.
    epochs, batch, rate = SETTINGS.get(config.resolution, SETTINGS[128])
    config.batch_size = batch
    config.total_steps = base.steps_of(epochs, base.PAIRS, batch)
    config.optimizer.learning_rate = rate
    config.optimizer.final_rate = 2e-6
    config.optimizer.warmup_steps = 1000
    config.optimizer.clip_norm = 0.0
    config.data.min_zoom = 1.0
    if config.resolution == 512:
      config.init_from.weights = 'runs/fde-256'
  if config.size != 'base':
    # Untrained features say little about a face: pixels, guide points and a
    # closer look at the mouth make up for it.
    config.loss.update(
      perceptual_weight=1.0,
      equivariance_weight=1.0,
      l1_weight=10.0,
      mouth_weight=4.0,
      landmark_weight=1.0,
    )
  if config.size == 'mini':
    config.loss.mouth_weight = 8.0
    config.loss.window = min(96, config.resolution)
    # A fifth of a step's time on a CPU; the guide points hold the regions.
    config.loss.equivariance_weight = 0.0
    config.batch_size = 4
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 100
    # Runs end by the clock: the average of the weights stands in for a decay.
    config.optimizer.schedule = 'constant'
    config.ema_decay = 0.995
    config.total_steps = 6000
    config.data.min_zoom = 0.8
  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

"""Latent motion auto-encoder on top of a trained FDE.

  python train.py --config=configs/lmae.py --workdir=runs/lmae
  python train.py --config=configs/lmae.py:tiny --workdir=/tmp/lmae

and the rows of the paper's tables 2 and 5 beside it, see docs/ablations.md:

  python train.py --config=configs/lmae.py:d16     # z at H/16
  python train.py --config=configs/lmae.py:no_igc  # equations 6 and 8 alone
  python train.py --config=configs/lmae.py:no_tpc  # with FDE, end to end
  python train.py --config=configs/lmae.py:vae     # of pictures, no FDE

The weights 1e-4, 1, 1 are the paper's (section 4.1); what they multiply is
stated in `mdcf_jax/phases/lmae.py`. It says nothing of the rest: pairs are
drawn as for FDE, and batch, rate and 100 epochs are ours.

Expected: `mini` is measured in MODEL_CARD.md. Of `base` no whole run was made.
"""

from ml_collections import ConfigDict

from configs import base

# Of `base`: as many as the memory for decoded images is likely to allow.
BATCH_SIZES = {128: 40, 256: 32, 512: 20}


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('lmae', variant)
  config.init_from.fde = 'runs/fde'
  config.loss = dict(
    kl_weight=1e-4,  # Equation 8: nats per frame.
    mse_weight=1.0,  # Equation 6: dynamics in the LMAE's units.
    igc_weight=1.0,  # Equation 7: perceptual distance of decoded frames.
    image_loss='unit',  # Or 'phase_one': ten times that distance.
    l1_weight=0.0,  # Mean absolute error of the same pixels.
    mouth_weight=0.0,  # Extra weight of the mouth box in flow and pixels.
    teacher_forcing=False,  # Dynamics of the guide points' own regions.
    window=0,  # Side of the random window that is decoded; 0: all.
  )
  config.batch_size = 32
  config.optimizer.learning_rate = 1e-4

  if config.size == 'base':
    config.batch_size = BATCH_SIZES.get(config.resolution, 40)
    config.total_steps = base.steps_of(100, base.PAIRS, config.batch_size)
    config.optimizer.schedule = 'cosine'
    config.optimizer.final_rate = 2e-6
    config.data.min_zoom = 1.0
  if config.size != 'base':
    # Untrained features say little about a face: pixels make up for it.
    config.loss.l1_weight = 5.0
    config.loss.mouth_weight = 4.0
  if config.size == 'mini':
    # The mouth is a hundredth of a frame, and what people look at. With the
    # paper's weight of the prior, latents are drawn with more noise than lips
    # move them. Dynamics alone, without pictures, make a step much shorter.
    config.loss.kl_weight = 1e-7
    config.loss.mouth_weight = 40.0
    config.loss.igc_weight = config.loss.l1_weight = 0.0
    # Regions that were found from little see half of a mouth's opening.
    config.loss.teacher_forcing = True
    config.data.min_zoom = 0.8
    config.batch_size = 8
    config.loss.window = min(96, config.resolution)
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 100
    config.total_steps = 6000
  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

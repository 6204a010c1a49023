"""Diffusion over the latents of all frames of a clip.

  python train.py --config=configs/diffusion.py --workdir=runs/diffusion
  python train.py --config=configs/diffusion.py:tiny --workdir=/tmp/diffusion

That is one stage; `configs/curriculum.py` has the two of DAWN, 'stage1' and
'stage2'. Settings of `base` are DAWN's at every resolution: Adam with
b2 = 0.99, 2e-4 to 1e-6, gradients of at most 2, colours that change, no
mirrored heads. It has them for 128 pixels, and published none for others. The
averaged weights are ours; the number of steps in one stage is a default.

Expected: `mini` is measured in MODEL_CARD.md. Of `base` no whole run was made.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(variant: str = 'base') -> ConfigDict:
  config = base.get_config('diffusion', variant)
  config.init_from.fde = 'runs/fde'
  config.init_from.lmae = 'runs/lmae'
  config.loss = dict(
    objective='noise',  # What is predicted; or 'velocity', 'flow'.
    noise_weight=1.0,  # 0: openings are learnt alone.
    x0_weight=0.15,  # Error of the clean latents, as DAWN.
    # Of predicted noise it is the error times 1 / SNR, at most times this.
    max_x0_factor=5.0,
    mouth_weight=0.15,  # The error in the cells that the mouth covers.
    # Of the opening that is predicted from sound; wants
    # model.denoiser.opening.
    opening_weight=0.0,
    teacher_forcing=False,  # Latents of the guide points' own regions.
    null_prob=0.1,  # Samples that learn without sound, pose and blink.
    null_per_frame=False,  # Frames do, as in DAWN's code.
    independent_levels=False,  # A noise level per frame, not per clip.
    clip=5.0,  # Sampling clips latents at these standard deviations.
    smoothing=0.0,  # Gaussian over time on what was sampled; in frames.
  )
  config.batch_size = 32
  config.optimizer.learning_rate = 2e-4

  if config.size == 'base':
    config.optimizer.b2 = 0.99
    config.optimizer.schedule = 'cosine'
    config.optimizer.final_rate = 1e-6
    config.optimizer.clip_norm = 2.0
    # DAWN: brightness, contrast and saturation by a quarter.
    config.data.color_jitter = 0.25
    config.data.flip = False
  if config.size == 'mini':
    # Where the noise is high, its error hardly tells whether conditions are
    # listened to, and that is where they matter.
    config.loss.objective = 'velocity'
    # What is heard is a few cells of 64.
    config.loss.mouth_weight = 3.0
    config.loss.opening_weight = 0.3
    config.loss.teacher_forcing = True  # As configs/lmae.py.
    config.loss.smoothing = 1.5  # Else heads shake; see MODEL_CARD.md.
    config.data.audio_jitter = 0.6
    config.data.max_lag = 4.0  # In frames: sound that is late teaches nothing.
    # An estimate of the pose knows the jaw; then the sound is not listened to.
    config.data.pose_smoothing = 3.0
    config.batch_size = 16
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 200
    config.total_steps = 20_000

  if config.size == 'tiny':
    config.batch_size = 2
    config.total_steps = 20
    config.log_every = 5
    config.eval_every = config.save_every = config.picture_every = 10
    config.eval_batches = 1
  return base.finish(config)

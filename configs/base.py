"""Every key of a training run, with its default.

A config is a Python function: `configs/<phase>.py::get_config(variant)` calls
`get_config` here and overrides what its phase needs. Keys are locked when
train.py loads them, so that a misspelt one is an error.

A variant is a comma-separated list of parts in any order: one size, one
resolution and any number of ablations, as in

  python train.py --config=configs/lmae.py:mini,256,d16 --workdir=runs/lmae
"""

from ml_collections import ConfigDict

from configs import curriculum, models
from mdcf_jax.errors import InputError
from mdcf_jax.models.sizes import resolution_multiple

SIZES = tuple(models.SIZES)
RESOLUTIONS = ('64', '128', '256', '512')
DEFAULT_RESOLUTION = {'base': 256, 'mini': 256, 'tiny': 64}


def _d16(config: ConfigDict) -> None:
  """Half as much spatial compression: z is H/16 x W/16."""
  config.model.lmae.features = tuple(config.model.lmae.features[:-1])


def _d8(config: ConfigDict) -> None:
  """Dynamics at H/8; LMAE halves once less, so that z stays as large."""
  config.model.fde.scale = 8
  config.model.lmae.features = tuple(config.model.lmae.features[:-1])


def _no_igc(config: ConfigDict) -> None:
  """No image-guided consistency: LMAE learns from its own error alone."""
  if 'igc_weight' in config.loss:
    # The L1 of decoded frames stands in for it where features are untrained.
    config.loss.igc_weight = config.loss.l1_weight = 0.0


def _no_tpc(config: ConfigDict) -> None:
  """No cascade: FDE and LMAE from scratch in one run, by equation 9."""
  _check_phase(config, 'no_tpc', 'lmae')
  config.phase = 'joint'
  config.init_from.fde = ''
  _unguided(config)
  config.loss.igc_weight = 1.0  # Nothing else teaches FDE to make frames.
  if config.size != 'base':
    config.loss.l1_weight = 5.0
  # What FDE's regions learn by in configs/fde.py, with the same weights.
  weights = {'base': (10.0, 0.0), 'mini': (0.0, 1.0), 'tiny': (1.0, 1.0)}
  equivariance, landmark = weights[config.size]
  config.loss.equivariance_weight = equivariance
  config.loss.landmark_weight = landmark
  # Gradients end at z: LMAE's decoder and FDE's generator alone learn on.
  config.loss.detach = False


def _vae(config: ConfigDict) -> None:
  """No dynamics: an auto-encoder of pictures, as small as z at H/32."""
  _check_phase(config, 'vae', 'lmae')
  if config.ablations != ('vae',):
    raise InputError(
      'the ablation vae has neither FDE nor LMAE; it goes with no other one'
    )
  config.phase = 'vae'
  config.init_from.fde = ''
  config.model.vae = ConfigDict(models.IMAGE_VAE[config.size])
  small = config.size != 'base'
  config.loss = ConfigDict(
    dict(
      perceptual_weight=1.0 if small else 10.0,  # As in configs/fde.py.
      l1_weight=10.0 if small else 0.0,
      mouth_weight=4.0 if small else 0.0,
      kl_weight=1e-4,
    )
  )


def _check_phase(config: ConfigDict, ablation: str, phase: str) -> None:
  """Raises InputError for an ablation that another phase's config has not."""
  if config.phase != phase:
    raise InputError(
      f'the ablation {ablation} belongs to configs/{phase}.py, not to '
      f'configs/{config.phase}.py'
    )


def _dawn(config: ConfigDict) -> None:
  """On top of DAWN's LFG instead of an FDE of ours: see docs/conversion.md."""
  config.model.fde = ConfigDict(models.DAWN_FDE)
  _unguided(config)


def _identity(config: ConfigDict) -> None:
  """No LMAE: DAWN's denoiser, of the dynamics themselves and as they are."""
  config.model.lmae = ConfigDict(dict(kind='identity'))
  config.model.denoiser.update(models.DAWN_DENOISER)
  # Grids and occlusions are in [-1, 1] already.
  config.calibration_batches = 0
  if 'objective' in config.loss:
    config.loss.objective = 'noise'
  _unguided(config)


def _unguided(config: ConfigDict) -> None:
  """Regions are those that were found; guide points are for ours."""
  if 'teacher_forcing' in config.loss:
    config.loss.teacher_forcing = False
  if 'opening_weight' in config.loss:
    config.loss.opening_weight = 0.0
  if 'opening' in config.model.denoiser:  # Of a source, regions tell it.
    config.model.denoiser.opening = False


# Rows of the paper's ablation table, and what else changes a finished config.
ABLATIONS = {
  'd8': _d8,
  'd16': _d16,
  'vae': _vae,
  'no_tpc': _no_tpc,
  'no_igc': _no_igc,
  'dawn': _dawn,
  'identity': _identity,
  'stage1': curriculum.stage1,
  'stage2': curriculum.stage2,
}

# What DAWN's epochs are of: about as many videos of HDTF are trained on, and
# an epoch of frame pairs has a hundred of each.
VIDEOS = 400
PAIRS = 100 * VIDEOS


def parse_variant(variant: str) -> tuple[str, int, tuple[str, ...]]:
  """Splits a variant string into (size, resolution, ablations).

  Raises:
    InputError: a part is unknown, or there are two sizes or resolutions.
  """
  parts = [part.strip() for part in variant.split(',') if part.strip()]
  for part in parts:
    if part not in (*SIZES, *RESOLUTIONS, *ABLATIONS):
      raise InputError(
        f'unknown part {part!r} of the variant {variant!r}: sizes are '
        f'{", ".join(SIZES)}; resolutions {", ".join(RESOLUTIONS)}; '
        f'ablations {", ".join(ABLATIONS)}'
      )
  sizes = [part for part in parts if part in SIZES]
  resolutions = [part for part in parts if part in RESOLUTIONS]
  if len(sizes) > 1 or len(resolutions) > 1:
    raise InputError(
      f'the variant {variant!r} names more than one '
      f'{"size" if len(sizes) > 1 else "resolution"}'
    )
  size = sizes[0] if sizes else 'base'
  resolution = int(resolutions[0]) if resolutions else DEFAULT_RESOLUTION[size]
  return size, resolution, tuple(p for p in ABLATIONS if p in parts)


def get_config(phase: str, variant: str = 'base') -> ConfigDict:
  """Returns the defaults of `phase` at the size and resolution of `variant`."""
  size, resolution, ablations = parse_variant(variant)
  config = ConfigDict()
  # fde, lmae, diffusion or pbnet; the ablations vae and no_tpc are phases too.
  config.phase = phase
  config.size = size  # base (the paper's), mini (the bundled), tiny (tests).
  config.resolution = resolution  # Pixels of a side; divisible by 32.
  config.ablations = ablations  # Names; what they change is applied already.

  config.model = ConfigDict(models.SIZES[size])  # Keywords of linen modules.
  config.audio_encoder = 'mel'  # Or hubert-base, hubert-large, as prepared.
  # Features of the perceptual loss: 'vgg19' (real weights) or 'random'
  # (seeded, untrained), and the safetensors file of the former.
  config.perceptual = 'vgg19' if size == 'base' else 'random'
  config.perceptual_weights = ''
  config.loss = ConfigDict()  # Weights of the terms; each phase sets its own.

  # Of activations and matrix products; parameters, norms, losses and
  # coordinates are float32 whatever this says. 'float32' or 'bfloat16'.
  config.dtype = 'bfloat16' if size == 'base' else 'float32'
  # What the backward pass computes again instead of keeping: 'none', or
  # 'blocks', the inside of every block of the networks.
  config.remat = 'none'
  config.seed = 0  # Of parameters, noise and the order of samples.
  config.batch_size = 8  # Over all devices.
  config.total_steps = 100_000
  config.ema_decay = 0.999  # Of the averaged weights that later phases use.
  config.calibration_batches = 16  # Of the one pass before the first step.
  config.log_every = 100  # Steps between scalars; they are means over these.
  config.eval_every = 1000  # Steps between validation losses; 0: never.
  config.eval_batches = 8  # Batches in one validation loss.
  config.picture_every = 1000  # Steps between pictures; 0: never.
  config.save_every = 1000  # Steps between checkpoints.
  config.keep_checkpoints = 2  # Older ones are deleted.
  config.overfit = 0  # The first so many batches again and again; 0: all.
  config.debug = False  # Looks at every loss, and for where a NaN comes from.
  config.profile = ''  # Steps to trace, as '100:105'; see docs/training.md.

  config.optimizer = _optimizer()
  config.data = _data(size)
  if size == 'mini':
    config.data.normalise = 'fixed'  # As the bundled weights.
  # Folder of an earlier phase: a run's workdir or a folder of packed weights.
  # `weights` is one that this phase itself starts from.
  config.init_from = ConfigDict(dict(fde='', lmae='', weights=''))
  # Devices: what is left over goes to the data axis.
  config.mesh = ConfigDict(dict(fsdp=1, frames=1))
  return config


def _optimizer() -> ConfigDict:
  """Returns the settings of AdamW."""
  optimizer = ConfigDict()
  optimizer.learning_rate = 1e-4
  optimizer.b1 = 0.9
  optimizer.b2 = 0.999
  optimizer.weight_decay = 0.0
  optimizer.warmup_steps = 0  # Linear, from 0.
  # Or 'cosine': to `final_rate` at total_steps.
  optimizer.schedule = 'constant'
  optimizer.final_rate = 0.0
  optimizer.clip_norm = 1.0  # Of the global gradient; 0: none.
  optimizer.accumulate = 1  # Parts of a batch, one after the other.
  # Modules whose parameters stay, as ('encoder',). Running statistics move.
  optimizer.frozen = ()
  return optimizer


def _data(size: str) -> ConfigDict:
  """Returns where samples come from and how they are drawn."""
  data = ConfigDict()
  data.dir = ''  # Output of `mdcf prepare`; '': synthetic heads, no files.
  data.latents = ''  # Folder of cached latents; '': encode the frames.
  data.cache_latents = False  # Write that folder before training starts.
  data.latent_sources = 4  # Frames of each clip that are sources in it.
  data.num_frames = 32  # T of a window: diffusion, pbnet.
  # Windows are from so many frames to num_frames long, drawn for each, the
  # rest is masked; 0: always num_frames.
  data.min_frames = 0
  data.source = 'first'  # Source of a window: 'first' frame or 'random'.
  # Frames of another size than `resolution` are scaled; False: an error.
  data.resize = size == 'tiny'
  data.swap = True  # Exchange source and driving half of the time.
  data.flip = True  # Mirror half of the samples, with boxes and pose.
  data.min_zoom = 0.5  # Smallest random square crop of a pair, of the side.
  data.color_jitter = 0.1  # Relative change of brightness, contrast, colour.
  # Units of pose and blink inside the models: 'dataset', the spread that they
  # have in `dir`, or 'fixed', the defaults of the modules.
  data.normalise = 'dataset'
  data.pose_smoothing = 0.0  # Of a window's poses, by a Gaussian; in frames.
  # Change of voice and microphone of log-mel; 1 is usual.
  data.audio_jitter = 0.0
  # Diffusion, PBNet: clips whose sound is surely off by more frames than that
  # are left out; what is looked for is at most 15.
  data.max_lag = 15.0
  data.balance_identities = True  # Draw the identity first, then the clip.
  data.keys = ()  # Arrays of a batch; (): those that the phase needs.
  data.num_threads = 4  # Threads that read and decode ahead.
  data.prefetch = 16  # Samples decoded ahead.
  data.cache_gb = 1.0  # Memory for clips as read (JPEG), the latest; 0: none.
  data.synthetic_clips = 16  # Without `dir`; validation has a quarter more.
  data.synthetic_frames = 50  # Frames of each of them.
  return data


def finish(config: ConfigDict) -> ConfigDict:
  """Applies the ablations; the last call of every phase's `get_config`."""
  for name in config.ablations:
    ABLATIONS[name](config)
  if config.size == 'base':
    _fit_denoiser(config)
  return config


def steps_of(epochs: int, samples: int, batch_size: int) -> int:
  """Returns the steps of so many epochs of `samples`."""
  return epochs * -(-samples // batch_size)


def _fit_denoiser(config: ConfigDict) -> None:
  """Leaves out the U-Net's upper levels where latents are small.

  At 128 pixels z is 4 x 4, not 8 x 8, and can be halved once less; the levels
  that stay are of the same sizes and widths.
  """
  side, model = config.resolution, config.model
  while (
    not side % resolution_multiple(model, ['lmae'])
    and side % resolution_multiple(model, ['diffusion'])
    and len(model.denoiser.dim_mults) > 1
  ):
    model.denoiser.dim_mults = tuple(model.denoiser.dim_mults[1:])

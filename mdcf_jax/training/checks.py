"""What a config must be, known before anything is read, written or compiled."""

import logging
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mdcf_jax import sharding
from mdcf_jax.data.pipeline import PAIR_PHASES
from mdcf_jax.data.records import AUDIO_ENCODERS
from mdcf_jax.errors import InputError
from mdcf_jax.models.sizes import has_weights, resolution_multiple
from mdcf_jax.models.vgg import FACTORS, VGG19_SMALLEST
from mdcf_jax.ops.objectives import OBJECTIVES
from mdcf_jax.training import normalisation, optimizer, tracing
from mdcf_jax.training.checkpoint import check_same

logger = logging.getLogger(__name__)

# Parts of a config that a resumed run cannot change.
FIXED = ('phase', 'resolution', 'audio_encoder', 'model', 'overfit')

# Of phases that have no file of their own.
_CONFIGS = {'vae': 'lmae.py:vae', 'joint': 'lmae.py:no_tpc'}

DTYPES = ('float32', 'bfloat16')
REMAT = ('none', 'blocks')

# In checkpoints from before there was such a setting.
_ABSENT = {'frozen': (), 'overfit': 0}

# Keys, what each must be, in words and as a function. NaN fails all of them.
_RULES: tuple[tuple[tuple[str, ...], str, Callable[[Any], bool]], ...] = (
  (
    (
      *('batch_size', 'total_steps', 'log_every', 'save_every', 'eval_batches'),
      *('keep_checkpoints', 'optimizer.accumulate', 'model.fde.num_regions'),
      *('data.num_frames', 'data.latent_sources'),
      *('data.synthetic_clips', 'data.synthetic_frames'),
    ),
    'at least 1',
    lambda x: x >= 1,
  ),
  (
    (
      *('eval_every', 'picture_every', 'calibration_batches', 'overfit'),
      *('optimizer.learning_rate', 'optimizer.weight_decay'),
      *('optimizer.final_rate', 'data.min_frames'),
      *('optimizer.warmup_steps', 'optimizer.clip_norm'),
      *('data.num_threads', 'data.prefetch', 'data.cache_gb'),
      *('data.pose_smoothing', 'data.max_lag'),
    ),
    'at least 0',
    lambda x: 0 <= x < math.inf,
  ),
  (
    ('ema_decay', 'optimizer.b1', 'optimizer.b2', 'data.color_jitter'),
    'at least 0 and below 1',
    lambda x: 0 <= x < 1,
  ),
  (('data.audio_jitter',), 'in 0 to 10', lambda x: 0 <= x <= 10),
  (
    ('optimizer.frozen',),
    'names of modules',
    lambda x: all(isinstance(name, str) for name in x),
  ),
  (('seed',), f'in 0 to {2**32 - 1}', lambda x: 0 <= x < 2**32),
  (
    ('model.fde.scale',),
    'a power of two',
    lambda x: x >= 1 and x.bit_count() == 1,
  ),
  (
    ('audio_encoder',),
    f'one of {", ".join(AUDIO_ENCODERS)}',
    AUDIO_ENCODERS.__contains__,
  ),
  (
    ('data.normalise',),
    f'one of {", ".join(normalisation.CHOICES)}',
    normalisation.CHOICES.__contains__,
  ),
  (('perceptual',), f'one of {", ".join(FACTORS)}', FACTORS.__contains__),
  (
    ('optimizer.schedule',),
    f'one of {", ".join(optimizer.SCHEDULES)}',
    optimizer.SCHEDULES.__contains__,
  ),
  (('dtype',), f'one of {", ".join(DTYPES)}', DTYPES.__contains__),
  (('remat',), f'one of {", ".join(REMAT)}', REMAT.__contains__),
)


def check_config(config: Any) -> None:
  """Raises InputError for what would fail much later and at greater length.

  Args:
    config: of configs/<phase>.py.
  """
  for keys, words, is_right in _RULES:
    for key in keys:
      value = _get(config, key)
      if not is_right(value):
        raise _wrong(key, value, words)
  tracing.parse_steps(config.profile)
  _check_devices(config)
  if config.data.cache_latents and config.phase != 'diffusion':
    words = f'False: {config.phase} has no use for latents'
    raise _wrong('data.cache_latents', True, words)
  if config.data.min_frames > config.data.num_frames:
    words = f'at most data.num_frames, {config.data.num_frames}'
    raise _wrong('data.min_frames', config.data.min_frames, words)
  if not has_weights(config.model, config.phase):
    raise InputError(
      f'the phase {config.phase!r} has nothing to learn in this model, whose '
      'latents are the dynamics themselves'
    )
  _check_loss(config)
  _check_resolution(config)
  if config.phase in PAIR_PHASES:
    _check_images(config)


def _check_devices(config: Any) -> None:
  """Examples and frames can be divided as the mesh wants."""
  settings = config.mesh
  data, fsdp, frames = sharding.mesh_shape(
    jax.device_count(), settings.fsdp, settings.frames
  )
  if data * fsdp % jax.process_count():
    words = (
      f'a divisor of the {jax.local_device_count()} device(s) of one process'
    )
    raise _wrong('mesh.frames', frames, words)
  parts = data * fsdp * config.optimizer.accumulate
  if config.batch_size % parts:
    words = (
      f'divisible by {parts}: {data * fsdp} groups of devices times '
      f'optimizer.accumulate={config.optimizer.accumulate}'
    )
    raise _wrong('batch_size', config.batch_size, words)
  length = config.data.num_frames
  if config.phase in ('diffusion', 'pbnet') and length % frames:
    words = f'divisible by config.mesh.frames={frames}'
    raise _wrong('data.num_frames', length, words)


def check_data(config: Any) -> None:
  """Checks that the dataset has frames of the size that the run wants.

  Raises:
    InputError: it has others, and the config does not say to scale them; or
      the dataset cannot be read.
  """
  data = config.data
  if not data.dir or data.resize or config.phase == 'pbnet':
    return
  height, width = _frame_size(data.dir)
  if (height, width) != (config.resolution, config.resolution):
    raise InputError(
      f'{data.dir} has frames of {width}x{height} and config.resolution is '
      f'{config.resolution}: change it, prepare the data anew, or set '
      'config.data.resize=True to scale them'
    )


def _frame_size(folder: str) -> tuple[int, int]:
  """Returns height and width of the frames of a dataset."""
  from mdcf_jax.data import builder, records

  source = builder.open_source(folder, builder.splits(folder)[0])
  frame = records.from_source(source[0])['frames'][0]
  image = records.open_jpeg(frame)
  return image.height, image.width


def _check_loss(config: Any) -> None:
  """Weights of terms are at least 0, and something is left to learn."""
  weights = {k: v for k, v in config.loss.items() if k.endswith('_weight')}
  for name, weight in weights.items():
    if not 0 <= weight < math.inf:
      raise _wrong(f'loss.{name}', weight, 'at least 0')
  objective = config.loss.get('objective', OBJECTIVES[0])
  if objective not in OBJECTIVES:
    raise _wrong('loss.objective', objective, f'one of {", ".join(OBJECTIVES)}')
  starts = config.init_from.weights or config.calibration_batches
  starts = starts or not config.loss.get('noise_weight', 1)
  if config.phase == 'diffusion' and not starts and _has_latents(config):
    words = 'at least 1 without config.init_from.weights: latents have no units'
    raise _wrong('calibration_batches', 0, words)
  total = ('noise_weight', 'opening_weight')  # Of the diffusion's two parts.
  if config.phase == 'diffusion' and not any(weights.get(x, 1) for x in total):
    raise InputError(
      f'config.loss: {" and ".join(total)} are 0, nothing would be learnt'
    )


def make_phase(config: Any) -> Any:
  """Returns the phase that `config` describes.

  Raises:
    InputError: there is no such phase, or the config is that of another.
  """
  from mdcf_jax.phases import PHASES

  if config.phase not in PHASES:
    raise _wrong('phase', config.phase, f'one of {", ".join(PHASES)}')
  try:
    return PHASES[config.phase].from_config(config)
  except InputError:
    raise
  except (LookupError, AttributeError, TypeError, ValueError) as error:
    reason = ' '.join(str(error).split())  # Hints have a line of their own.
    raise InputError(
      f'this config does not describe the phase {config.phase!r} ({reason}); '
      f'configs/{_CONFIGS.get(config.phase, f"{config.phase}.py")} does'
    ) from error


def check_workdir(workdir: str | pathlib.Path) -> None:
  """Raises InputError if a run cannot be kept there; makes nothing."""
  if not str(workdir):
    raise InputError('the workdir has no name')
  folder = pathlib.Path(workdir).absolute()
  there = next(path for path in (folder, *folder.parents) if path.exists())
  if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
    raise InputError(f'cannot write {workdir}: {there} is no writable folder')


def check_resumed(
  workdir: str | pathlib.Path, saved: Mapping[str, Any], config: Any
) -> None:
  """Checks that `config` can go on from a checkpoint.

  Args:
    workdir: folder of the run, for the message.
    saved: the config of the checkpoint, plain values.
    config: of this run.

  Raises:
    InputError: something that a checkpoint's arrays depend on was changed.
  """
  for name in FIXED:
    check_same(workdir, name, saved.get(name, _ABSENT.get(name)), config[name])
  # Runs from before there was a choice predict the noise.
  objective = saved.get('loss', {}).get('objective', OBJECTIVES[0])
  if 'objective' in config.loss:
    check_same(workdir, 'loss.objective', objective, config.loss.objective)
  before, now = saved.get('optimizer', {}), config.optimizer
  if before.get('accumulate', 1) > 1 and 'remat' not in saved:
    raise InputError(
      f'{workdir} was trained when optimizer.accumulate meant batches; its '
      'weights are still of use: config.init_from.weights of a new run'
    )
  for name, is_used in optimizer.PARTS.items():
    was = before.get(name, _ABSENT.get(name, now[name]))
    if is_used(was) != is_used(now[name]):
      check_same(workdir, f'optimizer.{name}', was, now[name])


def _has_latents(config: Any) -> bool:
  return has_weights(config.model, 'lmae')


def check_start(config: Any) -> None:
  """Checks the weights that a run starts from; their shapes come later.

  Raises:
    InputError: they are not there, or have learnt something else.
  """
  folder = config.init_from.weights
  if not folder:
    return
  found = normalisation.config_of(folder)
  trained = found.get('phases', {}).get(config.phase, {}).get('config', found)
  if 'objective' in config.loss:
    before = trained.get('loss', {}).get('objective', OBJECTIVES[0])
    check_same(folder, 'loss.objective', before, config.loss.objective)
  if config.phase in ('diffusion', 'pbnet'):
    encoder = found['audio_encoder']
    check_same(folder, 'audio_encoder', encoder, config.audio_encoder)


def _check_resolution(config: Any) -> None:
  """The side must be one that the networks can halve."""
  size = config.resolution
  multiple = math.lcm(32, resolution_multiple(config.model, [config.phase]))
  if size < 1 or size % multiple:
    words = f'positive and divisible by {multiple} for this model'
    raise _wrong('resolution', size, words)
  last = resolution_multiple(config.model, ['diffusion'])
  # An auto-encoder of pictures has no diffusion.
  if config.phase in ('fde', 'lmae', 'joint') and size % last:
    logger.warning(
      'resolution %d: the diffusion of this model takes multiples of %d',
      *(size, last),
    )


def _check_images(config: Any) -> None:
  """Losses of decoded images: their window, and the features they compare."""
  # An auto-encoder of pictures has no windows.
  window = config.loss.window if 'window' in config.loss else 0
  scale = config.model.fde.scale
  if not 0 <= window <= config.resolution or window % scale:
    words = (
      f'divisible by {scale} and at most the {config.resolution} of a side'
    )
    raise _wrong('loss.window', window, words)
  if config.perceptual != 'vgg19':
    return
  if (window or config.resolution) < VGG19_SMALLEST:
    raise InputError(
      f'config.perceptual=vgg19 takes images of {VGG19_SMALLEST} and more, and '
      f'this run decodes {window or config.resolution}; set it to random'
    )
  path = pathlib.Path(config.perceptual_weights)
  if not path.is_file() or path.suffix != '.safetensors':
    raise InputError(
      'this config needs the weights of VGG19: set config.perceptual_weights '
      f'to their safetensors file (now {str(config.perceptual_weights)!r}), '
      'or config.perceptual=random for untrained features'
    )


def _get(config: Any, key: str) -> Any:
  for part in key.split('.'):
    config = config[part]
  return config


def _wrong(key: str, value: Any, words: str) -> InputError:
  return InputError(f'config.{key} is {value!r}; it must be {words}')

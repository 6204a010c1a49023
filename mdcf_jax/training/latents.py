"""Latents of a whole dataset, computed once for all of the diffusion's steps.

The labels of the diffusion need the FDE on every frame, which costs far more
than the denoiser on latents. Here every clip is encoded with a few of its
frames as sources, and stored as `<id>.npz`: `source_index` `[J]`, `mean` and
`logvar` `[J, N, h, w, C]`, `features` `[J, H/4, W/4, C']` in float16.
`latents.json` says what made them: to other weights they are noise.
"""

import itertools
import json
import logging
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import jax
import numpy as np

from mdcf_jax import weights
from mdcf_jax.errors import InputError
from mdcf_jax.training import stopping

logger = logging.getLogger(__name__)

# A clip is cut into pieces of this length: one compilation, little memory.
PIECE = 64
# Smaller than this, a variance is lost in float16 anyway.
MIN_LOGVAR = -20.0
LABEL = 'latents.json'


def cache_latents(
  config: Any, frozen: Mapping[str, Any], stop: threading.Event
) -> None:
  """Writes the latents of every split to `config.data.latents`.

  Clips that have their file already are left alone, so an interrupted run goes
  on where it stopped. With several processes each takes its share, and all
  wait for each other.

  Args:
    config: of configs/diffusion.py.
    frozen: variables of FDE and LMAE, as phases take them, on the host: every
      process encodes other clips.
    stop: ends the work after the clip at hand.

  Raises:
    InputError: `config.data.dir` or `config.data.latents` is not set, or the
      latter cannot be written or was made differently.
    stopping.Stopped: `stop` was set.
  """
  from mdcf_jax.data import builder
  from mdcf_jax.data import records as clips
  from mdcf_jax.phases import PHASES

  data = config.data
  if not (data.latents and data.dir):
    raise InputError(
      'config.data.cache_latents reads config.data.dir and writes '
      'config.data.latents: set both'
    )
  phase = PHASES['diffusion'].from_config(config)
  label(config, frozen)
  frozen = jax.device_put(frozen, jax.local_devices()[0])
  for split in builder.splits(data.dir):
    source = builder.open_source(data.dir, split)
    share = range(jax.process_index(), len(source), jax.process_count())
    if jax.process_count() == 1:
      share = stopping.until(stop, share)
    else:  # None leaves the others waiting, see `_meet`.
      share = itertools.takewhile(lambda _: not stop.is_set(), share)
    share = (clips.from_source(source[i]) for i in share)
    spoken = (record for record in share if clips.has_audio(record))
    write_latents(
      phase,
      frozen,
      spoken,
      data.latents,
      config.resolution,
      data.latent_sources,
    )
  _meet(stop)


def _meet(stop: threading.Event) -> None:
  """Waits for all processes; raises Stopped on all if one was asked to stop."""
  if jax.process_count() == 1:
    return
  from jax.experimental import multihost_utils

  if np.any(multihost_utils.process_allgather(np.array(stop.is_set()))):
    raise stopping.Stopped


def label(config: Any, frozen: Mapping[str, Any]) -> None:
  """Writes what makes the latents of `config.data.latents`.

  Args:
    config: of configs/diffusion.py.
    frozen: variables of FDE and LMAE.

  Raises:
    InputError: the folder cannot be written, or see `check_label`.
  """
  folder = pathlib.Path(config.data.latents)
  _make(folder)
  check_label(config, frozen)
  if jax.process_index() == 0:
    text = json.dumps(_made_by(config, frozen)).encode()
    _write(folder / LABEL, lambda f: f.write(text))


def check_label(config: Any, frozen: Mapping[str, Any]) -> None:
  """Checks that the latents of `config.data.latents` are of these weights.

  Latents without a label, which nobody can check, are trusted with a warning.

  Raises:
    InputError: they were made differently.
  """
  folder = pathlib.Path(config.data.latents)
  try:
    found = json.loads((folder / LABEL).read_text(encoding='utf-8'))
  except FileNotFoundError:
    if any(folder.glob('*.npz')):
      logger.warning('%s: no %s; trusting these latents', folder, LABEL)
    return
  except (OSError, ValueError) as error:
    raise InputError(f'{folder / LABEL}: cannot be read ({error})') from error
  wanted = _made_by(config, frozen)
  if found != wanted:
    raise InputError(
      f'{folder}: its latents were made by {found}, this run needs {wanted}; '
      'name a new folder in config.data.latents, or delete that one'
    )


def _made_by(config: Any, frozen: Mapping[str, Any]) -> dict[str, Any]:
  """What the latents of a clip depend on."""
  return dict(
    weights=weights.fingerprint({k: frozen[k] for k in ('fde', 'lmae')}),
    resolution=config.resolution,
    latent_sources=config.data.latent_sources,
    teacher_forcing=config.loss.teacher_forcing,
  )


def write_latents(
  phase: Any,
  frozen: Mapping[str, Any],
  records: Iterable[Mapping[str, Any]],
  folder: str | os.PathLike,
  resolution: int,
  num_sources: int,
) -> int:
  """Writes the latents of clips and returns how many were not there yet.

  Args:
    phase: the DiffusionPhase that encodes.
    frozen: variables of FDE and LMAE.
    records: clips, see data/records.py.
    folder: made when absent.
    resolution: pixels of a side that the frames are encoded at.
    num_sources: J frames, evenly spaced from the first on, are sources.

  Raises:
    InputError: the folder cannot be written.
  """
  folder = pathlib.Path(folder)
  _make(folder)
  encode = jax.jit(phase.encode_source), jax.jit(phase.encode_clip)
  written = 0
  for record in records:
    path = folder / f'{record["id"]}.npz'
    if path.exists():
      continue
    arrays = encode_record(encode, frozen, record, resolution, num_sources)
    _write(path, lambda f, arrays=arrays: np.savez(f, **arrays))
    written += 1
    logger.info('latents of %s (%d)', record['id'], written)
  return written


def encode_record(
  encode: tuple[Any, Any],
  frozen: Mapping[str, Any],
  record: Mapping[str, Any],
  resolution: int,
  num_sources: int,
) -> dict[str, np.ndarray]:
  """Encodes one clip with each of its sources; see the module's docstring."""
  from mdcf_jax.data import frames

  total = len(record['frames'])
  sources = np.unique(np.arange(num_sources) * total // num_sources)
  source_images = frames.load_frames(record, sources, resolution)
  encode_source, encode_clip = encode
  features = [encode_source(frozen, source) for source in source_images]
  points = record['landmarks']
  pieces = []
  for first in range(0, total, PIECE):
    rows = np.minimum(np.arange(first, first + PIECE), total - 1)
    images = frames.load_frames(record, rows, resolution)
    moments = [
      encode_clip(frozen, image, images, points[i], points[rows])
      for i, image in zip(sources, source_images)
    ]
    pieces.append([np.stack(m) for m in zip(*jax.device_get(moments))])
  mean, logvar = (np.concatenate(x, axis=1)[:, :total] for x in zip(*pieces))
  return dict(
    source_index=sources.astype(np.int32),
    mean=mean.astype(np.float16),
    logvar=np.maximum(logvar, MIN_LOGVAR).astype(np.float16),
    features=np.stack(features).astype(np.float16),
  )


def _make(folder: pathlib.Path) -> None:
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(f'{folder}: cannot be made ({error})') from error


def _write(path: pathlib.Path, write: Callable[[BinaryIO], object]) -> None:
  """Writes a file whole or not at all."""
  partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
  try:
    with open(partial, 'wb') as f:
      write(f)
    os.replace(partial, path)
  except OSError as error:
    raise InputError(f'{path}: cannot be written ({error})') from error
  finally:
    partial.unlink(missing_ok=True)

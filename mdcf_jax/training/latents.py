"""Latents of a whole dataset, computed once for all of the diffusion's steps.

The labels of the diffusion need the FDE on every frame, which costs far more
than the denoiser on latents. Here every clip is encoded with a few of its
frames as sources, and stored as `<id>.npz`: `source_index` `[J]`, `mean` and
`logvar` `[J, N, h, w, C]`, `features` `[J, H/4, W/4, C']` in float16.
"""

import logging
import os
import pathlib
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mdcf_jax.errors import InputError
from mdcf_jax.training import stopping

logger = logging.getLogger(__name__)

# A clip is cut into pieces of this length: one compilation, little memory.
PIECE = 64
# Smaller than this, a variance is lost in float16 anyway.
MIN_LOGVAR = -20.0


def cache_latents(
  config: Any, frozen: Mapping[str, Any], stop: threading.Event
) -> None:
  """Writes the latents of every split to `config.data.latents`.

  Clips that have their file already are left alone, so an interrupted run goes
  on where it stopped. With several processes each takes its share, and all
  wait for each other.

  Args:
    config: of configs/diffusion.py.
    frozen: variables of FDE and LMAE, as phases take them.
    stop: ends the work after the clip at hand.

  Raises:
    InputError: `config.data.dir` or `config.data.latents` is not set, or the
      latter cannot be written.
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
  for split in builder.splits(data.dir):
    source = builder.open_source(data.dir, split)
    share = range(jax.process_index(), len(source), jax.process_count())
    share = (clips.from_source(source[i]) for i in stopping.until(stop, share))
    spoken = (record for record in share if clips.has_audio(record))
    write_latents(
      phase,
      frozen,
      spoken,
      data.latents,
      config.resolution,
      data.latent_sources,
    )
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices('latents are written')


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
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(f'{folder}: cannot be made ({error})') from error
  encode = jax.jit(phase.encode_source), jax.jit(phase.encode_clip)
  written = 0
  for record in records:
    path = folder / f'{record["id"]}.npz'
    if path.exists():
      continue
    _write(path, encode_record(encode, frozen, record, resolution, num_sources))
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
  from mdcf_jax.data import transforms

  total = len(record['frames'])
  sources = np.unique(np.arange(num_sources) * total // num_sources)
  source_images = transforms.load_frames(record, sources, resolution)
  encode_source, encode_clip = encode
  features = [encode_source(frozen, source) for source in source_images]
  pieces = []
  for first in range(0, total, PIECE):
    rows = np.arange(first, first + PIECE)
    images = transforms.load_frames(
      record, np.minimum(rows, total - 1), resolution
    )
    moments = [encode_clip(frozen, x, images) for x in source_images]
    pieces.append([np.stack(m) for m in zip(*jax.device_get(moments))])
  mean, logvar = (np.concatenate(x, axis=1)[:, :total] for x in zip(*pieces))
  return dict(
    source_index=sources.astype(np.int32),
    mean=mean.astype(np.float16),
    logvar=np.maximum(logvar, MIN_LOGVAR).astype(np.float16),
    features=np.stack(features).astype(np.float16),
  )


def _write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an npz whole or not at all."""
  partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
  try:
    with open(partial, 'wb') as f:
      np.savez(f, **arrays)
    os.replace(partial, path)
  except OSError as error:
    raise InputError(f'{path}: cannot be written ({error})') from error
  finally:
    partial.unlink(missing_ok=True)

"""The one data pipeline of all phases: records in, batches of a phase out.

`config.data` and its defaults (`configs/base.py` defines every key):

  DATA_DEFAULTS = dict(
    dir='',  # A prepared dataset; '' means synthetic clips made in memory.
    latents='',  # Folder of cached latents `<id>.npz`; '' encodes on the fly.
    num_frames=32,  # T of a window: diffusion, pbnet.
    min_frames=0,  # Of the shortest window, the rest is masked; 0: all are T.
    source='first',  # Source of a window: 'first' frame or 'random' of clip.
    swap=True,  # Exchange source and driving half of the time: fde, lmae.
    flip=True,  # Mirror half of the samples, with boxes, points and pose.
    min_zoom=0.5,  # Smallest random square crop, of the side: fde, lmae.
    color_jitter=0.1,  # Relative change of brightness, contrast, colour.
    pose_smoothing=0.0,  # Of windows, see `transforms.smooth`; in frames.
    audio_jitter=0.0,  # Change of voice and microphone of log-mel; usual: 1.
    max_lag=15.0,  # Of the sound in frames; clips beyond are left out.
    balance_identities=True,  # Draw the identity uniformly, then the clip.
    keys=(),  # Arrays of a batch; () means those that the phase needs.
    num_threads=4,  # Threads that read and decode ahead.
    prefetch=16,  # Samples decoded ahead.
    cache_gb=1.0,  # Memory for clips as read (JPEG), the latest ones; 0: none.
    synthetic_clips=16,  # Training clips when dir is ''; val has a quarter.
    synthetic_frames=50,  # Frames of each of them.
  )

Also read: `config.phase`, `config.resolution`, `config.batch_size` (of all
processes together), `config.seed`, `config.audio_encoder`.

The order of samples depends on the seed and the step alone: every process
draws the same global stream, sample i with a generator seeded by i, and takes
its block of every batch. Shuffling after that would give different samples for
different numbers of processes.
"""

import collections
import functools
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mdcf_jax.data import records, transforms
from mdcf_jax.errors import InputError

_PAIR = (
  'source',
  'driving',
  'source_landmarks',
  'driving_landmarks',
  'mouth_box',
)
_MOTION = ('audio_emb', 'pose', 'blink', 'frame_mask')
_SOURCE = (
  *('source', 'source_pose', 'source_blink', 'source_opening'),
  *('source_landmarks', 'face_box'),
)
_MOUTH = ('mouth_box', 'opening', 'landmarks')
# Phases that learn from two frames of a clip; the others from windows.
PAIR_PHASES = ('fde', 'lmae', 'vae', 'joint')
PHASE_KEYS = {
  **dict.fromkeys(PAIR_PHASES, _PAIR),
  'diffusion': (*_SOURCE, *_MOUTH, *_MOTION, 'video'),
  'pbnet': _MOTION,
}
Sample = dict[str, np.ndarray]
_NEXT = 'next_index'  # Of grain's state: samples taken.


def create_dataset(
  config: Any,
  split: str,
  *,
  seed: int | None = None,
  process_index: int | None = None,
  process_count: int | None = None,
  to_show: bool = False,
) -> 'Batches':
  """Returns an endless stream of batches.

  What is in a batch: `transforms.random_pair` (fde, lmae) or `random_window`
  (diffusion, pbnet). Augmentation is for training alone.

  Args:
    config: see above.
    split: 'train' or 'val'.
    seed: of order and augmentation; `config.seed` by default.
    process_index, process_count: this process; asked from JAX by default.
    to_show: add what people want to see and to hear beside what a phase made:
      for the diffusion `video` and `waveform`.

  Raises:
    InputError: the dataset, the split or usable clips in it are missing, or
      `config.data` has a value that cannot be.
  """
  import grain

  if process_index is None or process_count is None:
    process_index, process_count = _this_process()
  transform = make_transform(config, split, to_show)
  source, infos = _open(config, split)
  groups = group_clips(config, infos)

  def draw(group: np.ndarray, rng: np.random.Generator) -> Sample:
    index = int(group[rng.integers(len(group))])
    return transform(source[index], rng)

  mixed = _mix(config.seed if seed is None else seed, split)
  dataset = grain.MapDataset.source(groups).seed(mixed)
  dataset = dataset.shuffle().repeat().random_map(draw)
  dataset = _share(dataset, config.batch_size, process_index, process_count)
  ahead = grain.ReadOptions(config.data.num_threads, config.data.prefetch)
  stream = dataset.to_iter_dataset(ahead)
  stream = stream.batch(config.batch_size // process_count)
  return Batches(iter(stream), config.batch_size, process_count)


def _share(dataset: Any, batch_size: int, index: int, count: int) -> Any:
  """The samples of one process: its block of every batch.

  A batch of all processes is the same then, in the same order, however many
  there are.
  """
  import grain

  if count == 1:
    return dataset
  size = batch_size // count
  first = index * size
  # Sample j of the block of every batch, for each j, then these in turn.
  rows = [dataset[first + j :: batch_size] for j in range(size)]
  return grain.MapDataset.mix(rows)


class Batches:
  """An endless iterator over batches whose position can be kept.

  `next` gives a dict of float32 arrays `[batch_size / process_count, ...]`. The
  position counts the samples of all processes, so that another number of them
  can go on from it.
  """

  def __init__(self, stream: Any, batch_size: int, process_count: int):
    self._stream, self._batch_size = stream, batch_size
    self._process_count = process_count

  def __iter__(self) -> 'Batches':
    return self

  def __next__(self) -> Sample:
    return next(self._stream)

  def get_state(self) -> dict[str, int]:
    """The position, as plain values; what is read ahead does not count."""
    return {'samples': self._stream.get_state()[_NEXT] * self._process_count}

  def set_state(self, state: Mapping[str, int]) -> None:
    """Goes to where `get_state` was called, of this stream or one like it."""
    # Checkpoints of earlier versions have the position of one process.
    position = state.get(_NEXT)
    if position is None:
      samples = state['samples']
      if self._process_count > 1:  # Each has its block of whole batches.
        samples = -(-samples // self._batch_size) * self._batch_size
      position = samples // self._process_count
    self._stream.set_state({_NEXT: position})


def _this_process() -> tuple[int, int]:
  import jax  # Only here: the pipeline itself runs without devices.

  return jax.process_index(), jax.process_count()


def make_transform(
  config: Any, split: str, to_show: bool = False
) -> Callable[[dict[str, Any], np.random.Generator], Sample]:
  """Returns `(record, rng) -> sample` of the phase, with its keys alone."""
  data, phase = config.data, config.phase
  keys = batch_keys(config)
  if to_show and phase == 'diffusion':
    keys = tuple(dict.fromkeys((*keys, 'video', 'waveform')))
  augmentation = transforms.Augmentation()
  if split == 'train':
    augmentation = transforms.Augmentation(
      data.swap,
      data.flip,
      data.min_zoom,
      data.color_jitter,
      # Features of a speech model have no bands to change.
      data.audio_jitter if config.audio_encoder == 'mel' else 0.0,
    )

  def pair(record, rng):
    return transforms.random_pair(record, rng, config.resolution, augmentation)

  def window(record, rng):
    latents = None
    if data.latents and phase == 'diffusion':
      latents = transforms.load_latents(pathlib.Path(data.latents), record)
    return transforms.random_window(
      record,
      rng,
      config.resolution,
      data.num_frames,
      min_frames=data.min_frames,
      audio_encoder=config.audio_encoder,
      source=data.source,
      pictures=bool({'source', 'video'} & set(keys)),
      video='video' in keys,
      latents=latents,
      pose_smoothing=data.pose_smoothing,
      augmentation=augmentation,
    )

  make = pair if phase in PAIR_PHASES else window

  def transform(record, rng):
    sample = make(record, rng)
    # The name is for people: what a step has seen when it goes wrong.
    named = {'id': np.array(record['id'])} if 'id' in record else {}
    return {key: sample[key] for key in keys} | named

  return transform


def batch_keys(config: Any) -> tuple[str, ...]:
  """Names of the arrays in a batch; checks what the config asks for."""
  data = config.data
  if config.phase not in PHASE_KEYS:
    raise InputError(
      f'config.phase is {config.phase!r}; it must be one of '
      f'{", ".join(PHASE_KEYS)}'
    )
  if data.source not in ('first', 'random'):
    raise InputError(
      f"config.data.source is {data.source!r}; it must be 'first' or 'random'"
    )
  if not 0 < data.min_zoom <= 1:
    raise InputError(f'config.data.min_zoom is {data.min_zoom}; not in (0, 1]')
  needed = PHASE_KEYS[config.phase]
  if data.latents:
    cached = ('z_mean', 'z_logvar', 'source_features')
    needed = tuple(k for k in needed if k != 'video')
    needed += cached if config.phase == 'diffusion' else ()
  possible = set(needed) | set(
    (*_SOURCE, *_MOUTH, *_MOTION) if config.phase == 'pbnet' else ()
  )
  unknown = [key for key in data['keys'] if key not in possible]
  if unknown:
    raise InputError(
      f'config.data.keys: {config.phase} has no {", ".join(unknown)}; '
      f'it has {", ".join(sorted(possible))}'
    )
  return tuple(data['keys']) or needed


def group_clips(config: Any, infos: Sequence[Any]) -> list[np.ndarray]:
  """Divides the usable clips into groups that are drawn equally often.

  Returns:
    Arrays of indices into `infos`: those of one identity each, or single clips
    when `config.data.balance_identities` is off.

  Raises:
    InputError: no clip is of use for the phase.
  """
  needs_audio = config.phase in ('diffusion', 'pbnet')
  usable = [
    i
    for i, info in enumerate(infos)
    if not needs_audio
    or (info.has_audio and abs(info.lag) <= config.data.max_lag)
  ]
  if not usable:
    raise InputError(
      f'{config.data.dir}: no clip{" with sound" if needs_audio else ""} for '
      f'phase {config.phase}'
    )
  if not config.data.balance_identities:
    return [np.array([i]) for i in usable]
  people: dict[str, list[int]] = {}
  for i in usable:
    people.setdefault(infos[i].identity, []).append(i)
  return [np.array(people[name]) for name in sorted(people)]


class CachedClips:
  """Records of a data source, the latest ones kept in memory.

  Reading a clip costs more than decoding the two frames that a sample takes.
  """

  def __init__(self, source: Any, max_bytes: int):
    self._source, self._max_bytes = source, max_bytes
    self._records: collections.OrderedDict[int, tuple[dict, int]]
    self._records = collections.OrderedDict()
    self._size = 0
    self._lock = threading.Lock()  # Many threads draw samples.

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    with self._lock:
      if index in self._records:
        self._records.move_to_end(index)
        return self._records[index][0]
    record = records.from_source(self._source[index])
    size = sum(map(len, record['frames']))
    with self._lock:
      if index not in self._records and size <= self._max_bytes:
        self._records[index] = (record, size)
        self._size += size
      while self._size > self._max_bytes:
        self._size -= self._records.popitem(last=False)[1][1]
    return record


class SyntheticClips:
  """A data source of drawn clips, each made when first read."""

  def __init__(self, split: str, count: int, num_frames: int, resolution: int):
    # Other people than those of the other split.
    first = {'train': 0, 'val': 1_000_000}[split]
    self._seeds = range(first, first + count)
    self._shape = (num_frames, resolution)

  def __len__(self) -> int:
    return len(self._seeds)

  def __getitem__(self, index: int) -> dict[str, Any]:
    return _synthetic_clip(self._seeds[index], *self._shape)


@functools.lru_cache(maxsize=256)
def _synthetic_clip(seed: int, num_frames: int, resolution: int):
  from mdcf_jax.data import synthetic

  return synthetic.make_clip(seed, num_frames, resolution)


def _open(config: Any, split: str) -> tuple[Any, list[Any]]:
  """Returns the records of a split and what is known of each."""
  from mdcf_jax.data import builder

  data = config.data
  if data.dir:
    _check_audio(config, builder.audio_encoders(data.dir))
    source = builder.open_source(data.dir, split)
    infos = builder.read_index(data.dir, split)
    return CachedClips(source, int(data.cache_gb * 1e9)), infos
  _check_audio(config, ('mel',))
  if split not in ('train', 'val'):
    raise InputError(f'synthetic data has no split {split!r}')
  count = data.synthetic_clips
  count = max(1, count // 4) if split == 'val' else count
  source = SyntheticClips(
    split, count, data.synthetic_frames, config.resolution
  )
  infos = [
    builder.ClipInfo(str(i), f'{i:05d}', data.synthetic_frames, True)
    for i in range(count)
  ]
  return source, infos


def _check_audio(config: Any, encoders: Sequence[str]) -> None:
  """Raises InputError if the phase wants features that are not there."""
  wanted = config.audio_encoder
  if config.phase in ('diffusion', 'pbnet') and wanted not in encoders:
    raise InputError(
      f'{config.data.dir or "synthetic data"} has the audio features of '
      f'{", ".join(encoders)}; config.audio_encoder is {wanted} '
      '(mdcf prepare --hubert writes those of HuBERT)'
    )


def _mix(seed: int, split: str) -> int:
  """A seed in [0, 2**32) of its own for each split."""
  number = {'train': 0, 'val': 1}.get(split, 2)
  return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])

"""The tfds dataset `talking_heads`: prepared clips as array_record files.

Neither building nor reading imports TensorFlow.
"""

import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mdcf_jax.data import records
from mdcf_jax.errors import InputError, reading

FILE_FORMAT = 'array_record'
INDEX = 'index.json'


@dataclasses.dataclass(frozen=True)
class ClipInfo:
  """What drawing a sample needs to know of a clip that it does not read."""

  id: str
  identity: str
  num_frames: int
  has_audio: bool


def features(audio_dim: int) -> tfds.features.FeaturesDict:
  """The stored form of a record with `audio_emb [T, audio_dim]`."""
  text = tfds.features.Scalar(np.object_)
  shapes = {key: shape for key, (_, shape) in records.ARRAYS.items()}
  shapes['audio_emb'] = None, audio_dim
  arrays = {
    key: tfds.features.Tensor(shape=shapes[key], dtype=dtype)
    for key, (dtype, _) in records.ARRAYS.items()
  }
  return tfds.features.FeaturesDict(
    {
      # Bytes and not tfds images, so that reading a clip decodes no pixel.
      'frames': tfds.features.Sequence(text),
      **arrays,
      **{key: text for key in records.TEXT_KEYS},
      'fps': np.float32,
    }
  )


class TalkingHeads(tfds.core.GeneratorBasedBuilder):
  """Clips of talking heads: frames, sound, pose, blink, boxes, landmarks.

  Attributes:
    clips: for each split, the files that `records.save` wrote. Only needed to
      build; reading needs the folder alone.
    audio_dim: numbers of `audio_emb` per frame.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First.'}
  name = 'talking_heads'
  # tfds would look for a list of downloads beside this file, and for that
  # needs `importlib_resources`, which it does not install. There is none.
  code_path = None
  url_infos = None

  def __init__(
    self,
    *,
    clips: Mapping[str, Sequence[os.PathLike]] | None = None,
    audio_dim: int = records.AUDIO_ENCODERS['mel'],
    **kwargs: Any,
  ):
    self.clips = clips or {}
    self.audio_dim = audio_dim
    super().__init__(**(dict(file_format=FILE_FORMAT) | kwargs))

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      features=features(self.audio_dim),
      description='Talking heads, square, 25 fps, with 16 kHz speech.',
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(paths)
      for split, paths in self.clips.items()
    }

  def _generate_examples(
    self, paths: Sequence[os.PathLike]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
      record = records.load(path)
      yield record['id'], record


def build(
  clips: Mapping[str, Sequence[os.PathLike]], data_dir: str | os.PathLike
) -> pathlib.Path:
  """Writes a dataset and returns the folder that holds its files.

  Args:
    clips: for each split ('train', 'val') files written by `records.save`;
      a split without clips is left out.
    data_dir: a folder; the files go to `talking_heads/1.0.0` in it.

  Raises:
    InputError: there is no clip at all.
  """
  clips = {split: list(paths) for split, paths in clips.items() if paths}
  if not clips:
    raise InputError(f'{data_dir}: there are no clips to build a dataset of')
  first = records.load(next(iter(clips.values()))[0])
  audio_dim = first['audio_emb'].shape[1]
  with _quiet(), _temporary() as unused:
    builder = TalkingHeads(
      clips=clips, audio_dim=audio_dim, data_dir=os.fspath(data_dir)
    )
    builder.download_and_prepare(download_dir=unused)
  folder = pathlib.Path(os.fspath(builder.data_dir))
  write_index(folder)
  return folder


def write_index(folder: str | os.PathLike) -> None:
  """Writes `index.json` into a dataset: what `read_index` returns."""
  path = _find(pathlib.Path(folder)) / INDEX
  index = {
    split: [dataclasses.asdict(info) for info in _scan(path.parent, split)]
    for split in splits(path.parent)
  }
  partial = path.with_suffix('.partial')
  partial.write_text(json.dumps(index), encoding='utf-8')
  os.replace(partial, path)


def read_index(folder: str | os.PathLike, split: str) -> list[ClipInfo]:
  """What each clip of a split is, in the order of `open_source`.

  Drawing samples needs this of all clips, and reading them for it would take
  minutes; a dataset without the file is read all the same.
  """
  folder = _find(pathlib.Path(folder))
  path = folder / INDEX
  if not path.exists():
    return _scan(folder, split)
  with reading(path, 'delete it, and the dataset is read without it'):
    stored = json.loads(path.read_text(encoding='utf-8'))
    return [ClipInfo(**info) for info in stored[split]]


def _scan(folder: pathlib.Path, split: str) -> list[ClipInfo]:
  source = open_source(folder, split)
  infos = []
  for index in range(len(source)):
    record = records.from_source(source[index])
    infos.append(
      ClipInfo(
        record['id'],
        record['identity'],
        len(record['frames']),
        records.has_audio(record),
      )
    )
  return infos


class Records:
  """One split of a dataset: `len` and random access.

  Raises:
    InputError: from `[index]`, when the files are damaged.
  """

  def __init__(self, folder: pathlib.Path, split: str, source: Any):
    self._files = folder / f'{TalkingHeads.name}-{split}.{FILE_FORMAT}*'
    self._source = source

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    with reading(self._files):
      return self._source[index]


def splits(folder: str | os.PathLike) -> list[str]:
  """Names of the splits of a dataset; see `open_source`."""
  return list(_reader(_find(pathlib.Path(folder))).info.splits)


def open_source(folder: str | os.PathLike, split: str) -> Records:
  """Opens one split for random access.

  Args:
    folder: what `build` was given, or the folder that it returned.
    split: 'train' or 'val'.

  Raises:
    InputError: no such folder, dataset or split, or a damaged one.
  """
  folder = _find(pathlib.Path(folder))
  builder = _reader(folder)
  if split not in builder.info.splits:
    splits = ', '.join(builder.info.splits)
    raise InputError(f'{folder}: no split {split!r}; it has {splits}')
  with reading(folder):
    return Records(folder, split, builder.as_data_source(split=split))


def audio_dim(folder: str | os.PathLike) -> int:
  """Numbers of `audio_emb` per frame in a dataset; see `open_source`."""
  features = _reader(_find(pathlib.Path(folder))).info.features
  return features['audio_emb'].shape[-1]


def _reader(folder: pathlib.Path) -> tfds.core.DatasetBuilder:
  """The builder of a dataset that is there already."""
  with reading(folder / 'dataset_info.json'):
    return tfds.builder_from_directory(os.fspath(folder))


def _find(folder: pathlib.Path) -> pathlib.Path:
  """The folder with the files of the dataset, at or below `folder`."""
  if not folder.is_dir():
    raise InputError(f'{folder}: no such folder (data.dir)')
  found = sorted(folder.glob('dataset_info.json'))
  found = found or sorted(folder.glob('*/*/dataset_info.json'))
  if not found:
    raise InputError(
      f'{folder}: not a prepared dataset (no dataset_info.json); '
      'mdcf prepare makes one'
    )
  return found[-1].parent


@contextlib.contextmanager
def _temporary() -> Iterator[str]:
  """Yields a folder that takes what tfds makes in /tmp and leaves there."""
  before = tempfile.tempdir
  with tempfile.TemporaryDirectory() as folder:
    tempfile.tempdir = folder
    try:
      yield folder
    finally:
      tempfile.tempdir = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps tfds from printing to stdout and drawing its own bars."""
  shown = tfds.display_progress_bar
  level = logging.getLogger().level
  shown(False)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    shown(True)
    logging.getLogger().setLevel(level)
    sys.stdout.flush()

"""Small clips, and stand-ins for networks: nothing here is a score."""

import dataclasses
import io

import numpy as np

from mdcf_jax.evaluation import run
from mdcf_jax.evaluation.cache import Cache
from mdcf_jax.evaluation.clips import find_items
from mdcf_jax.evaluation.context import Context
from mdcf_jax.media.video import VideoWriter
from mdcf_jax.metrics.protocol import v1
from tests.metrics import face_tracks, pictures

SIZE = 64
PROTOCOL = dataclasses.replace(v1, name='small', size=SIZE)
SAMPLES = 640  # Of a frame.


class StandIns:
  """In the place of `Networks`: simple numbers in the place of features."""

  face_model = 'a stand-in'
  missing: tuple[str, ...] = ()

  def describe(self, name):
    if name in self.missing:
      from mdcf_jax.errors import InputError

      raise InputError(f'no {name} weights')
    return {'sha256': f'of {name}'}

  def key(self, name):
    return self.describe(name)['sha256']

  def variables(self, name):
    return name

  @property
  def sync_embedder(self):
    return embed

  class arcface:  # noqa: N801 - an attribute of `Networks`.
    sha256 = 'of arcface'

    def __new__(cls, crops):
      return np.ones((len(crops), 4)) / 2


def embed(crops, coefficients, count):
  """Brightness of five frames, and loudness of the sound of the same time."""
  light = crops.mean(axis=(1, 2, 3))
  loud = np.exp(coefficients[:, 0]) ** 0.5
  loud = np.array([loud[4 * i : 4 * i + 4].mean() for i in range(count + 4)])
  normal = lambda x: (x - x[: count + 4].mean()) / x[: count + 4].std()
  return tuple(
    np.stack([normal(x)[i : i + 5] for i in range(count)])
    for x in (light, loud)
  )


def features(variables, frames, **options):
  """Means of colour and of changes along x, in the place of a network's."""
  x = frames.astype(np.float64)
  change = np.abs(np.diff(x, axis=2)).mean(axis=(1, 2))
  return np.concatenate([x.mean(axis=(1, 2)), change], axis=1)


def windows(variables, frames, length, **options):
  """As `features`, of windows."""
  count = len(frames) // length
  found = features(variables, frames)[: count * length]
  return found.reshape(count, length, -1).mean(axis=1)


def track(frames, *args, **options):
  """A face whose mouth opens with the brightness of the picture."""
  light = np.array([frame.mean() for frame in frames]) / 255
  return face_tracks.track(0.1 * light)


def stand_in(monkeypatch):
  """Networks, the detector of faces and their names replaced."""
  from mdcf_jax.media import faces
  from mdcf_jax.metrics import fid, fvd

  monkeypatch.setattr(fid, 'inception_features', features)
  monkeypatch.setattr(fvd, 'i3d_features', windows)
  monkeypatch.setattr(faces, 'track_faces', track)


def flicker(count: int, seed: int = 0) -> np.ndarray:
  """`[count]` in [0.1, 1], at random."""
  return np.random.default_rng(seed).uniform(0.1, 1, count)


def sound(loudness: np.ndarray, seed: int = 0) -> np.ndarray:
  """Noise that is as loud as `loudness [T]` says, 16 kHz."""
  noise = np.random.default_rng(seed).normal(size=len(loudness) * SAMPLES)
  return np.float32(0.1 * noise * np.repeat(loudness, SAMPLES))


def lit(light: np.ndarray) -> np.ndarray:
  """Moving spots, as bright as `light [T]` says."""
  frames = pictures.frames(len(light), SIZE)
  return np.uint8(frames * np.asarray(light)[:, None, None, None])


def write(path, frames, waveform=None, crf=10):
  """A clip on disk."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with VideoWriter(path, frames.shape[1:3], waveform=waveform, crf=crf) as file:
    for frame in frames:
      file.write(frame)
  return path


def jpeg(frames: np.ndarray, quality: int) -> np.ndarray:
  """Frames through JPEG."""
  from PIL import Image

  out = []
  for frame in frames:
    content = io.BytesIO()
    Image.fromarray(frame).save(content, 'jpeg', quality=quality)
    out.append(np.asarray(Image.open(content)))
  return np.stack(out)


def evaluate(
  real, fake, names, *, networks=None, cache=None, paired=True, shard=(0, 1)
):
  """The part of an evaluation of two folders."""
  context = Context(PROTOCOL, networks or StandIns(), Cache(cache))
  index, count = shard
  metrics, header = run.plan(context, names, paired=paired, shards=count)
  items = find_items(real, fake, paired)[index::count]
  return run.evaluate(context, metrics, header, items, index)

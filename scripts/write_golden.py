"""Writes what the tests compare with where there is no PyTorch.

  python scripts/write_golden.py --output tests/golden

or, of some files alone,

  python scripts/write_golden.py --output tests/golden --only raft lpips

needs torch, transformers (Apache-2.0), python_speech_features and OpenCV for
Python. Weights are random; nothing in the files is anybody's trained weights
or recording.
"""

import argparse
import pathlib
import sys

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mdcf_jax.convert import i3d as i3d_names  # noqa: E402
from mdcf_jax.convert import inception as inception_names  # noqa: E402
from mdcf_jax.convert import lpips as lpips_names  # noqa: E402
from mdcf_jax.convert import raft as raft_names  # noqa: E402
from tests import (  # noqa: E402
  random_networks,
  torch_i3d,
  torch_inception,
  torch_lpips,
  torch_models,
  torch_raft,
  torch_syncnet,
)
from tests.random_tensors import random_images, random_tensors  # noqa: E402


def hubert() -> dict[str, np.ndarray]:
  """State dicts, a waveform, and last hidden states of both kinds."""
  from transformers import Wav2Vec2FeatureExtractor

  rng = np.random.RandomState(0)
  waveform = (0.05 + 0.1 * rng.randn(4133)).astype(np.float32)
  extract = Wav2Vec2FeatureExtractor(do_normalize=True)
  values = extract(waveform, sampling_rate=16000, return_tensors='pt')
  arrays = {'waveform': waveform}
  for norm in ('group', 'layer'):
    model = torch_models.hubert(norm, **torch_models.TINY_HUBERT)
    with torch.no_grad():
      out = model(values.input_values).last_hidden_state
    arrays[f'{norm}/out'] = out.numpy()
    for name, x in model.state_dict().items():
      arrays[f'{norm}/weights/{name}'] = x.numpy()
  return arrays


def vgg19() -> dict[str, np.ndarray]:
  """Features of an image, and distances of pairs of images.

  The weights are those of `tests.random_vgg`. Of the wide features there are
  the first eight channels.
  """
  rng = np.random.RandomState(1)
  model = torch_models.vgg19()
  image = rng.rand(1, 3, 32, 32).astype(np.float32)
  # What NumPy draws is the same anywhere, so pairs are drawn in the test.
  pair = torch.from_numpy(rng.rand(2, 1, 3, 128, 128).astype(np.float32))
  arrays = {'image': image}
  with torch.no_grad():
    for i, x in enumerate(model(torch.from_numpy(image)), start=1):
      arrays[f'relu{i}_1'] = x[:, :8].numpy()
    loss = torch_models.perceptual_loss(model, pair[0], pair[1])
    arrays['loss'] = loss.numpy()
  return arrays


def inception() -> dict[str, np.ndarray]:
  """Features of frames; both these and weights are `random_networks`'."""
  model = torch_inception.inception(
    random_networks.random_weights(inception_names)
  )
  frames = random_networks.random_frames(3, 40, 56)
  return {'features': torch_inception.features(model, frames)}


def i3d() -> dict[str, np.ndarray]:
  """Features of two windows of small frames, as `inception`."""
  model = torch_i3d.i3d(random_networks.random_weights(i3d_names))
  frames = random_networks.random_frames(21, 64, 64)
  windows = np.stack([frames[:10], frames[10:20]])
  return {'features': torch_i3d.features(model, windows)}


def syncnet() -> dict[str, np.ndarray]:
  """Embeddings of SyncNet with the weights of `tests.random_syncnet`."""
  rng = np.random.RandomState(2)
  video = rng.randint(0, 256, (1, 5, 224, 224, 3)).astype(np.float32)
  mfcc = (10 * rng.randn(1, 20, 13)).astype(np.float32)
  model = torch_syncnet.with_random_weights(torch_syncnet.SyncNet())
  with torch.no_grad():
    outputs = model(*torch_syncnet.inputs(video, mfcc))
  return dict(zip(('video', 'audio'), (x.numpy() for x in outputs)))


def s3fd() -> dict[str, np.ndarray]:
  """Scores and offsets of S3FD with the weights of `tests.random_syncnet`."""
  image = np.random.RandomState(4).uniform(-120, 130, (1, 3, 43, 64))
  model = torch_syncnet.with_random_weights(torch_syncnet.S3FD())
  arrays = {}
  with torch.no_grad():
    outputs = model(torch.from_numpy(image.astype(np.float32)))
  for i, (scores, offsets) in enumerate(outputs):
    arrays[f'scores_{i}'] = scores.numpy()
    arrays[f'offsets_{i}'] = offsets.numpy()
  return arrays


def sound_and_pictures() -> dict[str, np.ndarray]:
  """Coefficients of a sound, and a picture that OpenCV resized.

  What goes in is what NumPy draws in the tests.
  """
  import cv2
  import python_speech_features

  rng = np.random.RandomState(3)
  sound = (3000 * rng.randn(3001)).astype(np.int16)
  image = rng.randint(0, 256, (31, 45, 3)).astype(np.uint8)
  return {
    'mfcc': python_speech_features.mfcc(sound, 16000),
    'smaller': cv2.resize(image, (13, 17)),
    'larger': cv2.resize(image, (50, 40)),
    'quarter': cv2.resize(image, (0, 0), fx=0.25, fy=0.25),
  }


def raft() -> dict[str, np.ndarray]:
  """Every third pixel of the flow of two images, after two iterations.

  Weights and images are those of `tests.random_tensors`.
  """
  images = np.moveaxis(random_images(2, 128), -1, 1).astype(np.float32)
  arrays = {}
  for size in ('small', 'large'):
    weights = random_tensors(raft_names.table(size), raft_names.shapes(size))
    model = torch_raft.raft(size, weights)
    pair = (torch.from_numpy(images[:1]), torch.from_numpy(images[1:]))
    with torch.no_grad():
      flow = model(*pair, iterations=2).numpy()
    arrays[size] = np.moveaxis(flow, 1, -1)[:, ::3, ::3]
  return arrays


def lpips() -> dict[str, np.ndarray]:
  """Distances of two pairs of images of `tests.random_tensors`."""
  images = np.moveaxis(random_images(4, 64), -1, 1).astype(np.float32)
  planes = torch.from_numpy(images / np.float32(127.5) - 1)
  arrays = {}
  for net in ('alex', 'vgg16'):
    weights = random_tensors(lpips_names.table(net), lpips_names.shapes(net))
    model = torch_lpips.lpips(net, weights)
    with torch.no_grad():
      arrays[net] = model(planes[:2], planes[2:]).numpy()
  return arrays


MAKERS = (
  hubert,
  vgg19,
  inception,
  i3d,
  raft,
  lpips,
  syncnet,
  s3fd,
  sound_and_pictures,
)
FILES = {make.__name__: make for make in MAKERS}


def main() -> None:
  """Writes all files, or those that are asked for."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', default='tests/golden', type=pathlib.Path)
  parser.add_argument('--only', nargs='+', choices=FILES, default=list(FILES))
  args = parser.parse_args()
  args.output.mkdir(parents=True, exist_ok=True)
  torch.set_num_threads(1)
  for name in args.only:
    path = args.output / f'{name}.npz'
    np.savez_compressed(path, **FILES[name]())
    print(f'{path}: {path.stat().st_size} bytes')


if __name__ == '__main__':
  main()

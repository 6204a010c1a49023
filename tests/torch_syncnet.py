"""SyncNet and S3FD in PyTorch with the public names, to compare with.

Written to the architectures of github.com/joonson/syncnet_python
(SyncNetModel.py, detectors/s3fd/nets.py).
"""

import numpy as np
import torch
from torch import nn

from tests.random_syncnet import random_weights


def _tower(conv, norm, pool, plan):
  """A Sequential of (channels, kernel, stride, padding, pooling)."""
  layers = []
  for channels, width, kernel, stride, padding, pooling in plan:
    layers += [
      conv(channels, width, kernel, stride, padding),
      norm(width),
      nn.ReLU(),
    ]
    if pooling:
      layers.append(pool(*pooling))
  return nn.Sequential(*layers)


def _head():
  return nn.Sequential(
    nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024)
  )


# Of each layer: channels in and out, kernel, stride, padding; kernel, stride
# and padding of the pooling after it.
AUDIO = (
  (1, 64, 3, 1, 1, (1, 1)),
  (64, 192, 3, 1, 1, (3, (1, 2))),
  (192, 384, 3, 1, 1, None),
  (384, 256, 3, 1, 1, None),
  (256, 256, 3, 1, 1, (3, 2)),
  (256, 512, (5, 4), 1, 0, None),
)
_HALF = (1, 2, 2)
VIDEO = (
  (3, 96, (5, 7, 7), _HALF, 0, ((1, 3, 3), _HALF)),
  (96, 256, (1, 5, 5), _HALF, (0, 1, 1), ((1, 3, 3), _HALF, (0, 1, 1))),
  (256, 256, (1, 3, 3), 1, (0, 1, 1), None),
  (256, 256, (1, 3, 3), 1, (0, 1, 1), None),
  (256, 256, (1, 3, 3), 1, (0, 1, 1), ((1, 3, 3), _HALF)),
  (256, 512, (1, 6, 6), 1, 0, None),
)


class SyncNet(nn.Module):
  """The public class S."""

  def __init__(self):
    super().__init__()
    self.netcnnaud = _tower(nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, AUDIO)
    self.netfcaud = _head()
    self.netfclip = _head()
    self.netcnnlip = _tower(nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, VIDEO)

  def forward(self, video, mfcc):
    """Maps `[B, 3, 5, 224, 224]` and `[B, 1, 13, 20]` to two `[B, 1024]`."""
    return (
      self.netfclip(self.netcnnlip(video).flatten(1)),
      self.netfcaud(self.netcnnaud(mfcc).flatten(1)),
    )


def inputs(video, mfcc) -> tuple[torch.Tensor, torch.Tensor]:
  """Ours, `[B, 5, H, W, 3]` and `[B, 20, 13]`, in the axes of `SyncNet`."""
  video = np.ascontiguousarray(np.moveaxis(video, -1, 1))
  mfcc = np.ascontiguousarray(np.swapaxes(mfcc, 1, 2)[:, None])
  return torch.from_numpy(video), torch.from_numpy(mfcc)


def with_random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
  """Loads what `random_weights` draws for the names and shapes of `model`."""
  shapes = {
    name: tuple(x.shape)
    for name, x in model.state_dict().items()
    if not name.endswith('num_batches_tracked')
  }
  arrays = random_weights(shapes, seed)
  state = {name: torch.from_numpy(x) for name, x in arrays.items()}
  result = model.load_state_dict(state, strict=False)
  assert not result.unexpected_keys
  assert all(k.endswith('num_batches_tracked') for k in result.missing_keys)
  return model.eval()


class _Length(nn.Module):
  """The public L2Norm."""

  def __init__(self, channels):
    super().__init__()
    self.weight = nn.Parameter(torch.ones(channels))

  def forward(self, x):
    length = x.square().sum(1, keepdim=True).sqrt() + 1e-10
    return self.weight[:, None, None] * x / length


class S3FD(nn.Module):
  """The public S3FDNet, up to its scores and offsets."""

  def __init__(self):
    super().__init__()
    layers, channels = [], 3
    for block, widths in enumerate(
      ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
    ):
      for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
      layers.append(nn.MaxPool2d(2, 2, ceil_mode=block == 2))
    layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU()]
    layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU()]
    self.vgg = nn.ModuleList(layers)
    self.L2Norm3_3 = _Length(256)
    self.L2Norm4_3 = _Length(512)
    self.L2Norm5_3 = _Length(512)
    self.extras = nn.ModuleList(
      [
        nn.Conv2d(1024, 256, 1),
        nn.Conv2d(256, 512, 3, 2, padding=1),
        nn.Conv2d(512, 128, 1),
        nn.Conv2d(128, 256, 3, 2, padding=1),
      ]
    )
    widths = (256, 512, 512, 1024, 512, 256)
    self.loc = nn.ModuleList(nn.Conv2d(w, 4, 3, padding=1) for w in widths)
    self.conf = nn.ModuleList(
      nn.Conv2d(w, 2 if i else 4, 3, padding=1) for i, w in enumerate(widths)
    )

  def forward(self, x):
    """Maps `[B, 3, H, W]` to six pairs `[B, 2, h, w]` and `[B, 4, h, w]`."""
    features = []
    for i, layer in enumerate(self.vgg):
      x = layer(x)
      if i in (15, 22, 29):
        block = {15: 3, 22: 4, 29: 5}[i]
        features.append(getattr(self, f'L2Norm{block}_3')(x))
    features.append(x)
    for i, layer in enumerate(self.extras):
      x = layer(x).relu()
      if i % 2:
        features.append(x)
    outputs = []
    for x, loc, conf in zip(features, self.loc, self.conf):
      scores = conf(x)
      if scores.shape[1] == 4:
        nothing = scores[:, :3].max(1, keepdim=True).values
        scores = torch.cat([nothing, scores[:, 3:]], 1)
      outputs.append((scores, loc(x)))
    return outputs

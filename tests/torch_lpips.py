"""LPIPS v0.1 in PyTorch, for tests that compare.

Written from the paper (Zhang et al. 2018) and a reading of the public source
(github.com/richzhang/PerceptualSimilarity, lpips/, BSD-2-Clause; torchvision's
models/alexnet.py and vgg.py). Names are torchvision's, and `lin0.model.1`.
"""

import torch
from torch import nn

VGG16_PLAN = '64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M'
# Of the features among the layers of the trunk.
OUTPUTS = {'alex': (1, 4, 7, 9, 11), 'vgg16': (3, 8, 15, 22, 29)}
WIDTHS = {
  'alex': (64, 192, 384, 256, 256),
  'vgg16': (64, 128, 256, 512, 512),
}


def alexnet() -> nn.Sequential:
  return nn.Sequential(
    nn.Conv2d(3, 64, 11, stride=4, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(3, 2),
    nn.Conv2d(64, 192, 5, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(3, 2),
    nn.Conv2d(192, 384, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(384, 256, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(256, 256, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(3, 2),
  )


def vgg16() -> nn.Sequential:
  layers, channels = [], 3
  for width in VGG16_PLAN.split():
    if width == 'M':
      layers.append(nn.MaxPool2d(2))
      continue
    layers += [nn.Conv2d(channels, int(width), 3, padding=1), nn.ReLU()]
    channels = int(width)
  return nn.Sequential(*layers)


class Lin(nn.Module):
  def __init__(self, width):
    super().__init__()
    conv = nn.Conv2d(width, 1, 1, bias=False)
    self.model = nn.Sequential(nn.Dropout(), conv)


class LPIPS(nn.Module):
  """`forward` maps two batches `[B, 3, H, W]` in [-1, 1] to `[B]`."""

  def __init__(self, net):
    super().__init__()
    self.features = alexnet() if net == 'alex' else vgg16()
    self.outputs = OUTPUTS[net]
    for i, width in enumerate(WIDTHS[net]):
      setattr(self, f'lin{i}', Lin(width))

  def _units(self, x):
    shift = torch.tensor((-0.030, -0.088, -0.188)).view(3, 1, 1)
    scale = torch.tensor((0.458, 0.448, 0.450)).view(3, 1, 1)
    x = (x - shift) / scale
    for i, layer in enumerate(self.features[: self.outputs[-1] + 1]):
      x = layer(x)
      if i in self.outputs:
        yield x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)

  def forward(self, pred, target):
    total = 0.0
    for i, (a, b) in enumerate(zip(self._units(pred), self._units(target))):
      lin = getattr(self, f'lin{i}').model
      total = total + lin((a - b) ** 2).mean((1, 2, 3))
    return total


def lpips(net: str, weights) -> LPIPS:
  """LPIPS with weights by public names, all of them."""
  model = LPIPS(net).eval()
  model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
  return model

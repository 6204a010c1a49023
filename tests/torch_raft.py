"""RAFT in PyTorch with the names of princeton-vl, for tests that compare.

Written from the paper (Teed and Deng 2020) and a reading of the public source
(github.com/princeton-vl/RAFT, core/, BSD-3-Clause); evaluation only.
"""

import torch
from torch import nn
from torch.nn import functional as F

NORMS = {
  'instance': nn.InstanceNorm2d,
  'batch': nn.BatchNorm2d,
  'none': lambda channels: nn.Identity(),
}


def conv(inputs, outputs, kernel, stride=1):
  sides = (kernel, kernel) if isinstance(kernel, int) else kernel
  padding = tuple(side // 2 for side in sides)
  return nn.Conv2d(inputs, outputs, sides, stride, padding)


class Block(nn.Module):
  """Two convolutions, or three with a narrow middle, beside a skip."""

  def __init__(self, inputs, outputs, norm, stride, bottleneck):
    super().__init__()
    layers = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
    if bottleneck:
      width = outputs // 4
      layers = [(inputs, width, 1, 1), (width, width, 3, stride)]
      layers.append((width, outputs, 1, 1))
    self.count = len(layers)
    for i, layer in enumerate(layers, start=1):
      setattr(self, f'conv{i}', conv(*layer))
      setattr(self, f'norm{i}', NORMS[norm](layer[1]))
    self.downsample = None
    if stride > 1:
      last = NORMS[norm](outputs)  # Has two names in the public state dict.
      setattr(self, f'norm{self.count + 1}', last)
      skip = conv(inputs, outputs, 1, stride)
      self.downsample = nn.Sequential(skip, last)

  def forward(self, x):
    h = x
    for i in range(1, self.count + 1):
      h = getattr(self, f'norm{i}')(getattr(self, f'conv{i}')(h)).relu()
    return ((x if self.downsample is None else self.downsample(x)) + h).relu()


class Encoder(nn.Module):
  def __init__(self, widths, outputs, norm, bottleneck):
    super().__init__()
    self.conv1 = conv(3, widths[0], 7, 2)
    self.norm1 = NORMS[norm](widths[0])
    inputs = widths[0]
    for i, width in enumerate(widths, start=1):
      first = Block(inputs, width, norm, 1 if i == 1 else 2, bottleneck)
      second = Block(width, width, norm, 1, bottleneck)
      setattr(self, f'layer{i}', nn.Sequential(first, second))
      inputs = width
    self.conv2 = conv(inputs, outputs, 1)

  def forward(self, x):
    x = self.norm1(self.conv1(x)).relu()
    return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class MotionEncoder(nn.Module):
  def __init__(self, planes, correlation, flow, outputs):
    super().__init__()
    self.convc1 = conv(planes, correlation[0], 1)
    self.convc2 = None
    if len(correlation) > 1:
      self.convc2 = conv(*correlation, 3)
    self.convf1 = conv(2, flow[0], 7)
    self.convf2 = conv(*flow, 3)
    self.conv = conv(correlation[-1] + flow[-1], outputs - 2, 3)

  def forward(self, flow, windows):
    c = self.convc1(windows).relu()
    if self.convc2 is not None:
      c = self.convc2(c).relu()
    f = self.convf2(self.convf1(flow).relu()).relu()
    return torch.cat([self.conv(torch.cat([c, f], 1)).relu(), flow], 1)


class GRU(nn.Module):
  """One unit without a number, or one for rows and one for columns."""

  def __init__(self, hidden, inputs, kernels):
    super().__init__()
    self.numbers = ('',) if len(kernels) == 1 else ('1', '2')
    for number, kernel in zip(self.numbers, kernels):
      for gate in 'zrq':
        layer = conv(hidden + inputs, hidden, kernel)
        setattr(self, f'conv{gate}{number}', layer)

  def forward(self, h, x):
    for number in self.numbers:
      z, r, q = (getattr(self, f'conv{gate}{number}') for gate in 'zrq')
      hx = torch.cat([h, x], 1)
      keep = z(hx).sigmoid()
      new = q(torch.cat([r(hx).sigmoid() * h, x], 1)).tanh()
      h = h + keep * (new - h)
    return h


class FlowHead(nn.Module):
  def __init__(self, inputs, hidden):
    super().__init__()
    self.conv1 = conv(inputs, hidden, 3)
    self.conv2 = conv(hidden, 2, 3)

  def forward(self, x):
    return self.conv2(self.conv1(x).relu())


class UpdateBlock(nn.Module):
  def __init__(self, small):
    super().__init__()
    if small:
      self.encoder = MotionEncoder(4 * 7 * 7, (96,), (64, 32), 82)
      self.gru = GRU(96, 64 + 82, (3,))
      self.flow_head = FlowHead(96, 128)
    else:
      self.encoder = MotionEncoder(4 * 9 * 9, (256, 192), (128, 64), 128)
      self.gru = GRU(128, 128 + 128, ((1, 5), (5, 1)))
      self.flow_head = FlowHead(128, 256)
      self.mask = nn.Sequential(
        conv(128, 256, 3), nn.ReLU(), conv(256, 64 * 9, 1)
      )


def look_up(volumes, points, radius):
  """Windows `[B, K, H, W]` of every volume around points `[B, H, W, 2]`."""
  batch, height, width, _ = points.shape
  side = 2 * radius + 1
  line = torch.arange(-radius, radius + 1.0)
  # The public code adds (dy, dx) to (x, y): x runs slower than y.
  offsets = torch.stack(torch.meshgrid(line, line, indexing='ij'), -1)
  windows = []
  for level, volume in enumerate(volumes):
    at = points.reshape(-1, 1, 1, 2) / 2**level + offsets
    size = torch.tensor([volume.shape[-1], volume.shape[-2]])
    grid = 2 * at / (size - 1) - 1
    window = F.grid_sample(volume, grid, align_corners=True)
    windows.append(window.view(batch, height, width, side * side))
  return torch.cat(windows, -1).permute(0, 3, 1, 2)


def upsample(flow, mask):
  """Bilinear without a mask, convex combinations with it."""
  batch, _, height, width = flow.shape
  if mask is None:
    size = (8 * height, 8 * width)
    return 8 * F.interpolate(flow, size, mode='bilinear', align_corners=True)
  weights = mask.view(batch, 1, 9, 8, 8, height, width).softmax(2)
  near = F.unfold(8 * flow, 3, padding=1)
  near = near.view(batch, 2, 9, 1, 1, height, width)
  fine = (weights * near).sum(2).permute(0, 1, 4, 2, 5, 3)
  return fine.reshape(batch, 2, 8 * height, 8 * width)


class RAFT(nn.Module):
  """`forward` returns the last flow `[B, 2, H, W]` of images in [0, 255]."""

  def __init__(self, size):
    super().__init__()
    self.small = small = size == 'small'
    self.hidden, self.context = (96, 64) if small else (128, 128)
    widths = (32, 64, 96) if small else (64, 96, 128)
    outputs, norm = (128, 'none') if small else (256, 'batch')
    self.fnet = Encoder(widths, outputs, 'instance', small)
    self.cnet = Encoder(widths, self.hidden + self.context, norm, small)
    self.update_block = UpdateBlock(small)

  def forward(self, image1, image2, iterations=12):
    image1, image2 = 2 * (image1 / 255) - 1, 2 * (image2 / 255) - 1
    a, b = self.fnet(image1), self.fnet(image2)
    batch, channels, height, width = a.shape
    volume = torch.einsum('bcij,bckl->bijkl', a, b) / channels**0.5
    volumes = [volume.reshape(-1, 1, height, width)]
    for _ in range(3):
      volumes.append(F.avg_pool2d(volumes[-1], 2))
    context = self.cnet(image1)
    net = context[:, : self.hidden].tanh()
    inp = context[:, self.hidden :].relu()
    y, x = torch.meshgrid(
      torch.arange(height), torch.arange(width), indexing='ij'
    )
    start = torch.stack([x, y]).float().expand(batch, 2, height, width)
    points, mask = start, None
    for _ in range(iterations):
      flow, block = points - start, self.update_block
      radius = 3 if self.small else 4
      windows = look_up(volumes, points.permute(0, 2, 3, 1), radius)
      motion = block.encoder(flow, windows)
      net = block.gru(net, torch.cat([inp, motion], 1))
      points = points + block.flow_head(net)
    if not self.small:
      mask = 0.25 * self.update_block.mask(net)
    return upsample(points - start, mask)


def raft(size: str, weights) -> RAFT:
  """RAFT with weights by public names; the skips' norm may have one name."""
  model = RAFT(size).eval()
  tensors = {k: torch.from_numpy(v) for k, v in weights.items()}
  for name in list(tensors):
    if '.downsample.1.' in name:
      tensors[name.replace('.downsample.1.', '.norm3.')] = tensors[name]
  missing, unknown = model.load_state_dict(tensors, strict=False)
  assert not unknown, unknown
  assert all(x.endswith('num_batches_tracked') for x in missing), missing
  return model

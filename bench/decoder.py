"""Frames from dynamics: ours beside the same network in PyTorch.

  pip install torch==2.13.0
  python bench/decoder.py --variant base --batches 1 2 4 8

Both have the same random weights and inputs, the same threads, and their frames
are compared first. Rows alternate within a run; medians over `--calls`. PyTorch
has its fastest layout here (channels last), norms folded into convolutions, and
no gradient. GFLOP are those of the network as it is defined, 3 x 3 convolutions
of enlarged features in full, whatever either side makes of it; that of a large
matrix product stands beside, measured in the same run.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `configs` is not installed.

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from bench import generate, train  # noqa: E402
from configs import diffusion  # noqa: E402
from mdcf_jax.models.fde import FDE  # noqa: E402
from mdcf_jax.ops.warp import identity_grid  # noqa: E402


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--variant', default='base', help='of configs/diffusion.py')
  add('--batches', type=int, nargs='+', default=[1, 8])
  add('--calls', type=int, default=9)
  args = parser.parse_args()
  torch.set_num_threads(os.cpu_count())
  config = diffusion.get_config(args.variant)
  fde = FDE(**config.model.fde.to_dict())
  side = config.resolution
  variables = draw(fde, side)
  source = jax.random.uniform(
    jax.random.key(1), (1, side, side, 3), minval=-1, maxval=1
  )
  encode = jax.jit(lambda v, x: fde.apply(v, x, method='encode'))
  features = encode(variables, source)
  theirs = TorchDecoder(fde, variables, features)
  rate = train.matrix_product('float32')['matmul_flop_per_s']
  print(
    f'{generate.describe_device()}, {args.variant}, {side} x {side}, float32, '
    f'jax {jax.__version__}, torch {torch.__version__}; matrix product '
    f'{rate / 1e9:.0f} GFLOP/s\n'
  )
  print('| batch | | ms a frame | GFLOP/s | of the product | difference |')
  print('|---|---|---|---|---|---|')
  work = frame_flop(fde, side)
  for batch in args.batches:
    dynamics = draw_dynamics(batch, side // fde.scale)
    for line in compare(
      fde, variables, features, theirs, dynamics, work, rate, args.calls
    ):
      print(line, flush=True)


def compare(fde, variables, features, theirs, dynamics, work, rate, calls):
  """Yields a row for each side."""
  decode = jax.jit(lambda v, f, x: fde.apply(v, f, x, method='decode'))
  given = torch.from_numpy(np.array(dynamics))
  sides = dict(
    ours=lambda: np.asarray(decode(variables, features, dynamics)),
    PyTorch=lambda: theirs(given).numpy(),
  )
  frames = {name: run() for name, run in sides.items()}  # And compile.
  difference = np.abs(frames['ours'] - frames['PyTorch']).max()
  times = {name: [] for name in sides}
  for _ in range(calls):
    for name, run in sides.items():
      start = time.perf_counter()
      run()
      times[name].append(time.perf_counter() - start)
  for name in sides:
    seconds = statistics.median(times[name]) / len(dynamics)
    yield (
      f'| {len(dynamics)} | {name} | {1e3 * seconds:.1f} | '
      f'{work / seconds / 1e9:.0f} | {work / seconds / rate:.0%} | '
      f'{difference:.1e} |'
    )


def draw(fde: FDE, side: int):
  """Random weights of usual size, and statistics that do something."""
  image = jnp.zeros((1, side, side, 3))
  variables = jax.jit(fde.init)(jax.random.key(0), image, image)
  rng = np.random.default_rng(0)

  def statistic(x):
    return x + rng.uniform(0.1, 0.5, x.shape).astype(np.float32)

  statistics_ = jax.tree.map(statistic, variables['batch_stats'])
  return {'params': variables['params'], 'batch_stats': statistics_}


def draw_dynamics(batch: int, side: int) -> np.ndarray:
  rng = np.random.default_rng(2)
  flow = rng.normal(0, 0.03, (batch, side, side, 2))
  occlusion = rng.uniform(0, 1, (batch, side, side, 1))
  return np.concatenate([flow, occlusion], -1).astype(np.float32)


def frame_flop(fde: FDE, side: int) -> int:
  """Of a frame's convolutions, as the network is defined."""
  settings = dict(block_expansion=64, max_features=512, edge_kernel=7)
  settings |= dict(num_bottleneck_blocks=6) | dict(fde.generator)
  levels = fde.scale.bit_length() - 1
  widths = [
    min(settings['max_features'], settings['block_expansion'] * 2**i)
    for i in range(levels + 1)
  ]
  bottleneck = 2 * settings['num_bottleneck_blocks'] * 9 * widths[-1] ** 2
  total = bottleneck * (side // fde.scale) ** 2
  for i in range(levels):
    total += 9 * widths[i] * widths[i + 1] * (side // 2**i) ** 2
  total += settings['edge_kernel'] ** 2 * widths[0] * 3 * side**2
  return 2 * total


class TorchDecoder:
  """`FDE.decode` of one source, in PyTorch's own operations."""

  def __init__(self, fde: FDE, variables, features):
    self.padding = fde.generator.get('padding', fde.padding)
    params = jax.tree.map(np.asarray, variables['params']['image_generator'])
    stats = jax.tree.map(
      np.asarray, variables['batch_stats']['image_generator']
    )
    self.features = [_planes(x) for x in features]
    self.blocks = []
    i = 0
    while f'bottleneck_{i}' in params:
      block, norms = params[f'bottleneck_{i}'], stats[f'bottleneck_{i}']
      gain, shift = _line(block['norm1'], norms['norm1'])
      first = _fold(block['conv1'], block['norm2'], norms['norm2'])
      self.blocks.append((gain, shift, first, _fold(block['conv2'])))
      i += 1
    self.up = [
      _fold(
        params[f'up_{i}']['conv'],
        params[f'up_{i}']['norm'],
        stats[f'up_{i}']['norm'],
      )
      for i in range(len(features) - 2)
    ]
    self.final = _fold(params['final'])
    size = features[-1].shape[1]
    self.identity = torch.from_numpy(np.array(identity_grid(size, size)))

  @torch.inference_mode()
  def __call__(self, dynamics: torch.Tensor) -> torch.Tensor:
    """Dynamics `[B, h, w, 3]` to frames `[B, H, W, 3]` in [-1, 1]."""
    grid = (dynamics[..., :2] + self.identity).permute(0, 3, 1, 2)
    occlusion = dynamics[..., 2:].permute(0, 3, 1, 2)
    source, *skips = self.features
    h = self._warp(skips[-1], grid, occlusion)
    for gain, shift, first, second in self.blocks:
      x = torch.relu(h * gain + shift)
      x = torch.relu(F.conv2d(x, *first, padding=1))
      h = h + F.conv2d(x, *second, padding=1)
    for skip, conv in zip(skips[:0:-1], self.up):
      h = self._blend(skip, h, grid, occlusion)
      h = F.interpolate(h, scale_factor=2)
      h = torch.relu(F.conv2d(h, *conv, padding=1))
    h = self._blend(skips[0], h, grid, occlusion)
    h = torch.sigmoid(F.conv2d(h, *self.final, padding='same'))
    h = self._blend(source, h, grid, occlusion)
    return 2 * h.permute(0, 2, 3, 1) - 1

  def _warp(self, x, grid, occlusion):
    size = x.shape[2:]
    where = _resize(grid, size).permute(0, 2, 3, 1)
    x = x.expand(len(where), *x.shape[1:])
    moved = F.grid_sample(
      x, where, padding_mode=self.padding, align_corners=True
    )
    return moved * _resize(occlusion, size)

  def _blend(self, skip, h, grid, occlusion):
    keep = 1 - _resize(occlusion, h.shape[2:])
    return self._warp(skip, grid, occlusion) + h * keep


def _resize(x, size):
  return F.interpolate(x, size=size, mode='bilinear', align_corners=True)


def _planes(x) -> torch.Tensor:
  x = torch.from_numpy(np.array(x)).permute(0, 3, 1, 2)
  return x.contiguous(memory_format=torch.channels_last)


def _line(norm, stats):
  """gain and shift of a batch norm, for `[B, C, H, W]`."""
  gain = norm['scale'] / np.sqrt(stats['var'] + 1e-5)
  shift = norm['bias'] - stats['mean'] * gain
  return [torch.from_numpy(x)[:, None, None] for x in (gain, shift)]


def _fold(conv, norm=None, stats=None):
  """Weight and bias of a convolution, with the norm behind it."""
  weight = torch.from_numpy(
    np.moveaxis(conv['kernel'], (-1, -2), (0, 1)).copy()
  )
  bias = torch.from_numpy(conv['bias'].copy())
  if norm is not None:
    gain, shift = _line(norm, stats)
    weight, bias = weight * gain[..., None], bias * gain.ravel()
    bias = bias + shift.ravel()
  return weight.contiguous(memory_format=torch.channels_last), bias


if __name__ == '__main__':
  main()

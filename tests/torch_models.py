"""Public definitions in PyTorch, for tests that compare with them.

HuBERT is `transformers`' (Apache-2.0). VGG19 and its loss are written here from
their descriptions: Simonyan and Zisserman 2015 (configuration E), and the
image pyramid of Siarohin et al. 2021.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.random_vgg import random_vgg19

VGG19_PLAN = (
  *(64, 64, 'M', 128, 128, 'M', 256, 256, 256, 256, 'M'),
  *(512, 512, 512, 512, 'M', 512, 512, 512, 512, 'M'),
)
# Of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 among the layers.
VGG19_OUTPUTS = (1, 6, 11, 20, 29)


def hubert(norm: str, **settings) -> nn.Module:
  """`HubertModel` with random weights of about unit gain.

  Args:
    norm: 'group' (as base) or 'layer' (as large).
    settings: of `HubertConfig`.
  """
  from transformers import HubertConfig, HubertModel

  config = HubertConfig(
    feat_extract_norm=norm,
    conv_bias=norm == 'layer',
    do_stable_layer_norm=norm == 'layer',
    **settings,
  )
  torch.manual_seed(0)
  model = HubertModel(config).eval()
  with torch.no_grad():
    for name, x in model.named_parameters():
      if 'original0' in name:
        x.mul_(1 + 0.1 * torch.randn(x.shape))
      elif x.ndim > 1 and 'original1' not in name:
        x.normal_(0, x[0].numel() ** -0.5)
      elif x.ndim == 1 and name != 'masked_spec_embed':
        x.add_(0.1 * torch.randn(x.shape))
  return model


TINY_HUBERT = dict(
  hidden_size=16,
  num_hidden_layers=2,
  num_attention_heads=2,
  intermediate_size=32,
  conv_dim=(8,) * 7,
  num_conv_pos_embeddings=16,
  num_conv_pos_embedding_groups=4,
)


class VGG19(nn.Module):
  """torchvision's `features`, with its names."""

  def __init__(self):
    super().__init__()
    layers, channels = [], 3
    for width in VGG19_PLAN:
      if width == 'M':
        layers.append(nn.MaxPool2d(2))
        continue
      layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
      channels = width
    self.features = nn.Sequential(*layers)

  def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
    """Maps `[B, 3, H, W]` in [0, 1] to five feature maps."""
    mean = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    x, outputs = (x - mean) / std, []
    for i, layer in enumerate(self.features[: VGG19_OUTPUTS[-1] + 1]):
      x = layer(x)
      if i in VGG19_OUTPUTS:
        outputs.append(x)
    return outputs


def vgg19(seed: int = 0) -> VGG19:
  """VGG19 with He-normal kernels that NumPy draws, the same everywhere."""
  model = VGG19()
  arrays = random_vgg19(seed)
  model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
  return model


def downsample(x: torch.Tensor, factor: int) -> torch.Tensor:
  """Gaussian blur, then every `factor`-th pixel."""
  if factor == 1:
    return x
  sigma = (factor - 1) / 2
  reach = 4 * sigma
  size = 2 * round(reach) + 1
  position = torch.arange(size) - (size - 1) / 2
  line = torch.exp(-(position**2) / (2 * sigma**2))
  kernel = line[:, None] * line
  kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, size, size)
  x = F.pad(x, (size // 2,) * 4)
  x = F.conv2d(x, kernel, groups=x.shape[1])
  return x[..., ::factor, ::factor]


def perceptual_loss(
  model: nn.Module, pred: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
  """Sum over four scales and five layers; images in [0, 1]."""
  total = 0.0
  for factor in (1, 2, 4, 8):
    features = [model(downsample(x, factor)) for x in (pred, target)]
    for a, b in zip(*features):
      total = total + (a - b.detach()).abs().mean()
  return total

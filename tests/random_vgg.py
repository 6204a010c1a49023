"""Random weights of VGG19 by torchvision's names, the same on any machine."""

import numpy as np

WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def random_vgg19(seed: int = 0) -> dict[str, np.ndarray]:
  """He-normal kernels `[O, I, 3, 3]` and small biases, classifier left out."""
  rng = np.random.RandomState(seed)
  arrays, place, channels = {}, 0, 3
  for width, count in WIDTHS:
    for _ in range(count):
      kernel = rng.randn(width, channels, 3, 3) * np.sqrt(2 / (9 * channels))
      arrays[f'features.{place}.weight'] = kernel.astype(np.float32)
      bias = 0.1 * rng.randn(width)
      arrays[f'features.{place}.bias'] = bias.astype(np.float32)
      place, channels = place + 2, width
    place += 1
  return arrays

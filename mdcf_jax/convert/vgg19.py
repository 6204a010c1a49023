"""VGG19 as torchvision stores it, up to relu5_1."""

from mdcf_jax.convert.tensors import Entry, Table
from mdcf_jax.models.vgg import VGG19_BLOCKS

# Convolutions after relu5_1, and the classifier.
DEAD = ('features.30.*', 'features.32.*', 'features.34.*', 'classifier.*')


def table() -> Table:
  """Names of torchvision's `vgg19`, for the variables of `Perceptual`."""
  entries, place = {}, 0
  for block, (_, count) in enumerate(VGG19_BLOCKS, start=1):
    for i in range(1, count + 1):
      path = f'params/vgg19/conv{block}_{i}'
      theirs = f'features.{place}'
      entries[f'{theirs}.weight'] = Entry(f'{path}/kernel', 'conv')
      entries[f'{theirs}.bias'] = Entry(f'{path}/bias')
      place += 2  # The convolution and its ReLU.
    place += 1  # The pooling.
  return entries

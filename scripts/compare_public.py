"""Compares full-size networks with the public PyTorch ones, as a table.

  python scripts/compare_public.py --seconds 10
  python scripts/compare_public.py --long 90

needs torch and transformers, and 8 GB of memory. Weights are random, of unit
gain: errors of real ones are of the same kind, and nothing is downloaded. The
tables in docs/parity.md are its output.
"""

import argparse
import pathlib
import sys
import wave

import jax
import jax.numpy as jnp
import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mdcf_jax.models.hubert import HUBERT_SIZES, WINDOW, HuBERT  # noqa: E402
from mdcf_jax.models.vgg import VGG19, Perceptual  # noqa: E402
from tests import torch_models  # noqa: E402
from tests.models import test_hubert, test_hubert_parity, test_vgg  # noqa: E402
from tests.random_vgg import random_vgg19  # noqa: E402

HEADER = ('what', 'compared', 'largest value', 'largest error', 'mean error')


def show(*cells: object) -> None:
  """Prints one row of a table in Markdown."""
  print('|', ' | '.join(map(str, cells)), '|', flush=True)


def compare(name: str, what: str, ours: object, theirs: np.ndarray) -> None:
  """Prints one row of errors."""
  error = np.abs(np.asarray(ours, np.float32) - theirs)
  numbers = (np.abs(theirs).max(), error.max(), error.mean())
  show(name, what, *(f'{x:.2g}' for x in numbers))


def hubert(name: str, seconds: float) -> None:
  """Last hidden states, input normalisation included."""
  config = HUBERT_SIZES[name]
  size = test_hubert_parity.SIZES[name]
  model = torch_models.hubert(config['conv_norm'], **size)
  waveform = test_hubert.speech(seconds)
  expected = test_hubert_parity.outputs(model, waveform)
  variables = test_hubert_parity.convert(model, config)
  del model
  kinds = {
    'float32': dict(),
    'float32, in blocks of a second': dict(conv_block=50, max_scores=2**19),
    'bfloat16': dict(dtype=jnp.bfloat16),
  }
  for kind, attributes in kinds.items():
    module = HuBERT(**config, **attributes)
    ours = jax.jit(module.apply)(variables, waveform)
    compare(f'{name}, {seconds:g} s', kind, ours, expected)


def lengths(seconds: int) -> None:
  """HuBERT over a long recording: the default window, and 20 s pieces.

  The step is the change from a vector to the next, over that of the whole at
  the same place: 1 where there is no seam.
  """
  name, piece = 'hubert-base', 20 * 16000
  config = HUBERT_SIZES[name]
  model = torch_models.hubert('group', **test_hubert_parity.SIZES[name])
  variables = test_hubert_parity.convert(model, config)
  del model
  waveform = speech(seconds)

  def run(waveform: np.ndarray, window: int | None) -> np.ndarray:
    module = HuBERT(**config | dict(window=window))
    return np.asarray(jax.jit(module.apply)(variables, waveform))[0]

  whole = run(waveform, None)
  cuts = range(0, waveform.shape[1], piece)
  cut = [run(waveform[:, i : i + piece], None) for i in cuts]
  # A piece lacks the last vector, which would reach into the next.
  cut = np.concatenate([np.concatenate([x, x[-1:]]) for x in cut])
  rows = {f'window of {n} vectors': run(waveform, n) for n in (WINDOW, 750)}
  show('what', 'compared with the whole', 'mean error / std', 'largest step')
  show(*['---'] * 4)
  for what, ours in (rows | {'pieces of 20 s': cut[: len(whole)]}).items():
    error = np.abs(ours - whole).mean() / whole.std()
    steps = [np.abs(np.diff(x, axis=0)).mean(axis=1) for x in (ours, whole)]
    step = (steps[0] / np.maximum(steps[1], 1e-6)).max()
    show(f'{name}, {seconds} s', what, f'{error:.2g}', f'{step:.2f}')


def speech(seconds: int) -> np.ndarray:
  """Stretches of two seconds of the recording in assets: `[1, samples]`."""
  with wave.open(str(ROOT / 'assets/speech.wav')) as file:
    samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
  rng, size = np.random.RandomState(0), 32000
  starts = rng.randint(0, len(samples) - size, -(-seconds // 2))
  gains = rng.uniform(0.3, 2, len(starts))
  pieces = [g * samples[i : i + size] for i, g in zip(starts, gains)]
  whole = np.concatenate(pieces)[None, : seconds * 16000] / 32768
  return whole.astype(np.float32)


def vgg19() -> None:
  """Five feature maps, the loss and its gradient."""
  model, variables = torch_models.vgg19(), test_vgg.convert(random_vgg19())
  rng = np.random.RandomState(0)
  images = torch.from_numpy(rng.rand(2, 1, 3, 256, 256).astype(np.float32))
  pred, target = images[0].requires_grad_(True), images[1]
  ours = [np.moveaxis(x.detach().numpy(), 1, -1) for x in images]
  features = jax.jit(VGG19().apply)(
    {'params': variables['params']['vgg19']}, ours[0]
  )
  for i, (a, b) in enumerate(zip(features, model(pred)), start=1):
    b = np.moveaxis(b.detach().numpy(), 1, -1)
    compare('vgg19, 256 x 256', f'relu{i}_1', a, b)

  def loss(pred):
    return Perceptual().apply(variables, 2 * pred - 1, 2 * ours[1] - 1)[0]

  value, gradient = jax.jit(jax.value_and_grad(loss))(ours[0])
  expected = torch_models.perceptual_loss(model, pred, target)
  expected.backward()
  compare('vgg19, 256 x 256', 'loss', value, expected.detach().numpy())
  expected = np.moveaxis(pred.grad.numpy(), 1, -1)
  compare('vgg19, 256 x 256', 'its gradient', gradient, expected)


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--seconds', type=float, default=10)
  parser.add_argument(
    '--long', type=int, metavar='SECONDS', help='compare windows alone'
  )
  args = parser.parse_args()
  torch.set_num_threads(1)
  if args.long:
    lengths(args.long)
    return
  show(*HEADER)
  show(*['---'] * len(HEADER))
  for name in HUBERT_SIZES:
    hubert(name, args.seconds)
  vgg19()


if __name__ == '__main__':
  main()

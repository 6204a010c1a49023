"""A Pipeline that paints noise, at the pace that a test asks for."""

import threading
import types

import numpy as np

from configs import models
from mdcf_jax import clips, stages
from mdcf_jax.errors import InputError
from mdcf_jax.media.paste import Paste

SIDE = 64


class FakePipe:
  """What the page uses of a Pipeline.

  Attributes:
    go: frames come while it is set; the diffusion does not wait.
    given: what `prepare` was called with, the newest last.
    error: raised by `prepare`, if there is one.
    plan: of every video.
    free: bytes that are free.
  """

  def __init__(self):
    self.config = dict(model=models.SIZES['tiny'])
    self.resolution = SIDE
    self.go = threading.Event()
    self.go.set()
    self.given, self.error, self.free = [], None, 4 * 2**30
    memory = stages.Memory(2**20, 2**20, 2**30, 2**20)
    self.plan = stages.Plan(
      10, SIDE, 2**20, dict(diffusion=memory, encode=memory)
    )

  @property
  def devices(self):
    return types.SimpleNamespace(free_memory=self.free)

  def prepare(self, image, audio, **options):
    self.given.append(options)
    if self.error is not None:
      raise self.error
    if options['crop'] == (0, 0, 1, 1):
      raise InputError('/home/me/secret.png: nothing to see (--crop none)')
    samples, rate = audio
    frames = -(-25 * len(samples) // rate)
    square = (0, 0, *image.shape[:2])
    mask = dict(frame_mask=np.ones((1, 16)))
    paste = Paste(image, square) if options['paste_back'] else None
    side = options['resolution']
    return clips.Clip(
      *(frames, np.zeros((side, side, 3), np.uint8), mask, options['seed']),
      stages.Options(options['steps']),
      paste,
    )

  def generate(self, some, progress, latents_seen):
    (clip,) = some
    return (self._frames(clip, progress, latents_seen),)

  def _frames(self, clip, progress, latents_seen):
    for step in range(clip.options.steps + 1):
      progress('diffusion', step, clip.options.steps)
    rng, side = np.random.default_rng(clip.seed), clip.resolution // 8
    latents_seen(0, rng.standard_normal((clip.frames, 2, 2, 4)))
    progress('frames', 0, clip.frames)
    for i in range(clip.frames):
      while not self.go.wait(0.02):
        progress('frames', i, clip.frames)
      noise = rng.integers(90, 160, (8, 8, 3), np.uint8)
      frame = np.kron(noise, np.ones((side, side, 1), np.uint8))
      yield frame if clip.paste is None else clip.paste(frame)
      progress('frames', i + 1, clip.frames)

  def dynamics(self, z):
    flow = np.repeat(np.repeat(z[..., :3], 8, 1), 8, 2)
    return 0.1 * np.asarray(flow, np.float32)

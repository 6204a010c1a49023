"""Phase two: the LMAE learns to compress dynamics, on top of a frozen FDE.

Equations 4 and 6-9 of the paper. The FDE is used with its stored statistics
(train=False) and never changes; the image term sends its gradient through the
FDE's warp and decoder to the decoded flow and occlusion, and no further.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mdcf_jax.models.fde import FDE
from mdcf_jax.models.lmae import LMAE
from mdcf_jax.models.vgg import Perceptual
from mdcf_jax.ops import boxes, losses, windows
from mdcf_jax.phases import computation, guides

BATCH_KEYS = ('source', 'driving')

# Of a latent's mean, beside the prior's variance of 1.
_ACTIVE_VARIANCE = 0.01

# Readings of "the perceptual loss" in equation 7: each layer with weight 1, as
# in the unused second-phase settings of the public code, or equation 5's 10.
IMAGE_LOSSES = {'unit': 1.0, 'phase_one': 10.0}


@dataclasses.dataclass(frozen=True)
class LMAEPhase:
  """Trains the LMAE.

  Attributes:
    fde, lmae: the modules; the FDE's variables come in `frozen`.
    perceptual: distance of images; its weights, if any, come in `frozen`.
    kl_weight: of the divergence from N(0, I), summed over the latent elements
      of a frame (equation 8; paper: 1e-4).
    mse_weight: of the mean squared error of the dynamics in the LMAE's own
      units: flow times its gain, 2 m - 1 (equation 6; paper: 1).
    igc_weight: of the perceptual distance between the frame that the FDE
      decodes and the driving frame (equation 7; paper: 1).
    image_loss: reading of that distance, a key of `IMAGE_LOSSES`.
    l1_weight: of the mean absolute error of the same pixels; not in the paper,
      for training with an untrained perceptual distance.
    mouth_weight: extra weight of the mouth box in both errors.
    teacher_forcing: compress the dynamics of guide points' regions instead of
      those that the FDE finds, see `guides`.
    window: side in pixels of the random window that is decoded, which is what
      takes the time; 0: all.
  """

  fde: FDE
  lmae: LMAE
  perceptual: Perceptual
  kl_weight: float = 1e-4
  mse_weight: float = 1.0
  igc_weight: float = 1.0
  image_loss: str = 'unit'
  l1_weight: float = 0.0
  mouth_weight: float = 0.0
  teacher_forcing: bool = False
  window: int = 0

  name: ClassVar[str] = 'lmae'

  def __post_init__(self):
    if self.teacher_forcing:
      guides.check(self.fde)
    if self.image_loss not in IMAGE_LOSSES:
      raise ValueError(
        f'image_loss {self.image_loss!r} is none of {tuple(IMAGE_LOSSES)}'
      )

  @classmethod
  def from_config(cls, config) -> 'LMAEPhase':
    compute = computation.keywords(config)
    return cls(
      fde=FDE(**config.model.fde.to_dict(), **compute),
      lmae=LMAE(**config.model.lmae.to_dict(), **compute),
      perceptual=Perceptual(config.perceptual, **compute),
      **config.loss.to_dict(),
    )

  @property
  def frozen_names(self) -> tuple[str, ...]:
    if self.perceptual.kind == 'vgg19':
      return ('fde', 'vgg19')
    return ('fde',)

  def init(self, rng: jax.Array, batch: dict) -> dict[str, Any]:
    """Returns the LMAE's 'params'; it has no other state."""
    _, height, width, _ = batch['driving'].shape
    scale = self.fde.scale
    dynamics = jnp.zeros((1, height // scale, width // scale, 3))
    return dict(self.lmae.init(rng, dynamics, rng))

  def loss_fn(
    self, params, model_state, frozen, batch, rng, *, train: bool
  ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """Equation 9.

    Args:
      batch: source, driving `[B, H, W, 3]`; mouth_box `[B, 4]` with
        `mouth_weight` or `window`; source_landmarks, driving_landmarks
        `[B, 8, 2]` in [0, 1] with `teacher_forcing`.
    """
    rng, rng_window = jax.random.split(rng)
    dynamics = self._estimate(frozen, batch)
    outputs = self.lmae.apply({'params': params}, dynamics, rng)
    loss, terms = self.compression_loss(dynamics, outputs, batch)
    if self.igc_weight or self.l1_weight:
      corner = None
      if train and self.window:
        size = batch['source'].shape[1]
        corner = windows.random_corner(
          rng_window, size, self.window, batch['mouth_box']
        )
      images = self._image_terms(frozen, batch, outputs['dynamics'], corner)
      loss += self.igc_weight * images['igc'] + self.l1_weight * images['l1']
      terms |= images
    return loss, (model_state, terms)

  def compression_loss(
    self, dynamics: jax.Array, outputs: dict, batch: dict
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Equations 6 and 8 with their weights, and what is to be watched.

    Args:
      dynamics: `[B, H/4, W/4, 3]`, what was compressed.
      outputs: of `LMAE.__call__`.
      batch: mouth_box `[B, 4]` with `mouth_weight`.
    """
    decoded = outputs['dynamics']
    error = jnp.square(self.lmae.scale(decoded) - self.lmae.scale(dynamics))
    if self.mouth_weight:
      mouth = boxes.box_coverage(batch['mouth_box'], *error.shape[1:3])
      error *= 1 + self.mouth_weight * mouth
    terms = dict(
      kl=jnp.mean(losses.kl_divergence(outputs['mean'], outputs['logvar'])),
      mse=jnp.mean(error),
    )
    loss = self.kl_weight * terms['kl'] + self.mse_weight * terms['mse']
    # A channel whose mean says nothing is noise that the diffusion must learn.
    spread = jnp.var(outputs['mean'], axis=(0, 1, 2))
    terms['active'] = jnp.mean(spread > _ACTIVE_VARIANCE)
    flow_mse = losses.mse(decoded[..., :2], dynamics[..., :2])
    terms['flow_rmse'] = jnp.sqrt(jnp.mean(flow_mse))  # In half images.
    return loss, terms

  def predict(self, params, model_state, frozen, batch, rng) -> dict:
    """The driving frame from its dynamics, and from its latent.

    Returns:
      dict(fde `[B, H, W, 3]` reconstruction without the LMAE, prediction with
      it, dynamics, dynamics_pred, z, z_mean): z is drawn as in equation 4,
      since draws are what the diffusion learns.
    """
    del model_state
    dynamics = self._estimate(frozen, batch)
    outputs = self.lmae.apply({'params': params}, dynamics, rng)
    fde = _variables(frozen['fde'])
    features = self.fde.apply(fde, batch['source'], method='encode')

    def decode(x):
      return self.fde.apply(fde, features, x, method='decode')

    return dict(
      fde=decode(dynamics),
      prediction=decode(outputs['dynamics']),
      dynamics=dynamics,
      dynamics_pred=outputs['dynamics'],
      z=outputs['z'],
      z_mean=outputs['mean'],
    )

  def pictures(self, outputs: dict, batch: dict) -> dict[str, jax.Array]:
    """Frames in [-1, 1]; flows `[..., 2]` and occlusions `[..., 1]` raw."""
    before, after = outputs['dynamics'], outputs['dynamics_pred']
    return dict(
      source=batch['source'],
      driving=batch['driving'],
      fde=outputs['fde'],
      prediction=outputs['prediction'],
      flow=before[..., :2],
      flow_pred=after[..., :2],
      occlusion=before[..., 2:],
      occlusion_pred=after[..., 2:],
    )

  def _estimate(self, frozen, batch):
    """Dynamics `[B, H/4, W/4, 3]` of the frozen FDE; no gradient."""
    names, method = ['source', 'driving'], 'estimate'
    if self.teacher_forcing:
      names += ['source_landmarks', 'driving_landmarks']
      method = guides.estimate
    dynamics = self.fde.apply(
      _variables(frozen['fde']), *(batch[k] for k in names), method=method
    )
    return jax.lax.stop_gradient(dynamics)

  def _image_terms(self, frozen, batch, dynamics, corner):
    """Equation 7, and its pixel-wise companion."""
    source, driving = batch['source'], batch['driving']
    _, height, width, _ = driving.shape
    mask = 1.0
    if self.mouth_weight:
      coverage = boxes.box_coverage(batch['mouth_box'], height, width)
      mask = 1 + self.mouth_weight * coverage
    if corner is not None:
      dynamics = windows.crop_dynamics(dynamics, corner, height, self.window)
      source = windows.crop(source, corner, self.window)
      driving = windows.crop(driving, corner, self.window)
      if self.mouth_weight:
        mask = windows.crop(mask, corner, self.window)
    fde = _variables(frozen['fde'])
    features = self.fde.apply(fde, source, method='encode')
    features = jax.lax.stop_gradient(features)
    image = self.fde.apply(fde, features, dynamics, method='decode')

    terms = dict(igc=jnp.zeros(()))
    if self.igc_weight:
      vgg = jax.lax.stop_gradient(frozen.get('vgg19', {}))
      distance = self.perceptual.apply(vgg, image, driving)
      terms['igc'] = IMAGE_LOSSES[self.image_loss] * jnp.mean(distance)
    terms['l1'] = jnp.mean(mask * jnp.abs(image - driving))
    terms['psnr'] = jnp.mean(losses.psnr(image, driving))
    return terms


def _variables(frozen: dict) -> dict:
  """Variables of an upstream module, closed to gradients."""
  variables = {'params': frozen['params'], **frozen['model_state']}
  return jax.lax.stop_gradient(variables)

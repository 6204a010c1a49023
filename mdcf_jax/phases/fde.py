"""Phase one: the FDE learns to make one frame of a clip from another.

Equation 5 of the paper (perceptual loss), with MRAA's equivariance terms, and
options that make it learn from little: an L1 term that may weigh the mouth
more, guide points for the regions, and decoding of a window only.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mdcf_jax.models.fde import FDE
from mdcf_jax.models.vgg import Perceptual
from mdcf_jax.ops import boxes, deformation, losses, pose, windows
from mdcf_jax.phases import computation, guides

# Beside a divergence in nats: of an error of a centre by half an image, and of
# what lies between two centres, see `_between_error`.
_CENTRE_WEIGHT = 20.0
_BETWEEN_WEIGHT = 40.0

_PAIR = ('source', 'driving')


@dataclasses.dataclass(frozen=True)
class FDEPhase:
  """Trains the FDE.

  Attributes:
    fde: the module.
    perceptual: distance of images; its weights, if any, come in `frozen`.
    perceptual_weight: of the sum over layers and scales (paper and DAWN: 10).
    l1_weight: of the mean absolute error of pixels.
    mouth_weight: extra weight of the mouth box in that error.
    equivariance_weight: of both equivariance terms (MRAA: 10).
    landmark_weight: of the distance of the first regions to those that guide
      points suggest; not in the paper, whose regions find themselves.
    teacher_forcing: estimate the flow from the guide points' regions and a
      background at rest, so that it need not wait until regions are found.
      The regions learn from `landmark_weight` alone, the background nothing.
    window: side in pixels of the random window that is decoded; 0: all. Motion
      is always estimated from the whole images.
  """

  fde: FDE
  perceptual: Perceptual
  perceptual_weight: float = 10.0
  l1_weight: float = 0.0
  mouth_weight: float = 0.0
  equivariance_weight: float = 10.0
  landmark_weight: float = 0.0
  teacher_forcing: bool = False
  window: int = 0

  name: ClassVar[str] = 'fde'

  def __post_init__(self):
    if self.teacher_forcing:
      guides.check(self.fde)

  @classmethod
  def from_config(cls, config) -> 'FDEPhase':
    compute = computation.keywords(config)
    return cls(
      fde=FDE(**config.model.fde.to_dict(), **compute),
      perceptual=Perceptual(config.perceptual, **compute),
      **config.loss.to_dict(),
    )

  @property
  def compares_images(self) -> bool:
    """Whether any loss looks at the prediction."""
    return bool(self.perceptual_weight or self.l1_weight)

  @property
  def frozen_names(self) -> tuple[str, ...]:
    return ('vgg19',) if self.perceptual.kind == 'vgg19' else ()

  def init(self, rng: jax.Array, batch: dict) -> dict[str, Any]:
    """Returns 'params' and 'batch_stats' of the FDE."""
    source, driving = batch['source'][:1], batch['driving'][:1]
    return self.fde.init(rng, source, driving, train=False)

  def loss_fn(
    self, params, model_state, frozen, batch, rng, *, train: bool
  ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """Equation 5 plus the options; see `Attributes`.

    Args:
      batch: source, driving `[B, H, W, 3]`; mouth_box `[B, 4]` with
        `mouth_weight` or `window`; source_landmarks, driving_landmarks
        `[B, 8, 2]` in [0, 1] with `landmark_weight`.
    """
    variables = {'params': params, **model_state}
    loss, terms, _, model_state = self.learn(
      variables, frozen, batch, rng, train=train
    )
    return loss, (model_state, terms)

  def learn(
    self,
    variables,
    frozen,
    batch,
    rng,
    *,
    train: bool,
    motion: Callable[..., dict] | None = None,
  ) -> tuple[jax.Array, dict, dict, dict]:
    """The loss, for this phase and for one that compresses the dynamics.

    Args:
      variables: of the FDE, 'params' and 'batch_stats'.
      frozen, batch, rng, train: as in `loss_fn`.
      motion: used instead of `estimate_motion`; what it returns as 'dynamics'
        is decoded.

    Returns:
      (loss, its terms, what was computed on the way, new 'batch_stats').
    """
    rng_window, rng_equivariance = jax.random.split(rng)
    corner = None
    if train and self.window:
      size = batch['source'].shape[1]
      corner = windows.random_corner(
        rng_window, size, self.window, batch['mouth_box']
      )
    outputs, model_state = self.fde.apply(
      variables,
      self,
      batch,
      corner,
      rng_equivariance,
      train,
      motion,
      method=_forward,
      mutable=['batch_stats'],
    )
    terms = {}
    if self.equivariance_weight:
      terms['equivariance'] = _equivariance(
        outputs['driving_regions'], outputs['bent_regions'], outputs['bend']
      )
    if self.landmark_weight:
      terms['landmark'] = _landmark_distance(outputs, batch)
    if self.compares_images:
      target = self._crop(batch['driving'], corner)
      prediction, mask = outputs['prediction'], 1.0
      if self.mouth_weight:
        mask = self._crop(mouth_mask(batch, self.mouth_weight), corner)
      terms |= image_terms(self, prediction, target, frozen, mask)
    loss = weighted_sum(self, terms)
    if self.compares_images:
      terms['psnr'] = jnp.mean(losses.psnr(prediction, target))
    return loss, terms, outputs, model_state

  def predict(self, params, model_state, frozen, batch, rng) -> dict:
    """Reconstruction of the whole driving frame; see `FDE.__call__`."""
    del frozen, rng
    variables = {'params': params, **model_state}
    outputs = self.fde.apply(
      variables, batch['source'], batch['driving'], train=False
    )
    return {k: outputs[k] for k in ('prediction', 'dynamics')}

  def pictures(self, outputs: dict, batch: dict) -> dict[str, jax.Array]:
    """Frames in [-1, 1]; flow `[..., 2]` and occlusion `[..., 1]` raw."""
    dynamics = outputs['dynamics']
    return dict(
      source=batch['source'],
      driving=batch['driving'],
      prediction=outputs['prediction'],
      flow=dynamics[..., :2],
      occlusion=dynamics[..., 2:],
    )

  def _crop(self, image, corner):
    if corner is None:
      return image
    return windows.crop(image, corner, self.window)


def mouth_mask(batch: dict, weight: float) -> jax.Array:
  """Weights of the driving frame's pixels, `[B, H, W, 1]`: 1 off the mouth."""
  _, height, width, _ = batch['driving'].shape
  return 1 + weight * boxes.box_coverage(batch['mouth_box'], height, width)


def image_terms(
  phase: Any,
  prediction: jax.Array,
  target: jax.Array,
  frozen: dict,
  mask: jax.Array | float,
) -> dict[str, jax.Array]:
  """Terms of a loss that compare two pictures.

  Args:
    phase: has `perceptual`, `perceptual_weight` and `l1_weight`; a term of
      weight 0 is left out.
    prediction, target: `[B, H, W, 3]` in [-1, 1].
    frozen: with the variables of 'vgg19', if `perceptual` has any.
    mask: weights of pixels in the mean absolute error, `[B, H, W, 1]` or 1.
  """
  terms = {}
  if phase.perceptual_weight:
    variables = frozen.get('vgg19', {})
    distance = phase.perceptual.apply(variables, prediction, target)
    terms['perceptual'] = jnp.mean(distance)
  if phase.l1_weight:
    terms['l1'] = jnp.mean(jnp.abs(prediction - target) * mask)
  return terms


def weighted_sum(phase: Any, terms: dict[str, jax.Array]) -> jax.Array:
  """The sum of the terms, each times `phase.<its name>_weight`."""
  return sum(getattr(phase, f'{name}_weight') * v for name, v in terms.items())


def _forward(fde, phase, batch, corner, rng, train, motion=None):
  """What the losses of the phase need; decodes only inside the window."""
  outputs = (motion or estimate_motion)(fde, phase, batch, train)
  if phase.compares_images:
    source, dynamics = batch['source'], outputs['dynamics']
    if corner is not None:
      dynamics = windows.crop_dynamics(
        dynamics, corner, source.shape[1], phase.window
      )
      source = windows.crop(source, corner, phase.window)
    features = fde.encode(source, train=train)
    outputs['prediction'] = fde.decode(features, dynamics, train=train)
  if phase.equivariance_weight:
    driving = batch['driving']
    bend = deformation.random_deformation(rng, driving.shape[0])
    bent = deformation.deform_image(bend, driving)
    outputs |= dict(bend=bend, bent_regions=fde.regions(bent, train=train))
  return outputs


def estimate_motion(
  fde: FDE, phase: FDEPhase, batch: dict, train: bool
) -> dict[str, Any]:
  """Dynamics if images are compared, regions if anything asks for them."""
  if phase.compares_images and not phase.teacher_forcing:
    return fde.motion(batch['source'], batch['driving'], train=train)
  outputs = {}
  if phase.landmark_weight or phase.equivariance_weight:
    for name in _PAIR:
      outputs[f'{name}_regions'] = fde.regions(batch[name], train=train)
  if phase.compares_images:
    rest = jnp.broadcast_to(jnp.eye(3), (len(batch['source']), 3, 3))
    outputs['dynamics'] = guides.dynamics(
      fde,
      batch['source'],
      batch['source_landmarks'],
      batch['driving_landmarks'],
      rest,
      train=train,
    )
  return outputs


def _equivariance(regions, bent_regions, bend):
  """Regions of a bent image are the bent regions of the image (MRAA)."""
  moved = deformation.deform(bend, bent_regions['shift'])
  shift_error = jnp.mean(jnp.abs(regions['shift'] - moved))
  slope = deformation.jacobian(bend, bent_regions['shift'])
  affine = pose.multiply(slope, bent_regions['affine'])
  ratio = pose.multiply(pose.inverse_2x2(regions['affine']), affine)
  ratio *= jnp.where(ratio[..., :1, :1] < 0, -1.0, 1.0)
  return shift_error + jnp.mean(jnp.abs(jnp.eye(2) - ratio))


def _landmark_distance(outputs, batch):
  """Divergence of heat maps from the guided regions, and errors of centres."""
  total = 0.0
  for name in _PAIR:
    regions = outputs[f'{name}_regions']
    guided = guides.regions(batch[f'{name}_landmarks'])
    shift, covar = guided['shift'], guided['covar']
    count = min(shift.shape[1], regions['shift'].shape[1])
    shift, covar = shift[:, :count], covar[:, :count]
    heatmap = regions['heatmap'][..., :count]
    target = pose.gaussian(shift, covar, *heatmap.shape[1:3])
    target /= jnp.sum(target, axis=(1, 2), keepdims=True) + 1e-6
    ratio = jnp.log(target + 1e-8) - jnp.log(heatmap + 1e-8)
    divergence = jnp.sum(target * ratio, axis=(1, 2))
    found = regions['shift'][:, :count]
    # Lips move by less than their heat maps are wide.
    total += jnp.mean(divergence)
    total += _CENTRE_WEIGHT * jnp.mean(jnp.abs(found - shift))
    total += _BETWEEN_WEIGHT * jnp.mean(_between_error(found, shift))
  return total / 2


def _between_error(found, guided):
  """Error of the way from each centre to the others.

  A mouth opens by less than the head is off, so an error of centres hardly sees
  it. Close centres count most, by the inverse square of their distance in that
  of an average pair.

  Args:
    found, guided: centres `[B, K, 2]`.

  Returns:
    `[B, pairs]`, in distances of an average pair.
  """
  one, other = jnp.triu_indices(guided.shape[1], k=1)
  found, guided = (x[:, one] - x[:, other] for x in (found, guided))
  length = jnp.maximum(jnp.linalg.norm(guided, axis=-1), 0.02)
  average = jnp.mean(length, axis=-1, keepdims=True)
  error = jnp.mean(jnp.abs(found - guided), axis=-1)
  return error * average / jnp.square(length)

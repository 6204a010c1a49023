"""Phase three: the diffusion learns the latents of all frames of a clip.

Equation 10 of the paper with DAWN's extra terms. The labels are draws from the
posterior of the frozen LMAE (equation 4) on dynamics that the frozen FDE
estimates between the source and each frame; both are used as they are, without
gradient. Latents are standardised channel by channel, because noise schedules
assume unit variance. With `Denoiser.opening` they are what is left when the
change by the mouth's opening is taken from them, in the same units; see
`mouths`.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mdcf_jax.errors import InputError
from mdcf_jax.models.denoiser import OPENING_MAX, Denoiser
from mdcf_jax.models.fde import FDE
from mdcf_jax.models.layers import draw_params
from mdcf_jax.models.lmae import LMAE, Identity, build_lmae, sample_posterior
from mdcf_jax.ops import losses, noise_schedule, objectives, sampling, smoothing
from mdcf_jax.phases import computation, denoising, guides, latent_space, mouths


@dataclasses.dataclass(frozen=True)
class DiffusionPhase:
  """Trains the denoiser.

  Attributes:
    fde, lmae: frozen modules; their variables come in `frozen`.
    denoiser: the trained module.
    objective: what the denoiser predicts, see `objectives`; the paper's is
      'noise'.
    noise_weight: of the prediction's error and all that follows from it; at 0
      openings are learnt alone, at little cost.
    x0_weight: of the error of the clean latents that the prediction implies.
      It is the prediction's error times a factor of the noise level, cut at
      `max_x0_factor`: that of predicted noise is 1 / SNR, 4e9 at t = 999, and
      would drown everything else. That of the others is at most 1.
    max_x0_factor: see above.
    mouth_weight: of the prediction's error in the cells that the mouth covers.
    opening_weight: of the error of the opening that is predicted from sound,
      see `Denoiser.opening`.
    teacher_forcing: latents of guide points' regions instead of those that the
      FDE finds, see `guides`.
    null_prob: share of samples that learn without sound, pose and blink.
    null_per_frame: draw that for every frame, as the public code does; a frame
      without them then has neighbours with them.
    independent_levels: draw a noise level for every frame, not every clip.
    clip: standard deviations at which sampling clips clean latents.
    smoothing: deviation in frames of a Gaussian over what was sampled. Labels
      are draws of a posterior (equation 4) whose noise is white in time, and
      learnt like all that is in them; a face that has it shakes.
  """

  fde: FDE
  lmae: LMAE | Identity
  denoiser: Denoiser
  objective: str = 'noise'
  noise_weight: float = 1.0
  x0_weight: float = 0.15
  max_x0_factor: float = 5.0
  mouth_weight: float = 0.15
  opening_weight: float = 0.0
  teacher_forcing: bool = False
  null_prob: float = 0.1
  null_per_frame: bool = False
  independent_levels: bool = False
  clip: float = 5.0
  smoothing: float = 0.0

  name: ClassVar[str] = 'diffusion'
  frozen_names: ClassVar[tuple[str, ...]] = ('fde', 'lmae')

  def __post_init__(self):
    objectives.make_objective(self.objective)  # Or an error.
    if self.teacher_forcing:
      guides.check(self.fde)
    if self.denoiser.opening:
      guides.check(self.fde, 'model.denoiser.opening')
    if self.opening_weight and not self.denoiser.opening:
      raise InputError(
        'loss.opening_weight is set, and model.denoiser.opening is not: the '
        'denoiser has nothing that predicts openings'
      )

  @classmethod
  def from_config(cls, config) -> 'DiffusionPhase':
    compute = computation.keywords(config)
    lmae = build_lmae(**config.model.lmae.to_dict(), **compute)
    keywords = dict(
      latent_channels=lmae.latent_channels,
      # The source's features shrink as the dynamics do.
      stem_levels=lmae.factor.bit_length() - 1,
    )
    keywords |= config.model.denoiser.to_dict()
    return cls(
      fde=FDE(**config.model.fde.to_dict(), **compute),
      lmae=lmae,
      denoiser=Denoiser(**keywords, **compute),
      **config.loss.to_dict(),
    )

  def init(self, rng: jax.Array, batch: dict) -> dict[str, Any]:
    """Returns the denoiser's 'params', and 'latent_stats' that do nothing."""
    source = batch['source'][:1]
    features = jax.eval_shape(
      lambda x: self.fde.init_with_output(rng, x, method='encode')[0][-1],
      source,
    )
    height, width = (n // self.lmae.factor for n in features.shape[1:3])
    channels = self.lmae.latent_channels
    batch = {k: x[:1] for k, x in batch.items()}
    xt = jnp.zeros((*batch['frame_mask'].shape, height, width, channels))
    shapes = jax.eval_shape(
      functools.partial(self.denoiser.init, method='use_all'),
      rng,
      xt,
      jnp.zeros(xt.shape[:2], jnp.int32),
      denoising.conditions(jnp.zeros(features.shape), batch, xt),
    )
    params = draw_params(rng, shapes['params'])
    stats = dict(mean=jnp.zeros(channels), std=jnp.ones(channels))
    return {'params': params, 'latent_stats': stats}

  def loss_fn(
    self, params, model_state, frozen, batch, rng, *, train: bool
  ) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """Equation 10 plus the error of clean latents and of the mouth.

    Args:
      batch: source `[B, H, W, 3]`, source_pose, source_blink, face_box,
        `[B, ...]`; video `[B, T, H, W, 3]` or z_mean, z_logvar
        `[B, T, h, w, C]` and optionally source_features; audio_emb, pose,
        blink, mouth_box, opening `[B, T, ...]`, source_opening `[B]`;
        source_landmarks `[B, 8, 2]`, landmarks `[B, T, 8, 2]` with video and
        `teacher_forcing`; frame_mask `[B, T]`, 0 for frames that do not count.

    Returns:
      loss, (model_state, terms). `mse` is the error of what is predicted, and
      `noise_mse` that of the noise it implies, which can be compared between
      objectives; with 'noise' they are the same.
    """
    terms, loss = {}, 0.0
    if self.noise_weight:
      terms = self._noise_terms(params, model_state, frozen, batch, rng, train)
      loss += terms['mse'] + self.x0_weight * terms['x0_mse']
      loss += self.mouth_weight * terms['mouth_mse']
      loss *= self.noise_weight
    if self.opening_weight:
      heard = self.denoiser.apply(
        {'params': params},
        batch['audio_emb'],
        batch['frame_mask'],
        method='predict_opening',
      )
      error = losses.opening(heard, batch['opening'], batch['frame_mask'])
      terms['opening'] = jnp.mean(error)
      loss += self.opening_weight * terms['opening']
    return loss, (model_state, terms)

  def _noise_terms(self, params, model_state, frozen, batch, rng, train):
    """Noises the latents of a batch, and finds out how well that is seen."""
    rng_z, rng_t, rng_noise, rng_null = jax.random.split(rng, 4)
    objective = objectives.make_objective(self.objective)
    x0 = self._labels(frozen, batch, rng_z)
    stats = model_state['latent_stats']
    x0 = (x0 - stats['mean']) / stats['std']
    opened = self._opened(model_state, frozen, batch)
    if opened is not None:
      x0 -= opened
    t = denoising.draw_levels(
      rng_t,
      x0.shape[:2],
      objective.schedule.num_steps,
      self.independent_levels,
    )
    noise = jax.random.normal(rng_noise, x0.shape)
    scales = noise_schedule.scales(objective.schedule, t, x0)
    null_prob = self.null_prob if train else 0.0
    null_shape = t.shape if self.null_per_frame else t.shape[:1]
    prediction = self.denoiser.apply(
      {'params': params},
      scales[0] * x0 + scales[1] * noise,
      t,
      denoising.conditions(self._source_features(frozen, batch), batch, opened),
      null_cond=jax.random.bernoulli(rng_null, null_prob, null_shape),
      frame_mask=batch['frame_mask'],
      method='denoise',
    )
    target = objective.target(x0, noise, *scales)
    return denoising.loss_terms(
      objective, prediction, target, scales, batch, self.max_x0_factor
    )

  def calibrate(
    self, model_state: dict, frozen: dict, batches: Iterable[dict]
  ) -> dict:
    """Returns model_state with mean and deviation of the labels' channels.

    One pass over `batches`, which are like those of training; without any,
    the statistics stay as they are.
    """
    moments = latent_space.channel_moments(self._posterior, frozen, batches)
    if moments is None:
      return model_state
    mean, std = moments
    return {**model_state, 'latent_stats': dict(mean=mean, std=std)}

  def sample(
    self, params: Any, model_state: dict, rng: jax.Array, **options: Any
  ) -> jax.Array:
    """Draws the latents of all frames in one `lax.scan`; to be jitted.

    Args:
      options: conditions and settings of `advance`; opened, see there.

    Returns:
      z `[B, T, h, w, latent_channels]`.
    """
    shapes = options['source_features'], options['frame_mask']
    state = self.start(*shapes, rng)
    state = self.advance(params, state, rng, **options)
    known = {k: options[k] for k in ('frame_mask', 'opened') if k in options}
    return self.finish(model_state, state, **known)

  def speak(
    self, params: Any, model_state: dict, frozen: dict, batch: dict
  ) -> jax.Array | None:
    """Changes of latents by the openings that are heard; to be jitted.

    Args:
      batch: audio_emb, pose `[B, T, ...]`, frame_mask `[B, T]`; of the source
        itself `[B, H, W, 3]`, source_landmarks, source_pose, source_opening.

    Returns:
      `[B, T, h, w, C]` in standard deviations, or None where the denoiser
      knows of no openings. Guidance does not reach it.
    """
    if not self.denoiser.opening:
      return None
    opening = self.denoiser.apply(
      {'params': params},
      batch['audio_emb'],
      batch['frame_mask'],
      method='speak',
    )
    # What is no mouth may look as open as one likes.
    widest = jnp.minimum(batch['source_opening'], OPENING_MAX)
    batch = batch | dict(opening=opening, source_opening=widest)
    return self._opened(model_state, frozen, batch)

  def start(
    self, source_features: jax.Array, frame_mask: jax.Array, rng: jax.Array
  ) -> sampling.State:
    """Noise of all frames, from which `advance` goes on."""
    height, width = (n // self.lmae.factor for n in source_features.shape[1:3])
    size = (height, width, self.lmae.latent_channels)
    rng_init, _ = jax.random.split(rng)
    shape = (*frame_mask.shape, *size)
    return sampling.start(sampling.frame_noise(rng_init, shape))

  def advance(
    self,
    params: Any,
    state: sampling.State,
    rng: jax.Array,
    *,
    source_features: jax.Array,
    audio_emb: jax.Array,
    pose: jax.Array,
    blink: jax.Array,
    source_pose: jax.Array,
    source_blink: jax.Array,
    face_box: jax.Array,
    frame_mask: jax.Array,
    opened: jax.Array | None = None,
    steps: int = 20,
    sampler: str = 'ddim',
    eta: float | None = None,
    guidance_scale: float = 1.0,
    first: int | jax.Array = 0,
    count: int | None = None,
  ) -> sampling.State:
    """Takes some steps of a sampler, by default all; to be jitted.

    Padding T changes nothing on the real frames.

    Args:
      state: of `start`, or after the steps before `first`.
      rng: that of `start`.
      source_features: E(x_src) `[B, H/4, W/4, C]`.
      audio_emb, pose, blink: `[B, T, ...]`; frame_mask `[B, T]`.
      source_pose, source_blink, face_box: of the source, `[B, ...]`.
      opened: of `speak`.
      steps: evaluations of the denoiser in all.
      sampler: see `sampling.advance`.
      eta: of DDIM: 0 adds no noise on the way, 1 as much as DDPM; None is the
        objective's own, 0 for 'flow' and else 1.
      guidance_scale: 1 needs one evaluation a step, anything else two.
      first, count: which of the steps to take now; `first` may be traced.

    Raises:
      ValueError: no such sampler, or more steps than levels.
    """
    cond = self.denoiser.apply(
      {'params': params},
      source_features,
      audio_emb,
      pose - source_pose[:, None],
      blink - source_blink[:, None],
      face_box,
      frame_mask,
      opened,
      method='condition',
    )
    _, rng_steps = jax.random.split(rng)
    objective = objectives.make_objective(self.objective)
    return sampling.advance(
      sampler,
      denoising.make_denoise_fn(
        self.denoiser, params, cond, frame_mask, guidance_scale
      ),
      state,
      rng_steps,
      objective,
      steps=steps,
      eta=objective.eta if eta is None else eta,
      clip=self.clip,
      frame_mask=frame_mask,
      first=first,
      count=count,
    )

  def finish(
    self,
    model_state: dict,
    state: sampling.State,
    frame_mask: jax.Array,
    opened: jax.Array | None = None,
  ) -> jax.Array:
    """Latents `[B, T, h, w, C]` in the LMAE's units, after the last step.

    `frame_mask` and `opened` are those of `advance`. What is heard comes after
    the smoothing: lips are quick.
    """
    stats = model_state['latent_stats']
    x0 = smoothing.over_time(state.xt, frame_mask, self.smoothing)
    if opened is not None:
      x0 += opened
    return x0 * stats['std'] + stats['mean']

  def predict(self, params, model_state, frozen, batch, rng) -> dict:
    """A generated clip under the conditions of each example.

    Returns:
      dict(z `[B, T, h, w, C]`, dynamics `[B, T, H/4, W/4, 3]`, prediction
      `[B, T, H, W, 3]` in [-1, 1]; z_label, a draw of the true latents, like
      z, where the batch tells of them).
    """
    known = ('audio_emb', 'pose', 'blink', 'frame_mask', 'face_box')
    known += ('source_pose', 'source_blink')
    features = latent_space.encode_source(self.fde, frozen, batch['source'])
    z = self.sample(
      params,
      model_state,
      source_features=features[-1],
      opened=self.speak(params, model_state, frozen, batch),
      **{name: batch[name] for name in known},
      rng=rng,
    )
    dynamics, images = latent_space.decode(
      self.fde, self.lmae, frozen, features, z
    )
    outputs = dict(z=z, dynamics=dynamics, prediction=images)
    if {'video', 'z_mean'} & set(batch):
      outputs['z_label'] = self._labels(frozen, batch, rng)
    return outputs

  def pictures(self, outputs: dict, batch: dict) -> dict[str, jax.Array]:
    """Clips `[B, T, H, W, C]`: frames in [-1, 1], flow, occlusion.

    `clip` has the true frames above the generated ones, where they are known.
    """
    clip = outputs['prediction']
    if 'video' in batch:
      clip = jnp.concatenate([batch['video'], clip], axis=2)
    return dict(
      source=batch['source'],
      clip=clip,
      flow=outputs['dynamics'][..., :2],
      occlusion=outputs['dynamics'][..., 2:],
    )

  def encode_source(self, frozen: dict, source: jax.Array) -> jax.Array:
    """E(x_src) `[H/4, W/4, C]` of `[H, W, 3]` in [-1, 1]; to be jitted."""
    return latent_space.encode_source(self.fde, frozen, source[None])[-1][0]

  def encode_clip(
    self,
    frozen: dict,
    source: jax.Array,
    frames: jax.Array,
    source_points: jax.Array,
    points: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """Posterior of a clip's latents (equation 4); to be jitted.

    Args:
      source: `[H, W, 3]` in [-1, 1].
      frames: `[T, H, W, 3]`.
      source_points, points: guide points `[8, 2]` and `[T, 8, 2]`, which count
        with `teacher_forcing`.

    Returns:
      mean and logvar `[T, h, w, C]`.
    """
    batch = dict(source=source[None], video=frames[None])
    batch |= dict(source_landmarks=source_points[None], landmarks=points[None])
    mean, logvar = self._posterior(frozen, batch)
    return mean[0], logvar[0]

  def _posterior(self, frozen, batch):
    """Mean and logvar `[B, T, h, w, C]`: cached ones, or from the frames."""
    if 'z_mean' in batch:
      return batch['z_mean'], batch['z_logvar']
    points = None
    if self.teacher_forcing:
      points = batch['source_landmarks'], batch['landmarks']
    return latent_space.encode(
      self.fde, self.lmae, frozen, batch['source'], batch['video'], points
    )

  def _labels(self, frozen, batch, rng):
    """Draws of the posterior `[B, T, h, w, C]`, what the diffusion learns."""
    return sample_posterior(*self._posterior(frozen, batch), rng)

  def _opened(self, model_state, frozen, batch):
    """Standardised changes of latents by the openings of a batch, or None."""
    if not self.denoiser.opening:
      return None
    known = ('source', 'source_landmarks', 'source_pose', 'source_opening')
    known += ('pose', 'opening')
    given = {name: batch[name] for name in known}
    z = mouths.open_latents(self.fde, self.lmae, frozen, **given)
    return z / model_state['latent_stats']['std']

  def _source_features(self, frozen, batch):
    """E(x_src) `[B, H/4, W/4, C]`, cached or computed."""
    if 'source_features' in batch:
      return batch['source_features']
    return latent_space.encode_source(self.fde, frozen, batch['source'])[-1]

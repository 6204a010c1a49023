"""The rows of compare_dawn.py: what is compared, and our side of it."""

import functools
import pathlib
from typing import Any
from unittest import mock

import dawn_public
import jax
import jax.numpy as jnp
import numpy as np
import pth_to_safetensors
import torch
from dawn_clips import Clip, as_torch, from_torch, portraits

from mdcf_jax.cli import convert as command
from mdcf_jax.convert import dawn_pose
from mdcf_jax.models.denoiser import Denoiser
from mdcf_jax.models.fde import FDE
from mdcf_jax.models.lmae import Identity
from mdcf_jax.models.pbnet import PBNet
from mdcf_jax.ops import sampling
from mdcf_jax.ops.boxes import box_coverage
from mdcf_jax.ops.warp import identity_grid
from mdcf_jax.phases import latent_space
from mdcf_jax.phases.diffusion import DiffusionPhase

HEADER = ('what', 'parameters', 'largest value', 'largest error', 'mean error')
WINDOW = 40  # Of the U-Net's attention, as released.
LEVEL = 500  # Of the noise that one evaluation sees.
GUIDANCE = 2.0
PBNET_WINDOWS = {5: 200, 6: 100}  # Of its two versions.


def compare_all(
  checkout: pathlib.Path, folder: pathlib.Path, frames: int, steps: int
) -> None:
  """Every module, then all of them together.

  Args:
    checkout: of the public code.
    folder: for checkpoints and their conversions.
    frames: of the longest clip that the U-Net sees.
    steps: of sampling.
  """
  dawn_public.prepare(checkout)
  torch.manual_seed(0)
  torch.set_num_threads(1)
  show(*HEADER)
  show(*['---'] * len(HEADER))
  lfg = dawn_public.LFG(checkout, as_torch(portraits(256)))
  fde = convert(folder, 'lfg', 'dawn-lfg', lfg.checkpoint())
  for size in (128, 256):
    compare_lfg(lfg, fde, size)
  path = folder / 'lfg.pth'
  system = dawn_public.system(checkout, path, WINDOW + 4, WINDOW)
  networks = dict(
    diffusion=system.diffusion.state_dict(),
    # Neither trained nor saved there; the file may have it all the same.
    face_encoder=system.face_loc_emb.state_dict(),
  )
  unet = convert(folder, 'diffusion', 'dawn-unet', networks)
  compare_face_box(system, unet, 128)
  for kind, clip, size in (
    ('training', WINDOW, 128),
    ('masked', frames, 128),
    ('low memory', frames, 128),
    ('guided', WINDOW + 4, 128),
    ('masked', WINDOW + 4, 256),
  ):
    compare_unet(system, unet, kind, clip, size)
  compare_videos(system, fde, unet, steps, 128)
  for version, part, numbers in (
    (5, 'pose', (6, 0)),
    (5, 'blink', (0, 2)),
    (6, 'pose', (6, 0)),
  ):
    compare_pbnet(folder, version, part, numbers)


def show(*cells: Any) -> None:
  """Prints one row of a table in Markdown."""
  print('|', ' | '.join(map(str, cells)), '|', flush=True)


def compare(what: str, parameters: int, ours: Any, theirs: Any) -> None:
  """Prints one row of errors."""
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  if ours.shape != theirs.shape:
    raise ValueError(f'{what}: ours is {ours.shape}, theirs {theirs.shape}')
  error = np.abs(ours - theirs)
  numbers = (np.abs(theirs).max(), error.max(), error.mean())
  show(what, f'{parameters:,}', *(f'{x:.2g}' for x in numbers))


def count(*modules: Any) -> int:
  """Parameters of public modules; what two share counts once."""
  return sum(x.numel() for x in {p for m in modules for p in m.parameters()})


def convert(folder: pathlib.Path, name: str, kind: str, checkpoint: dict):
  """Saves a checkpoint and returns (keywords, variables) as `mdcf convert`."""
  path = folder / f'{name}.pth'
  torch.save(checkpoint, path)
  target = path.with_suffix('.safetensors')
  pth_to_safetensors.convert(path, target)
  description, variables, _ = command.convert(kind, [str(target)])
  return description.model, variables


def compare_lfg(lfg: Any, fde: tuple, size: int) -> None:
  """Regions, background, dynamics and pictures of two portraits."""
  source, driving = (x[None] for x in portraits(size)[:2])
  theirs = lfg(as_torch(source), as_torch(driving))
  grid = theirs['optical_flow'].numpy()
  occlusion = from_torch(theirs['occlusion_map'])
  ours = our_lfg(fde, source, driving, grid, occlusion)
  counts = {name: count(part) for name, part in lfg.parts.items()}

  def row(part, what, ours, expected):
    compare(f'{what}, {size} pixels', counts[part], ours, expected)

  expected = theirs['regions']
  expected['heatmap'] = expected['heatmap'].movedim(1, -1)
  for name in ('shift', 'covar', 'heatmap'):
    what = f'regions: {name}'
    row('region_predictor', what, ours['regions'][name], expected[name])
  # The signs of principal axes are arbitrary.
  squares = [
    x['affine'] @ x['affine'].swapaxes(-1, -2)
    for x in (ours['regions'], expected)
  ]
  row('region_predictor', 'regions: affine, squared', *squares)
  row('bg_predictor', 'background: matrix', ours['matrix'], theirs['matrix'])
  row('generator', 'flow: grid', ours['grid'], grid)
  row('generator', 'flow: occlusion', ours['occlusion'], occlusion)
  features = from_torch(theirs['bottle_neck_feat'])
  row('generator', 'generator: features', ours['features'], features)
  picture = from_torch(theirs['prediction'])
  what = 'generator: picture of the same dynamics'
  row('generator', what, ours['picture_of_given'], picture)
  row('generator', 'all: picture', ours['picture'], picture)


def our_lfg(fde: tuple, *images: Any) -> dict[str, Any]:
  """What our FDE makes of source, driving; and of source, grid, occlusion."""
  model, variables = fde

  def apply(module, source, driving, *given):
    regions = [
      module.region_predictor(x, train=False) for x in (source, driving)
    ]
    matrix = module.background_predictor(source, driving, train=False)
    dynamics = module.flow_predictor(source, *regions, matrix, train=False)
    generator = module.image_generator
    features = generator.encode(source, train=False)
    return dict(
      regions=regions[1],
      matrix=matrix,
      grid=dynamics[0],
      occlusion=dynamics[1],
      features=features[-1],
      picture=generator.decode(features, *dynamics, train=False),
      picture_of_given=generator.decode(features, *given, train=False),
    )

  program = functools.partial(FDE(**model['fde']).apply, method=apply)
  return jax.jit(program)(variables, *images)


def compare_face_box(system: Any, unet: tuple, size: int) -> None:
  """The rectangle of the face and its encoder."""
  model, variables = unet
  clip = Clip(1, size)
  theirs = system.face_loc_emb(
    system.generate_bbox_mask(clip.public_box, size=size)
  )
  mask = box_coverage(clip.ours['face_box'], size, size)
  ours = Denoiser(**model['denoiser']).apply(
    {'params': variables['params']},
    mask,
    method=lambda module, mask: module.face_encoder(mask),
  )
  parameters = count(system.face_loc_emb)
  compare(
    f'box of the face, {size} pixels', parameters, ours, from_torch(theirs)
  )


def compare_unet(
  system: Any, unet: tuple, kind: str, frames: int, size: int
) -> None:
  """One evaluation of the U-Net.

  Args:
    system: the public one.
    unet: ours, of `convert`.
    kind: which of the public versions.
    frames, size: of the clip, in pixels.
  """
  clip = Clip(frames, size)
  shape = (1, frames, size // 4, size // 4, 3)
  xt = np.random.RandomState(1).randn(*shape).astype(np.float32)
  theirs = dawn_public.predict(
    system, clip, xt, kind, LEVEL, GUIDANCE if kind == 'guided' else 1.0
  )
  ours = our_unet(unet, kind, clip, xt)
  what = f'U-Net, {kind}, {frames} frames, {size} pixels'
  compare(what, count(system.unet), ours, from_torch(theirs))


def our_unet(unet: tuple, kind: str, clip: Clip, xt: Any):
  """The same with our Denoiser, `[1, T, h, w, 3]`."""
  model, variables = unet
  window = dict(window=None if kind == 'training' else WINDOW)
  module = Denoiser(**model['denoiser'] | window)
  given = clip.ours
  conditions = dict(
    source_features=clip.features,
    audio_emb=given['audio_emb'],
    pose_delta=given['pose'] - given['source_pose'][:, None],
    blink_delta=given['blink'] - given['source_blink'][:, None],
    face_box=given['face_box'],
  )

  @jax.jit
  def apply(params, xt, conditions):
    t = jnp.full(xt.shape[:2], LEVEL)

    def denoise(null):
      hide = jnp.full(xt.shape[:1], null)
      return module.apply(
        {'params': params}, xt, t, conditions, null_cond=hide, method='denoise'
      )

    if kind != 'guided':
      return denoise(False)
    null = denoise(True)
    return null + GUIDANCE * (denoise(False) - null)

  return apply(variables['params'], xt, conditions)


def compare_videos(
  system: Any, fde: tuple, unet: tuple, steps: int, size: int
) -> None:
  """From a portrait and conditions to frames, with the same noise."""
  clip = Clip(WINDOW + 4, size)
  shape = (steps, 1, clip.frames, size // 4, size // 4, 3)
  noise = np.random.RandomState(2).randn(*shape).astype(np.float32)
  theirs = dawn_public.video(system, clip, noise)
  dynamics, frames = our_video(fde, unet, clip, noise)
  what = f'DDIM of {steps} steps, {clip.frames} frames, {size} pixels'
  grid = from_torch(theirs['sample_vid_grid'])
  parameters = count(system.unet, system.face_loc_emb, system.generator)
  compare(f'{what}: grid', parameters, dynamics[..., :2], grid)
  occlusion = from_torch(theirs['sample_vid_conf'])
  compare(f'{what}: occlusion', parameters, dynamics[..., 2:], occlusion)
  expected = from_torch(theirs['sample_out_vid'])
  compare(f'{what}: pictures', parameters, frames, expected)


def our_video(fde: tuple, unet: tuple, clip: Clip, noise: Any):
  """Grid and occlusion, and frames in [0, 1], of the phase that generates."""
  phase = DiffusionPhase(
    FDE(**fde[0]['fde']), Identity(), Denoiser(**unet[0]['denoiser'])
  )
  frozen = dict(
    fde=dict(
      params=fde[1]['params'],
      model_state=dict(batch_stats=fde[1]['batch_stats']),
    ),
    lmae=dict(params={}, model_state={}),
  )
  rng, steps = jax.random.key(0), len(noise)
  _, rng_steps = jax.random.split(rng)
  keys = jax.vmap(lambda i: jax.random.fold_in(rng_steps, i))(jnp.arange(steps))
  # The first is the start, and the last step adds none.
  given = jnp.concatenate([noise[1:], 0 * noise[:1]])
  source = 2 * portraits(clip.size)[:1] - 1

  @jax.jit
  def run(params, frozen, conditions):
    features = latent_space.encode_source(phase.fde, frozen, source)
    state = phase.advance(
      params,
      sampling.start(jnp.asarray(noise[0])),
      rng,
      source_features=features[-1],
      steps=steps,
      sampler='ddim-dawn',
      **conditions,
    )
    return latent_space.decode(
      phase.fde, phase.lmae, frozen, features, state.xt
    )

  replaced = lambda key, _: given[jnp.argmax(keys == key)]
  with mock.patch.object(sampling, 'frame_noise', replaced):
    dynamics, frames = run(unet[1]['params'], frozen, clip.ours)
  grid = dynamics[..., :2] + identity_grid(*dynamics.shape[2:4])
  dynamics = jnp.concatenate([grid, dynamics[..., 2:]], axis=-1)
  return dynamics, (frames + 1) / 2


def compare_pbnet(
  folder: pathlib.Path, version: int, part: str, numbers: tuple[int, int]
) -> None:
  """Posterior and motion of one PBNet.

  Args:
    folder: for its checkpoint.
    version: of the public files.
    part: 'pose' or 'blink'.
    numbers: of pose and of blink in a frame.
  """
  theirs = dawn_public.pbnet(version, *numbers)
  name = f'pbnet_{part}_{version}'
  net = convert(folder, name, 'dawn-pbnet', theirs.state_dict())
  window = PBNET_WINDOWS[version]
  # The posterior has no window there: the longest clip without an effect.
  for kind, length in (('encoder', window), ('decoder', window + 50)):
    draw = np.random.RandomState(length).standard_normal
    batch = dict(
      x=0.5 + 0.2 * draw((1, length, sum(numbers))),
      y=draw((1, length, 1024)),
      z=draw((length, 1, 256)),
    )
    batch = {key: x.astype(np.float32) for key, x in batch.items()}
    given = {key: torch.from_numpy(x) for key, x in batch.items()}
    mask = torch.ones(1, length, dtype=torch.bool)
    lengths = torch.tensor([length])
    with dawn_public.quiet():
      made = theirs[kind](dict(given, mask=mask, lengths=lengths))
    for key, ours in our_pbnet(net, window, kind, batch).items():
      expected = made[key].numpy()
      expected = expected if key == 'output' else expected.swapaxes(0, 1)
      what = f'PBNet {version}, {part}: {key}, {length} frames'
      compare(what, count(theirs), ours, expected)


def our_pbnet(net: tuple, window: int, kind: str, batch: dict[str, Any]):
  """The same from our PBNet, in the order and units of the public one."""
  model, variables = net
  module = PBNet(**model['pbnet'] | dict(window=window))
  dim = module.motion_dim
  order = list(dawn_pose.ORDER) if dim == 6 else list(range(dim))
  center, scale = (
    np.float32(x) for x in (module.motion_center, module.motion_scale)
  )
  motion = batch['x'][..., order] * scale + center
  mask = np.ones(motion.shape[:2], np.float32)
  program = jax.jit(
    functools.partial(module.apply, method=kind.removesuffix('r'))
  )
  if kind == 'encoder':
    mean, logvar, _ = program(variables, motion, batch['y'], mask)
    return dict(mu=mean, logvar=logvar)
  z = batch['z'].swapaxes(0, 1)
  delta, _ = program(variables, z, batch['y'], motion[:, 0], mask)
  return dict(output=np.asarray(delta)[..., np.argsort(order)])

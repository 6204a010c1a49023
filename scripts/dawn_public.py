"""The public DAWN's modules, out of a checkout of its repository.

For compare_dawn.py. They run on the CPU with random weights; nothing of theirs
is copied here, and no file of the checkout is changed. Three things of their
surroundings are: packages for pictures and plots that are imported and not used
may be missing, `.cuda()` does nothing, and noise is given, not drawn.
"""

import contextlib
import importlib
import importlib.util
import io
import pathlib
import sys
from typing import Any
from unittest import mock

import torch
import yaml
from dawn_clips import Clip, as_torch, portraits
from torch import nn

# Pictures, plots and VGG19: packages, and modules of them.
_UNUSED = {
  'cv2': (),
  'matplotlib': ('matplotlib.pyplot',),
  'skimage': ('skimage.draw',),
  'torchvision': ('torchvision.transforms',),
}
_UNETS = (
  'DM_3.modules.video_flow_diffusion_multiGPU_v0_crema_plus_faceemb_ca_multi'
)
_SYSTEM = (
  'DM_3.modules.video_flow_diffusion_model_multiGPU_v0_crema_vgg_floss_plus_'
  'faceemb_flow_fast_init_cond_test'
)
_PBNET = 'src.models.architectures.transformerreemb'
# Of its command line's defaults and of what is released.
_PBNET_SIZES = dict(
  modeltype='cvae',
  num_frames=200,
  audio_dim=1024,
  pose_latent_dim=64,
  audio_latent_dim=256,
  ff_size=128,
  num_layers=2,
  num_heads=4,
  num_buckets=128,
  max_distance=128,
)


def prepare(checkout: pathlib.Path) -> None:
  """Makes the checkout importable."""
  sys.path += [str(checkout), str(checkout / 'PBnet')]
  for name, parts in _UNUSED.items():
    if importlib.util.find_spec(name) is None:
      # What is called all the same gives a mock, which is no number.
      sys.modules |= {x: mock.MagicMock() for x in (name, *parts)}
  # The code moves its networks to a GPU unasked; here all stays on the CPU.
  nn.Module.cuda = torch.Tensor.cuda = lambda self, *_, **__: self
  torch.set_grad_enabled(False)


def draw(module: nn.Module) -> nn.Module:
  """Draws weights of about unit gain; gains and biases near where they were."""
  for x in module.parameters():
    if not x.requires_grad:
      continue  # Frequencies of rotary embeddings, which are constants.
    if x.squeeze().ndim > 1:
      x.normal_(0, x[0].numel() ** -0.5)
    else:
      x.add_(0.1 * torch.randn(x.shape))
  return module.eval()


class LFG:
  """The image side: regions, background, flow, generator.

  Args:
    checkout: of the repository.
    images: `[B, 3, H, W]` in [0, 1], which batch norms are adjusted to.
  """

  def __init__(self, checkout: pathlib.Path, images: torch.Tensor):
    text = (checkout / 'config' / 'hdtf256.yaml').read_text()
    config = yaml.safe_load(text)['model_params']
    find = lambda file, name: getattr(
      importlib.import_module(f'LFG.modules.{file}'), name
    )
    common = dict(num_channels=config['num_channels'])
    regions = dict(num_regions=config['num_regions'], **common)
    self.parts = nn.ModuleDict(
      dict(
        generator=find('generator', 'Generator')(
          revert_axis_swap=config['revert_axis_swap'],
          **regions,
          **config['generator_params'],
        ),
        region_predictor=find('region_predictor', 'RegionPredictor')(
          estimate_affine=config['estimate_affine'],
          **regions,
          **config['region_predictor_params'],
        ),
        bg_predictor=find('bg_motion_predictor', 'BGMotionPredictor')(
          **common, **config['bg_predictor_params']
        ),
      )
    )
    draw(self.parts)
    # Near the identity, as trained ones are.
    self.parts['bg_predictor'].fc.weight.mul_(0.1)
    for x in self.parts.modules():
      if isinstance(x, nn.modules.batchnorm._BatchNorm):
        x.momentum = 1.0  # Statistics of these images, not of all before.
    self.parts.train()
    self(images, images.flip(0))
    self.parts.eval()

  def __call__(self, source, driving) -> dict[str, torch.Tensor]:
    """Everything from two images: regions, matrix, dynamics, picture."""
    regions = [self.parts['region_predictor'](x) for x in (source, driving)]
    matrix = self.parts['bg_predictor'](source, driving)
    made = self.parts['generator'](source, *reversed(regions), matrix)
    return dict(made, regions=regions[1], matrix=matrix)

  def decode(self, source, grid, occlusion) -> torch.Tensor:
    """The picture of given dynamics."""
    made = self.parts['generator'].forward_with_flow(source, grid, occlusion)
    return made['prediction']

  def checkpoint(self) -> dict:
    """As training saves it."""
    return {name: part.state_dict() for name, part in self.parts.items()}


def system(
  checkout: pathlib.Path, lfg: pathlib.Path, frames: int, window: int
) -> nn.Module:
  """Returns what generates videos there, with random weights.

  Args:
    checkout: of the repository.
    lfg: file of the LFG's checkpoint.
    frames: of a video.
    window: of attention in time, frames to each side.
  """
  made = importlib.import_module(_SYSTEM).FlowDiffusion(
    num_frames=frames,
    win_width=window,
    pose_dim=6,
    is_train=False,
    pretrained_pth=str(lfg),
    config_pth=str(checkout / 'config' / 'hdtf256.yaml'),
  )
  made.update_num_frames(frames)
  draw(made.diffusion)
  draw(made.face_loc_emb)
  return made


def unet_like(unet: nn.Module, kind: str, window: int) -> nn.Module:
  """Returns another version of the U-Net with the same weights.

  Args:
    unet: of `system`.
    kind: '' for that of training, '_test_local_opt' for the one that saves
      memory.
    window: of attention in time; that of training has none.
  """
  options = dict(win_width=window) if kind else {}
  found = importlib.import_module(_UNETS + kind).DynamicNfUnet3D(
    dim=64,
    cond_dim=1032,
    cond_aud=1024,
    cond_pose=6,
    cond_eye=2,
    channels=275,
    use_hubert_audio_cond=True,
    **options,
  )
  found.load_state_dict(unet.state_dict())
  found.update_num_frames(unet.num_frames)
  return found.eval()


def pbnet(version: int, pose: int, blink: int) -> nn.Module:
  """Returns a PBNet with random weights: `encoder` and `decoder`.

  Args:
    version: 5 or 6, as its files are numbered.
    pose, blink: how many numbers of each a frame has.
  """
  module = importlib.import_module(f'{_PBNET}{version}')
  sizes = dict(_PBNET_SIZES, pos_dim=pose, eye_dim=blink)
  parts = {
    part: getattr(module, f'{part.title()}_TRANSFORMERREEMB{version}')(**sizes)
    for part in ('encoder', 'decoder')
  }
  return draw(nn.ModuleDict(parts))


def predict(
  system: nn.Module, clip: Clip, xt: Any, kind: str, level: int, guidance: float
) -> torch.Tensor:
  """Noise that a version of the U-Net predicts, `[1, 3, T, h, w]`.

  Args:
    system: of `system`.
    clip: the conditions.
    xt: `[1, T, h, w, 3]`.
    kind: 'training' or 'low memory', see `unet_like`; else the one of `system`.
    level: of the noise.
    guidance: 1 for none.
  """
  system.update_num_frames(clip.frames)
  mask = system.generate_bbox_mask(clip.public_box, size=clip.size)
  static = [as_torch(clip.features), system.face_loc_emb(mask)]
  static = torch.cat(static, dim=1)[:, :, None].repeat(1, 1, clip.frames, 1, 1)
  unet, files = system.unet, {'training': '', 'low memory': '_test_local_opt'}
  if kind in files:
    unet = unet_like(unet, files[kind], unet.time_rel_pos_bias.window_width)
  return unet.forward_with_cond_scale(
    torch.cat([as_torch(xt), static], dim=1),
    torch.full((1,), level),
    cond=clip.public_condition,
    cond_scale=guidance,
  )


def video(system: nn.Module, clip: Clip, noise: Any) -> dict[str, Any]:
  """What becomes of the portrait.

  Args:
    system: of `system`.
    clip: the conditions; its features are not used.
    noise: `[steps, 1, T, h, w, 3]`, what is drawn before each step.
  """
  system.update_num_frames(clip.frames)
  system.diffusion.sampling_timesteps = len(noise)
  draws = iter([as_torch(x) for x in noise])
  given = lambda *_, **__: next(draws)
  pose, blink = (torch.from_numpy(x) for x in (clip.pose, clip.blink))
  with (
    mock.patch.object(torch, 'randn', given),
    mock.patch.object(torch, 'randn_like', given),
    quiet(),
  ):
    made = system.sample_one_video(
      sample_img=as_torch(portraits(clip.size)[:1]),
      sample_audio_hubert=torch.from_numpy(clip.audio),
      sample_pose=pose.swapaxes(1, 2),
      sample_eye=blink.swapaxes(1, 2),
      sample_bbox=clip.public_box,
      cond_scale=1.0,
      init_pose=pose[:, 0],
      init_eye=blink[:, 0],
    )
  if next(draws, None) is not None:
    raise ValueError('the public code drew less noise than it has steps')
  return made


@contextlib.contextmanager
def quiet():
  """Keeps what the public code prints out of the table."""
  with (
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()),
  ):
    yield

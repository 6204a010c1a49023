"""Sizes of every module: the keyword arguments of its linen class.

`base` is the paper's model, `mini` the bundled one, `tiny` what tests use. The
three have the same structure (depths, and so shapes of latents); only widths
differ.
"""

from mdcf_jax.convert import dawn_pose

SIZES = {
  'base': dict(
    fde=dict(
      num_regions=10,
      scale=4,
      region=dict(block_expansion=32, num_blocks=5, max_features=1024),
      background=dict(block_expansion=32, num_blocks=5, max_features=1024),
      flow=dict(block_expansion=64, num_blocks=5, max_features=1024),
      generator=dict(
        block_expansion=64, max_features=512, num_bottleneck_blocks=6
      ),
    ),
    lmae=dict(
      latent_channels=4,
      features=(64, 128, 256, 256),
      num_groups=32,
      flow_gain=10.0,
    ),
    denoiser=dict(
      dim=64,
      dim_mults=(1, 2, 4, 8),
      num_heads=8,
      head_dim=32,
      cross_heads=8,
      cross_head_dim=8,
      window=40,
      stem_features=256,
      audio_features=256,
    ),
    pbnet=dict(
      latent_dim=256,
      reference_dim=64,
      audio_dim=256,
      audio_features=128,
      z_stride=8,
    ),
  ),
  'mini': dict(
    fde=dict(
      num_regions=10,
      scale=4,
      # What was outside of the portrait continues it; a border makes streaks.
      padding='reflection',
      region=dict(block_expansion=8, num_blocks=5, max_features=128),
      background=dict(block_expansion=4, num_blocks=5, max_features=64),
      flow=dict(
        block_expansion=8,
        num_blocks=5,
        max_features=128,
        occlusion_bias=2.0,
        mask_prior=2.0,
      ),
      generator=dict(
        block_expansion=16,
        max_features=64,
        num_bottleneck_blocks=3,
        edge_kernel=3,  # 7 x 7 at full size is half of a CPU's time.
      ),
    ),
    lmae=dict(
      latent_channels=4,
      features=(16, 32, 64, 80),
      num_groups=8,
      flow_gain=10.0,
      shortcut=True,
      wave=True,
    ),
    denoiser=dict(
      dim=32,
      dim_mults=(1, 2, 3, 3),
      num_heads=4,
      head_dim=16,
      cross_heads=4,
      cross_head_dim=8,
      window=16,
      stem_features=64,
      audio_features=96,
      opening=True,
      opening_gain=4.0,
    ),
    pbnet=dict(
      latent_dim=32,
      reference_dim=48,
      audio_dim=64,
      audio_features=64,
      num_heads=4,
      head_dim=16,
      rotary_dim=16,
      num_buckets=64,
      z_stride=12,
    ),
  ),
  'tiny': dict(
    fde=dict(
      num_regions=10,
      scale=4,
      region=dict(block_expansion=4, num_blocks=3, max_features=16),
      background=dict(block_expansion=4, num_blocks=3, max_features=16),
      flow=dict(
        block_expansion=4,
        num_blocks=3,
        max_features=16,
        occlusion_bias=2.0,
        mask_prior=2.0,
      ),
      generator=dict(
        block_expansion=8,
        max_features=16,
        num_bottleneck_blocks=1,
        edge_kernel=3,
      ),
    ),
    lmae=dict(
      latent_channels=4,
      features=(8, 8, 16, 16),
      num_blocks=1,
      num_groups=4,
      flow_gain=10.0,
    ),
    denoiser=dict(
      dim=8,
      dim_mults=(1, 2),
      num_heads=2,
      head_dim=8,
      cross_heads=2,
      cross_head_dim=4,
      num_groups=4,
      window=8,
      stem_features=16,
      audio_features=16,
      audio_layers=2,
      opening=False,
    ),
    pbnet=dict(
      latent_dim=8,
      reference_dim=16,
      audio_dim=16,
      audio_features=16,
      num_layers=1,
      num_heads=2,
      head_dim=8,
      rotary_dim=8,
      ff_dim=32,
      num_buckets=32,
      z_stride=8,
    ),
  ),
}

# The image auto-encoder d/32 of the ablation `vae`. `base` has the widths of
# latent diffusion's f = 32; its levels halve the picture five times.
IMAGE_VAE = {
  'base': dict(
    latent_channels=4,
    features=(128, 128, 256, 256, 512, 512),
    num_groups=32,
  ),
  'mini': dict(
    latent_channels=4,
    features=(16, 16, 32, 32, 64, 80),
    num_groups=8,
  ),
  'tiny': dict(
    latent_channels=4,
    features=(8, 8, 16, 16, 24, 24),
    num_blocks=1,
    num_groups=4,
  ),
}

# What `mdcf convert dawn-lfg` makes of the public checkpoint.
DAWN_FDE = SIZES['base']['fde'] | dict(
  generator=dict(
    block_expansion=64,
    max_features=256,
    num_bottleneck_blocks=6,
    edge_kernel=7,
  ),
  align_corners=False,  # As its weights were trained.
  padding='zeros',
)

# What `mdcf convert dawn-unet` makes of the public denoiser, beside its widths,
# which are those of `base`.
DAWN_DENOISER = dict(
  latent_channels=3,
  heads=(2, 1),  # Of the grid and of the occlusion.
  norm_over_time=True,
  stem_features=0,
  audio_features=0,
  pose_scale=dawn_pose.UNIT,
  blink_scale=1.0,
)

"""Sizes of every module: the keyword arguments of its linen class.

`base` is the paper's model, `mini` the bundled one, `tiny` what tests use. The
three have the same structure (depths, and so shapes of latents); only widths
differ.
"""

SIZES = {
  'base': dict(
    fde=dict(num_regions=10),
    lmae=dict(
      latent_channels=4,
      features=(64, 128, 256, 256),
      num_groups=32,
      flow_gain=10.0,
    ),
    denoiser=dict(dim=64, dim_mults=(1, 2, 4, 8)),
    pbnet=dict(latent_dim=256),
  ),
  'mini': dict(
    fde=dict(num_regions=10),
    lmae=dict(
      latent_channels=4, features=(16, 32, 64, 80), num_groups=8, flow_gain=10.0
    ),
    denoiser=dict(dim=32, dim_mults=(1, 2, 4, 4)),
    pbnet=dict(latent_dim=32),
  ),
  'tiny': dict(
    fde=dict(num_regions=10),
    lmae=dict(
      latent_channels=4, features=(8, 8, 16, 16), num_groups=4, flow_gain=10.0
    ),
    denoiser=dict(dim=8, dim_mults=(1, 2)),
    pbnet=dict(latent_dim=16),
  ),
}

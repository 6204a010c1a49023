"""The one data pipeline of all phases: records in, batches of a phase out.

`config.data` and its defaults (`configs/base.py` defines every key):

  DATA_DEFAULTS = dict(
    dir='',  # A prepared dataset; '' means synthetic clips made in memory.
    latents='',  # Folder of cached latents `<id>.npz`; '' encodes on the fly.
    num_frames=32,  # T of a window: diffusion, pbnet.
    source='first',  # Source of a window: 'first' frame or 'random' of clip.
    swap=True,  # Exchange source and driving half of the time: fde, lmae.
    flip=True,  # Mirror half of the samples, with boxes, points and pose.
    min_zoom=0.5,  # Smallest random square crop, of the side: fde, lmae.
    color_jitter=0.1,  # Relative change of brightness, contrast, colour.
    balance_identities=True,  # Draw the identity uniformly, then the clip.
    keys=(),  # Arrays of a batch; () means those that the phase needs.
    num_threads=4,  # Threads that read and decode ahead.
    prefetch=16,  # Samples decoded ahead.
    synthetic_clips=16,  # Training clips when dir is ''; val has a quarter.
    synthetic_frames=50,  # Frames of each of them.
  )

Also read: `config.phase`, `config.resolution`, `config.batch_size` (of all
processes together), `config.seed`.
"""

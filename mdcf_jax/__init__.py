"""Microscope / MDCF: talking heads from one portrait and a recording.

import mdcf_jax
pipe = mdcf_jax.Pipeline.from_pretrained('mini')
pipe('me.jpg', 'talk.wav').save('talk.mp4')
"""

from mdcf_jax.errors import InputError
from mdcf_jax.programs import keep_programs

__version__ = '0.1.0'
__all__ = ['InputError', 'Pipeline', '__version__', 'keep_programs']


def __getattr__(name: str):
  # `import mdcf_jax` stays cheap: jax and flax come with the first use.
  if name == 'Pipeline':
    from mdcf_jax.pipeline import Pipeline

    return Pipeline
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

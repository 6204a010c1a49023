"""Compiled programs, kept for the next process."""


def keep_programs() -> None:
  """Lets jax keep what it compiles in the user's cache.

  `$XDG_CACHE_HOME/mdcf_jax/programs`, by default in `~/.cache`. Where jax keeps
  programs already, as by `JAX_COMPILATION_CACHE_DIR`, nothing changes.
  """
  import jax

  from mdcf_jax.media.download import cache_dir

  if not jax.config.jax_compilation_cache_dir:
    programs = str(cache_dir() / 'programs')
    jax.config.update('jax_compilation_cache_dir', programs)

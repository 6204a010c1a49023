"""Arrays in, arrays out: pure functions that import jax only."""

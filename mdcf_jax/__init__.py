"""Microscope / MDCF: talking heads from one portrait and speech, in JAX."""

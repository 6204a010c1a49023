"""Linen modules of the four networks."""

"""`report.html`: what is in a dataset, and what was left out of it."""

from mdcf_jax.prepare.report.left_out import Dropped
from mdcf_jax.prepare.report.page import write_report

__all__ = ['Dropped', 'write_report']

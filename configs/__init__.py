"""Configurations: one function per phase."""

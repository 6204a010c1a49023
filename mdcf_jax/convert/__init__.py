"""Weights of public implementations as variables of our modules.

One module per file that users have; each holds a table of names.
"""

"""Weights of the Hugging Face Hub: found by name, fetched, and put there."""

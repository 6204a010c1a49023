"""Records, transforms and pipelines for training."""

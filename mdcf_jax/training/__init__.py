"""State, step, checkpoints and the loop that serve every phase."""

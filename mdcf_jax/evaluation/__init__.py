"""Scores of folders of clips."""

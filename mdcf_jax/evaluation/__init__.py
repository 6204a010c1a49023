"""Scores of folders of clips: clips, networks, the table of metrics, reports."""

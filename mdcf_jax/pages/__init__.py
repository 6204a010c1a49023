"""What the HTML pages of this package have in common."""

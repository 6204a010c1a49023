"""What is where it runs, in a form to paste into a report of a bug."""

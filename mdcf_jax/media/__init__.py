"""The edge: files of the user, in and out."""

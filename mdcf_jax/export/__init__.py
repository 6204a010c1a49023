"""The networks as programs of their own, which need no code of this package."""

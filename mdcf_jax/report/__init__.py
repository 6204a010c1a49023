"""The page of `mdcf report`: scores of systems, with curves and clips."""

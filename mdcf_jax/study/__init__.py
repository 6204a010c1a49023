"""A study with people, as the paper's (appendix A.4): page, key, scores."""

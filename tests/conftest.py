"""Hypothesis draws the same examples in every run: a test that passes here passes everywhere."""

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

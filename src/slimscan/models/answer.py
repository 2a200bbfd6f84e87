"""What a predictor may answer with."""

from __future__ import annotations


class BadAnswer(Exception):
    """A predictor's answer has another form than promised, or there is none; the text says so in one line."""

"""Errors whose message is made for the user, who is shown no more than that."""

from __future__ import annotations


class UserError(Exception):
    """Something cannot be done; the message says why, and what to do. A command exits with 1."""


class WrongUsageError(UserError):
    """What the user gave cannot be used. A command exits with 2."""


class ConfigError(WrongUsageError):
    """The configuration cannot be used; the message lists every problem with its variable."""

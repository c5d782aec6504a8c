"""The environment of tests and benches."""

from __future__ import annotations

import os


def without_settings() -> None:
    """Take away what whoever runs them has set: the shipped defaults are meant, and no key is spent."""
    for name in [name for name in os.environ if name.startswith(("PGFOLIO_", "OPENAI_"))]:
        del os.environ[name]

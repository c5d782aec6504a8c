"""`python -m pgfolio.query_api serve|search|ask|mcp|eval`."""

from __future__ import annotations

from pgfolio.config import startup


def main() -> None:
    """Run the command and leave with its exit code."""
    startup.begin()
    from pgfolio.query_api.cli.commands import main as command  # noqa: PLC0415 -- the imports take most of a second

    command()


if __name__ == "__main__":
    main()

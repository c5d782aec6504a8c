"""`python -m pgfolio.flows` is `pgfolio`."""

from __future__ import annotations

from pgfolio.config import startup


def main() -> None:
    """Run the command and leave with its exit code."""
    startup.begin()
    from pgfolio.flows.cli.commands import main as command  # noqa: PLC0415 -- the imports take most of a second

    command()


if __name__ == "__main__":
    main()

"""`python -m pgfolio` is `pgfolio`."""

from __future__ import annotations

from pgfolio.flows.cli.commands import main

if __name__ == "__main__":
    main()

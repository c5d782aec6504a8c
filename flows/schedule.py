"""`python -m pgfolio.flows.schedule SECONDS`: serves the sync flow on a schedule. Started by `up`."""

from __future__ import annotations

import sys
from datetime import timedelta

from pgfolio.flows.sync import sync


def main() -> None:
    every = int(sys.argv[1])
    sync.serve(
        name="up",
        description="The schedule of `pgfolio up`.",
        interval=timedelta(seconds=every) if every else None,
        limit=1,
        print_starting_message=False,
    )


if __name__ == "__main__":
    main()

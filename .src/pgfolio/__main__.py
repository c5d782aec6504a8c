"""`python -m pgfolio` is `pgfolio`."""

from __future__ import annotations

from pgfolio.flows.__main__ import main

if __name__ == "__main__":
    main()

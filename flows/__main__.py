"""`python -m pgfolio.flows` is `pgfolio`."""

from pgfolio.flows.cli import main

if __name__ == "__main__":
    main()

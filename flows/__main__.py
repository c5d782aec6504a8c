"""`python -m pgfolio.flows` is `pgfolio`."""

from pgfolio.flows.cli.commands import main

if __name__ == "__main__":
    main()

"""`python -m flows` is `pgfolio`."""

from flows.cli import main

if __name__ == "__main__":
    main()

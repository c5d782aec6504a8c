"""`python -m pgfolio.query_api serve|search|ask|eval`."""

from pgfolio.query_api.cli.commands import main

if __name__ == "__main__":
    main()

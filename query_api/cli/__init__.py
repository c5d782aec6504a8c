"""The commands of `python -m pgfolio.query_api`, and what they print."""

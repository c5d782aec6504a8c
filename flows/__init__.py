"""The writing side: the command, the Prefect flows, and a room for each part of them."""

"""Which PostgreSQL it is, how connections are opened, and its migrations, functions, statements and locks."""

"""What `verify` reads and `repair` writes, across everything that is stored."""

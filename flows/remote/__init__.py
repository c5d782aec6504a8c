"""Files that are not on this disk: what a URL names, how it is listed, and how one of its files is read."""

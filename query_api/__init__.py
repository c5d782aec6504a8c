"""The query side: search and answers over what is stored, over HTTP and in the terminal."""

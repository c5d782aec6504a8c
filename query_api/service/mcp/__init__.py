"""The Model Context Protocol: tools by which assistants search and read the documents."""

"""`pgfolio mcp`, and the lines by which common assistants are told of it."""

from __future__ import annotations

from typing import Final

import click

from pgfolio.config.loading import load_settings

HELP: Final = """Let an assistant search and read, over standard input and output (Model Context Protocol).

\b
What common assistants want to be told:
  Claude Code     claude mcp add pgfolio -- pgfolio mcp
  Claude Desktop, Cursor, in their file of MCP servers:
                  {"mcpServers": {"pgfolio": {"command": "pgfolio", "args": ["mcp"]}}}
  VS Code         code --add-mcp '{"name": "pgfolio", "command": "pgfolio", "args": ["mcp"]}'

\b
A running API speaks the same over HTTP, with a key where it has keys:
  http://127.0.0.1:8000/mcp, header Authorization: Bearer KEY
"""


@click.command(help=HELP)
@click.option(
    "--collection", "collections", multiple=True, help="Show only this one; may be repeated. Else all are."
)
def mcp(*, collections: tuple[str, ...]) -> None:
    from pgfolio.query_api.service.mcp.stdio import serve_stdio  # noqa: PLC0415

    serve_stdio(load_settings(), collections)

"""Options that several commands have, and types of options."""

from __future__ import annotations

import re

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")

batch = click.option(
    "--batch/--no-batch",
    default=None,
    help="Hand texts in to OpenAI's Batch API, at half the price, and wait, a day at most. "
    "--no-batch: ask for all now, also for what is handed in.",
)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Interval(click.ParamType[int]):
    """`90s`, `15m`, `2h`, `1d` as seconds; 0 for never."""

    name = "interval"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhd]?)", value.strip())
        if not match:
            self.fail(f"{value[:40]!r} is no interval: write 90s, 15m, 2h, 1d, or 0 for never", param, ctx)
        return int(match[1]) * UNITS[match[2] or "s"]

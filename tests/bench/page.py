"""`python -m tests.bench.page` measures the page in a browser against the API alone: its first paint, the first words
of a quoted answer against those of a bare `POST /ask` in the same run, and what it weighs."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import click
import httpx
import numpy as np
from playwright.sync_api import sync_playwright
from rich.console import Console

from pgfolio.query_api.service.page import FILES
from tests.environment import without_settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = Console(highlight=False)
QUESTIONS = (
    "How do I retry a failed task?",
    "What is a work pool?",
    "How are results cached?",
    "What is a deployment?",
)
FIRST_WORDS = """(question) => new Promise((done) => {
  const box = document.querySelector("#q");
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, question);
  box.dispatchEvent(new Event("input", { bubbles: true }));
  const turns = document.querySelectorAll(".turn").length;
  const began = performance.now();
  const look = () => {
    const answers = document.querySelectorAll(".turn .answer p:not(.busy)");
    const there = document.querySelectorAll(".turn").length > turns && answers.length;
    if (there) requestAnimationFrame(() => done(performance.now() - began));
    else setTimeout(look, 1);
  };
  requestAnimationFrame(() => {
    box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    look();
  });
})"""


def bare_ms(client: httpx.Client, question: str) -> float:
    """Until the first token of the stream."""
    began = time.perf_counter()
    body = {"messages": [{"role": "user", "content": question}], "stream": True}
    with client.stream("POST", "/ask", json=body) as response:
        for line in response.iter_lines():
            if line == "event: token":
                break
    return (time.perf_counter() - began) * 1000


def in_page_ms(page: Page, url: str, question: str) -> float:
    page.goto(url)
    page.wait_for_selector("#q")
    page.wait_for_load_state("networkidle")
    return float(page.evaluate(FIRST_WORDS, question))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url")
@click.option("--rounds", default=10, show_default=True)
def main(*, url: str, rounds: int) -> None:
    """Against a server that runs at URL without keys, over documents of your own."""
    without_settings()
    bare, in_page, paints = [], [], []
    with httpx.Client(base_url=url, timeout=30) as client, sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page()
        for n in range(rounds + 1):
            question = QUESTIONS[n % len(QUESTIONS)]
            figures = bare_ms(client, question), in_page_ms(page, url, question)
            paint = page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
            )
            if n:  # the first fills caches
                bare.append(figures[0])
                in_page.append(figures[1])
                paints.append(float(paint))
        browser.close()
    own = [file for name, file in FILES.items() if not name.startswith("vendor/")]
    mine, theirs = np.median(bare), np.median(in_page)
    OUT.print(f"first paint {np.median(paints):.0f} ms")
    OUT.print(f"first words: bare {mine:.0f} ms, in the page {theirs:.0f} ms, {theirs - mine:+.0f} ms")
    sent = sum(len(f.packed) for f in FILES.values())
    OUT.print(
        f"own files {sum(len(f.content) for f in own):,} bytes; as sent, with the vendored one, {sent:,}"
    )


if __name__ == "__main__":
    main()

"""What sources, collections, keys and prompts may be called, wherever the name comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.config.errors import ConfigError
from pgfolio.config.names import WrongNameError, check_name, named_after
from pgfolio.config.prompts import load_prompts
from pgfolio.config.terminal import CONTROLS, printable_json
from pgfolio.schema.corpus import sources
from pgfolio.schema.database.connect import connect
from pgfolio.schema.operations import api_keys
from tests.query_api.auth.test_keys import pgfolio
from tests.query_api.library import Page, running_api, stock
from tests.query_api.service.test_problems import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings

WRONG = ["", " a", "a ", "a\nb", "a\tb", "a\x00", "a\x1b[2Jb", "a\x9bb", "a\u202eb", "a\u2066b", "a\u200fb",
         "a\u2028b", "a\ud800", "x" * 101]  # fmt: skip
RIGHT = ["a", "docs 2026", "日本語", "team/docs", "ünïcode", "x" * 100, "👍"]
EVIL = "a/b\u202e../\n\x1b]0;x\x07"
"""A collection's name of an older version."""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(WrongNameError, match="1 to 100 printable characters in one line") as raised:
        check_name("collection", name)
    assert not CONTROLS.search(str(raised.value))
    assert "\n" not in str(raised.value)


def test_a_right_name_is_taken_as_it_is() -> None:
    assert [check_name("collection", name) for name in RIGHT] == RIGHT
    with pytest.raises(WrongNameError, match="without a slash"):
        check_name("source", "a/b", slash=False)


@pytest.mark.parametrize("text", [*WRONG, *RIGHT, EVIL, "/", "\n"])
def test_a_source_of_any_folder_gets_a_right_name(text: str) -> None:
    check_name("source", named_after(text) + "-1000", slash=False)


@pytest.mark.parametrize("name", [name for name in WRONG if name])
def test_settings_sources_keys_and_pushes_keep_the_rule(
    conninfo: str, settings: Settings, new_settings: Callable[..., Settings], name: str
) -> None:
    rules: dict[str, Any] = {"name": "docs", "root": "/docs"}
    for wrong in ({**rules, "name": name}, {**rules, "collection": name}):
        with pytest.raises(ConfigError, match="printable"):
            new_settings(sources=[wrong])
    with connect(conninfo) as connection:
        for make in (
            lambda: api_keys.add(connection, name, "read"),
            lambda: sources.ensure_source(connection, "/docs", name=name),
            lambda: sources.ensure_source(connection, "/docs", name="docs", collection=name),
        ):
            with pytest.raises(WrongNameError, match="printable"):
                make()
    if "\ud800" not in name:
        with running_api(settings, conninfo) as client:
            body = {"title": "a", "content": "b", "collection": name}
            for sent in (
                {"json": body},
                {"data": {"collection": name}, "files": {"file": ("a.md", b"b")}},
            ):
                assert (
                    "collection" in check(client.post("/documents", **sent), 400, "invalid-request")["detail"]
                )
            assert client.get("/collections").json()["items"] == []


def test_a_prompt_with_a_wrong_name_is_named(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.yaml"
    entry = {"version": 1, "system": "No.", "user": "{question} {context}", "variables": ["question", "context"],
             "refusal": "No."}  # fmt: skip
    prompts.write_text(json.dumps({"answer": entry, "a\nb": entry}))
    with pytest.raises(ConfigError, match="printable"):
        load_prompts(prompts)
    prompts.write_text(json.dumps({"answer": entry, "short": entry}))
    assert list(load_prompts(prompts)) == ["answer", "short"]


@pytest.mark.long
def test_what_is_stored_under_a_wrong_name_is_read_and_controls_no_terminal(
    conninfo: str, settings: Settings
) -> None:
    """Titles, paths, texts and names, in tables and as JSON."""
    text = "The owl\x1b[31m hunts\x9b2J at night \u202eyllaer."
    stock(conninfo, settings, (Page("a\x1b[2J.md", "Owl\x1b]0;x\x07", {"Owls\x9b1m": text}, "dark"),))
    with connect(conninfo) as connection:
        connection.execute("update collections set name = %s", [EVIL])
        connection.execute("update sources set name = %s", [EVIL])
        connection.execute(
            "insert into api_keys (name, prefix, hash, scope) values (%s, 'pgf_x', 'x', 'read')", [EVIL]
        )
        connection.execute(
            "insert into ledger (source_id, path, device, inode, size, mtime_ns, ctime_ns, processing_fingerprint, "
            "chunk_count, state, stage, reason) select id, %s, 1, 1, 1, 1, 1, '', 0, 'failed', 'extract', %s "
            "from sources",
            [EVIL, EVIL],
        )
    for command in (
        ["search", "owl", "--explain", "--why", "a"],
        ["search", "owl", "--collection", EVIL, "--json"],
        ["status"],
        ["status", "--json"],
        ["keys", "list"],
    ):
        done = pgfolio(conninfo, *command)
        assert done.returncode == 0, done.stderr
        assert CONTROLS.findall(done.stdout + done.stderr) == []
        if "--json" in command:
            assert "\u202e" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
    with running_api(settings, conninfo) as client:
        assert client.get("/documents", params={"collection": EVIL}).status_code == 401
    wrong = pgfolio(conninfo, "sync", EVIL)
    assert wrong.returncode != 0
    assert CONTROLS.findall(wrong.stderr) == []


def test_json_for_a_terminal_means_the_same() -> None:
    value = {"a\x9b": "\x7f\u202e\u2066 ü \x1b", "b": ["\n"]}
    text = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not CONTROLS.search(text)

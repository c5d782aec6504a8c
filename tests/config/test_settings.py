"""Settings: the order of the layers, and every problem named at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(expression: str, **variables: str) -> str:
    """Load the settings in a process with just these variables; what it printed."""
    code = (
        "from pgfolio.config.errors import ConfigError\n"
        "from pgfolio.config.loading import load_settings\n"
        f"try:\n    settings = load_settings(); print({expression})\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"HOME": "/nowhere", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_shipped_defaults_are_complete() -> None:
    assert load("settings.chunking.tokens, settings.chunking.overlap") == "512 64"


def test_the_file_stands_over_the_defaults_and_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[chunking]\ntokens = 256\noverlap = 32\n")
    shown = load(
        "settings.chunking.tokens, settings.chunking.overlap",
        PGFOLIO_CONFIG=str(file),
        PGFOLIO_CHUNKING__OVERLAP="16",
    )
    assert shown == "256 16"


def test_all_problems_are_named_at_once_each_with_its_variable() -> None:
    shown = load(
        "settings",
        PGFOLIO_EMBEDING__MODEL="x",
        PGFOLIO_API__PORT="many",
        PGFOLIO_SYNC__DELETE_MAX_FRACTION="3",
    )
    assert shown.startswith("3 settings are wrong")
    assert "PGFOLIO_EMBEDING__MODEL: unknown setting; did you mean PGFOLIO_EMBEDDING__MODEL?" in shown
    assert "PGFOLIO_API__PORT" in shown
    assert "PGFOLIO_SYNC__DELETE_MAX_FRACTION" in shown


def test_an_unknown_key_in_the_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[chunking]\ntoken = 256\n")
    assert "'chunking.token'" in load("settings", PGFOLIO_CONFIG=str(file))


@pytest.mark.parametrize("content", [b"[chunking\n", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes(content)
    assert load("settings", PGFOLIO_CONFIG=str(file)).startswith(f"PGFOLIO_CONFIG: {file} is not valid TOML")


def test_a_file_that_is_missing_is_an_error_that_names_it() -> None:
    assert load("settings", PGFOLIO_CONFIG="/no/such.toml").startswith(
        "PGFOLIO_CONFIG: cannot read /no/such.toml"
    )


def test_secrets_are_masked_when_shown() -> None:
    shown = load("settings", OPENAI_API_KEY="sk-secret", PGFOLIO_DATABASE_URL="postgresql://u:whisper@db/x")
    assert "openai_api_key" in shown
    assert "sk-secret" not in shown
    assert "whisper" not in shown


def test_an_overlap_over_half_a_chunk_is_an_error() -> None:
    assert "PGFOLIO_CHUNKING__OVERLAP" in load("settings", PGFOLIO_CHUNKING__OVERLAP="300")


def test_the_prefect_api_is_read_from_the_active_profile(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://127.0.0.1:4200/api"\n'
    )
    code = "from pgfolio.config.environment import prefect_api_url; print(prefect_api_url())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"HOME": "/nowhere", "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "http://127.0.0.1:4200/api"

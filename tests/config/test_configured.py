"""What can be known of a model before anybody is asked and any weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgfolio.config.errors import ConfigError
from pgfolio.config.models import check_configured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfolio.config.settings import Settings


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ({"model": "text-embedding-3-small"}, "OPENAI_API_KEY is not set"),
        ({"model": "/nowhere/minilm"}, "there is no folder '/nowhere/minilm'"),
        ({"model": "./nowhere"}, "there is no folder './nowhere'"),
        ({"model": "~/nowhere"}, "there is no folder '~/nowhere'"),
        ({"provider": "transformers"}, "name a transformer"),
        ({"provider": "transformers", "model": "no folder"}, "there is no folder 'no folder'"),
        ({"provider": "local", "model": "another"}, "the local models are wordllama-256"),
        ({"dimensions": 100}, "the local model has 256, 128, 64, not 100"),
        ({"model": "x", "base_url": "ftp://models"}, "must begin with http"),
    ],
)
def test_what_is_missing_is_named(
    new_settings: Callable[..., Settings], embedding: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        check_configured(new_settings(embedding=embedding))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "embedding",
    [
        {},
        {"model": "wordllama-256", "dimensions": 64},
        {"model": "text-embedding-3-small", "api_key": "sk-test"},
        {"model": "/srv/served/under/a/path", "base_url": "http://127.0.0.1:9/v1"},
        {"provider": "transformers", "model": "organisation/on-the-hub"},
    ],
)
def test_what_may_be_there_is_not_asked_for(
    new_settings: Callable[..., Settings], embedding: dict[str, Any]
) -> None:
    check_configured(new_settings(embedding=embedding))


def test_a_folder_without_weights_is_said_to_lack_them(
    new_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has no model.onnx and no tokenizer.json"):
        check_configured(new_settings(embedding={"model": str(tmp_path)}))

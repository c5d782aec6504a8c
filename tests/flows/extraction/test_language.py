"""The language of a document: what it says of itself, what its text looks like, the setting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfolio.flows.extraction.language import language_of

GERMAN = "Um eine fehlgeschlagene Aufgabe zu wiederholen, setzen Sie die Anzahl der Versuche im Dekorator."
TEXTS = {
    GERMAN: "german",
    "Pour réessayer une tâche échouée, indiquez le nombre de tentatives dans le décorateur.": "french",
    "To retry a failed task, set the number of retries on its decorator and wait.": "english",
    "Чтобы повторить неудавшуюся задачу, укажите число попыток в декораторе.": "russian",
    "Aby ponowić nieudane zadanie, ustaw liczbę prób w dekoratorze i poczekaj chwilę między nimi.": "polish",
    "Щоб повторити невдале завдання, вкажіть кількість спроб та зачекайте між ними трохи.": "ukrainian",
    "要重试失败的任务 请在装饰器中设置重试次数 并在两次尝试之间等待一段时间再继续。": "simple",
    "失敗したタスクを再試行するには、デコレータで再試行回数を設定し、試行の間に待機します。": "simple",
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_tells_its_language(text: str) -> None:
    assert language_of({}, text, "danish") == TEXTS[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Note 12.",
        "TODO",
        "a,b,c\n1,2,3\n" * 40,
        "```python\nfor path in argv:\n    print(path)\n```\n" * 9,
    ],
)
def test_too_little_prose_leaves_it_to_the_setting(text: str) -> None:
    assert language_of({}, text, "danish") == "danish"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"language": "en"}, "english"),
        ({"lang": "fr-CA"}, "french"),
        ({"lang": "pt_BR"}, "portuguese"),
        ({"language": "Deutsch"}, "german"),
        ({"language": "zh"}, "simple"),
        ({"language": "cs"}, "czech"),
        ({"language": ["en"]}, "german"),
        ({"language": "?"}, "german"),
    ],
)
def test_what_a_document_says_of_itself_comes_first(metadata: dict[str, Any], expected: str) -> None:
    assert language_of(metadata, GERMAN, "danish") == expected


@given(st.text(max_size=300))
def test_any_text_has_a_language(text: str) -> None:
    assert language_of({}, text, "danish")

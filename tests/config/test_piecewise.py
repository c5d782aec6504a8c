"""The cached tokenizer gives what the library's gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import wordllama
from tokenizers import Tokenizer

from pgfolio.config.models.piecewise import PIECE, SPACE, PiecewiseTokenizer

FILE = Path(wordllama.__file__).parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
SPECIAL_TOKENS = {"<unk>", "<s>", "</s>"}

TEXTS = [
    "",
    " ",
    "\n",
    "   two\t tabs\r\nand    runs of  spaces \n\n\n  at an end  ",
    "def f(x):\n    return {'a': x ** 2, \"b\": [1, 23, 456, 7890]}\n",
    "https://example.org/a/b?c=d&e=%20#f_g-h",
    "Die Straße, l'été, κόσμος, привет, 東京は晴れ, สวัสดี, 👩‍👩‍👧 🇩🇪",
    f"a literal {SPACE} and {SPACE}{SPACE} two, {SPACE} x",
    "x² + y²), m³ ½ ₂ ٣٤ १२",
    "a<s>b</s> c<unk>d <s> e",
    "x" * 5000 + " " + "-" * 300,
    "\x00\x01\ufffe\U0001f9ff\u0301e\u0301",
]


@pytest.fixture(scope="module")
def library() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_has_the_librarys_tokens(text: str, library: Tokenizer) -> None:
    (found,) = PiecewiseTokenizer(FILE).encode([text])
    assert found.tolist() == ids(library, text)


def test_random_texts_have_the_librarys_tokens_with_a_cache_that_is_emptied_again_and_again(
    library: Tokenizer,
) -> None:
    chance = random.Random(20)
    vocabulary = [
        token.replace(SPACE, " ")
        for token in library.get_vocab()
        if not token.startswith(("<0x", "</", "<s"))
    ]
    letters = "ab AB 12\n\n  .,-_/#²é東\t"
    texts = ["".join(chance.choices(vocabulary, k=chance.randint(1, 30))) for _ in range(300)]
    texts += ["".join(chance.choices(letters, k=chance.randint(1, 60))) for _ in range(300)]
    tokenizer = PiecewiseTokenizer(FILE, max_cached=50)
    for start in range(0, len(texts), 7):
        part = texts[start : start + 7]
        assert [found.tolist() for found in tokenizer.encode(part)] == [ids(library, text) for text in part]


def test_no_token_of_the_vocabulary_crosses_from_one_piece_to_the_next(library: Tokenizer) -> None:
    tokens = set(library.get_vocab()) - SPECIAL_TOKENS - {f"<0x{byte:02X}>" for byte in range(256)}
    assert not [token for token in tokens if len(PIECE.findall(token)) != 1]
    assert not [token for token in tokens if SPACE in token.lstrip(SPACE)]

"""A transformer in this process, by ONNX Runtime: texts, or pairs of them, through its tokenizer and its network, in
batches of about the same length. What the outputs mean is known to transformer.py and rerank_local.py.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pgfolio.config.environment import variables
from pgfolio.config.errors import ConfigError
from pgfolio.config.machine import cores
from pgfolio.config.models.model_card import read_card
from pgfolio.config.models.model_files import TOKENIZER, locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pgfolio.config.models.model_card import ModelCard
    from pgfolio.config.models.model_files import ModelFiles

BATCH_TOKENS: Final = 256
"""That go through the network at once for each of its threads, padding included: with all-MiniLM-L6-v2 512 on two
threads are a fifth faster than 2,048, and take less memory."""

THREADS: Final = "OMP_NUM_THREADS"
"""The variable by which libraries are told how many they may start; workers of a sync get their share by it."""

TYPES: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class EncodedBatch(NamedTuple):
    """`rows`: which of the texts these are. `output` is the network's, its first axis the texts; `mask`, of shape
    (texts, tokens), is 1 where there is a token."""

    rows: list[int]
    mask: np.ndarray
    output: np.ndarray


class Encoder:
    """A network with its tokenizer. Safe to use from several threads."""

    def __init__(self, files: ModelFiles, card: ModelCard, setting: str, threads: int | None = None) -> None:
        """`threads`: of one batch; None: as many as OMP_NUM_THREADS says, else cores. Raises ConfigError where the
        library is not installed or the files cannot be used."""
        self.files, self.card = files, card
        self._threads = threads or allowed_threads()
        try:
            self._session = _session(files, self._threads)
            self._tokenizer = _tokenizer(files, card)
        except ImportError as error:
            raise _not_installed(setting) from error
        except Exception as error:  # both raise what they like
            raise ConfigError(f"{setting}: {files.name!r} cannot be loaded: {_first_line(error)}") from error
        self._types = {node.name: TYPES.get(node.type) for node in self._session.get_inputs()}
        if unknown := [name for name, kind in self._types.items() if name not in INPUTS or kind is None]:
            raise ConfigError(f"{setting}: {files.weights} takes {', '.join(unknown[:3])}, which no text has")
        self._pad_id = _pad_id(self._tokenizer, card)

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """The shape of each, by name; dimensions that go by the input are no numbers."""
        return {output.name: output.shape for output in self._session.get_outputs()}

    def encode(self, texts: Sequence[Any]) -> list[Any]:
        """The tokenizer's encodings of texts, or of pairs of them."""
        return list(self._tokenizer.encode_batch_fast(list(texts)))

    def run(self, encodings: Sequence[Any], output: str) -> Iterator[EncodedBatch]:
        """What the network makes of them, the longest first."""
        lengths = [len(encoding) for encoding in encodings]
        order = sorted(range(len(encodings)), key=lambda row: -lengths[row])
        while order:
            count = max(BATCH_TOKENS * self._threads // max(lengths[order[0]], 1), 1)
            rows, order = order[:count], order[count:]
            inputs = self._inputs([encodings[row] for row in rows])
            (made,) = self._session.run([output], {name: inputs[name] for name in self._types})
            yield EncodedBatch(rows, inputs["attention_mask"], made)

    def _inputs(self, encodings: Sequence[Any]) -> dict[str, np.ndarray]:
        """Padded to the longest, on the right: what the mask leaves out has no part in anything."""
        shape = len(encodings), max(1, *map(len, encodings))
        made = {}
        for name, read in INPUTS.items():
            rows = np.full(
                shape, self._pad_id if name == "input_ids" else 0, self._types.get(name) or np.int64
            )
            for row, encoding in enumerate(encodings):
                rows[row, : len(encoding)] = read(encoding)
            made[name] = rows
        return made


def open_encoder(name: str, setting: str, threads: int | None = None) -> Encoder:
    """Raises ConfigError."""
    files = locate(name, setting)
    return Encoder(files, read_card(files, setting), setting, threads)


def check_installed(setting: str) -> None:
    """Raises ConfigError where the library is not there."""
    if find_spec("onnxruntime") is None:
        raise _not_installed(setting)


def _not_installed(setting: str) -> ConfigError:
    return ConfigError(
        f"{setting}: a transformer in the process needs onnxruntime: pip install 'pgfolio[transformers]'"
    )


def allowed_threads() -> int:
    """Of the network, in this process."""
    said = variables().get(THREADS, "")
    return int(said) if said.isdecimal() and int(said) else cores()


INPUTS: Final[Mapping[str, Callable[[Any], Sequence[int]]]] = {
    "input_ids": lambda encoding: encoding.ids,
    "attention_mask": lambda encoding: encoding.attention_mask,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "position_ids": lambda encoding: range(len(encoding)),
}


def _session(files: ModelFiles, threads: int) -> Any:
    import onnxruntime  # noqa: PLC0415 -- an extra

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Others have the cores when there is nothing to do: idle threads wait instead of spinning.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(files.weights), options, providers=["CPUExecutionProvider"])


def _tokenizer(files: ModelFiles, card: ModelCard) -> Any:
    from tokenizers import Tokenizer  # noqa: PLC0415 -- slow to import

    tokenizer = Tokenizer.from_file(str(files.folder / TOKENIZER))
    direction = "left" if card.truncate_left else "right"
    tokenizer.enable_truncation(card.max_tokens, direction=direction)
    tokenizer.no_padding()
    return tokenizer


def _pad_id(tokenizer: Any, card: ModelCard) -> int:
    known = tokenizer.token_to_id(card.pad_token) if card.pad_token else None
    return card.pad_id if known is None else int(known)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__

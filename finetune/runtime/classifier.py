"""The exported model as an application loads it: with onnxruntime, tokenizers and numpy, without torch or transformers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from finetune.base.errors import UserError, one_line
from finetune.base.fields import Text
from finetune.rows.form import Form, Whole
from finetune.rows.lengths import length_order
from finetune.rows.pairs import Pair, typed_ids
from finetune.rows.tokens import SpecialTokens
from finetune.scoring.decisions import DECISION, Decision, read_decision, read_thresholds

EXPORTED = Path("models/export")  # as `dvc repro export` writes it
FP32 = Path("onnx/model.onnx")  # where the Hub's own exports lie, so that other tools find them
INT8 = Path("onnx/model_int8.onnx")
MULTI_LABEL = "multi_label"  # in the metadata of a model whose texts may have several labels
BATCH_TOKENS = 256  # fewer leave cores idle, more overflow the cache; a longer text forms a batch alone


class Classifier:
    """Classes of texts, by the model in an exported folder.

    `labels` are the class names in id order, `columns` the names of the fields of a text where it has several (else
    None), `max_length` the tokens a text is cut to, `decision` the rule that turns probabilities into answers, `files`
    all that was read from the folder. The int8 model is taken where export kept it, unless `model` names another file
    of the folder. `several` says whether a text may have several labels; then `thresholds` holds the least probability
    of each. `threads` is the number of threads for one batch; None means one per core. An answer depends on its text
    alone, never on the rest of the batch. Several threads may use one classifier. Raises UserError when the folder
    holds no such model.
    """

    def __init__(self, folder, model: Path | None = None, threads: int | None = None):
        folder = Path(folder)
        if model is None:
            model = INT8 if (folder / INT8).is_file() else FP32
        for needed in (folder / "tokenizer.json", folder / model):
            if not needed.is_file():
                raise UserError(
                    f"{needed} is missing; expected a folder that `dvc repro export` wrote, as models/export"
                )
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises nothing narrower
            raise UserError(
                f"{folder / 'tokenizer.json'} is damaged ({one_line(error)}); export the model again"
            ) from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Next to a training, threads that spin while they wait took more than twice as long (docs/benchmarks.md).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(folder / model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise UserError(
                f"{folder / model} does not load ({one_line(error)[:200]}); export the model again"
            ) from None
        facts = self.session.get_modelmeta().custom_metadata_map
        if "labels" not in facts:
            raise UserError(f"{folder / model} has no labels in its metadata; it was not written by `dvc repro export`")
        facts = {key: json.loads(value) for key, value in facts.items()}
        self.model = model
        self.labels: list[str] = facts["labels"]
        self.several = facts.get("task") == MULTI_LABEL
        self.thresholds = read_thresholds(folder, self.labels) if self.several else None
        self.decision = Decision() if self.several else read_decision(folder, self.labels)
        self.files = [name for name in (Path("tokenizer.json"), model, Path(DECISION)) if (folder / name).is_file()]
        self.temperature: float = facts["temperature"]
        self.max_length: int = facts["max_length"]
        self.truncation: str = facts["truncation"]
        self.special = SpecialTokens(*facts["special_tokens"])
        self.columns: list[str] | None = facts.get("columns")
        pair = Pair(*facts["pair"]) if "pair" in facts else None
        self.form = Form(self.max_length, self.truncation, self.special, pair, facts.get("stride"))
        self.pad_id: int = facts["pad_id"]

    def whole(self, texts: Sequence[Text]) -> list[Whole]:
        """Token ids of each text, special tokens included, of any length; of a pair those of both texts, without them."""

        def ids(texts: list[str], special: bool) -> list[list[int]]:
            return [found.ids for found in self.tokenizer.encode_batch_fast(texts, add_special_tokens=special)]

        return self.form.whole(texts, ids)

    def cut(self, ids: Whole) -> list[int] | list[list[int]]:
        """Ids of a text cut to `max_length` as in training, or of its windows."""
        return self.form.row(ids)

    def encode(self, texts: Sequence[Text]) -> list[list[int]] | list[list[list[int]]]:
        """Token ids of each text, cut to `max_length`, or of its windows."""
        return [self.cut(ids) for ids in self.whole(texts)]

    def answer(self, ids: Sequence[Sequence], output: str = "probabilities") -> np.ndarray:
        """`logits` or calibrated `probabilities` of rows that `encode` gives, float32 of shape [rows, classes].

        The logits of a text in windows are the mean over these; windows that several texts share are computed once.
        """
        if self.form.stride is None:
            return self.computed(ids, output)
        rows = {tuple(window): None for text in ids for window in text}
        places = {row: place for place, row in enumerate(rows)}
        found = self.computed(list(rows), "logits").astype(np.float64)
        means = [found[[places[tuple(window)] for window in text]].mean(0) for text in ids]
        logits = np.stack(means) if means else np.empty((0, len(self.labels)))
        answers = logits if output == "logits" else self.probabilities_of(logits)
        return answers.astype(np.float32)

    def probabilities_of(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities from logits, both of shape [rows, classes]."""
        if self.several:  # the temperatures are in the weights; tanh, because exp(-logits) may overflow
            return 0.5 + np.tanh(logits / 2) / 2
        exponents = np.exp((logits - logits.max(1, keepdims=True, initial=-np.inf)) / self.temperature)
        return exponents / exponents.sum(1, keepdims=True)

    def computed(self, ids: Sequence[Sequence[int]], output: str) -> np.ndarray:
        """An output of the ONNX model for rows of token ids."""
        answers = np.empty((len(ids), len(self.labels)), np.float32)
        for positions in length_order([len(row) for row in ids], rows=len(ids), tokens=BATCH_TOKENS):
            rows = padded([ids[position] for position in positions], self.pad_id, self.form.pair)
            answers[positions] = self.session.run([output], rows)[0]
        return answers

    def probabilities(self, texts: Sequence[Text]) -> np.ndarray:
        """Calibrated probabilities of texts, float32 of shape [texts, classes]."""
        return self.answer(self.encode(texts))


def padded(rows: Sequence[Sequence[int]], pad_id: int, pair: Pair | None = None) -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask`, int64 of shape [rows, longest row]; of pairs also the `token_type_ids`, if there are types."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask] = np.concatenate(rows)
    types = None
    if pair and pair.typed:
        ids, types = typed_ids(ids)
        types = np.zeros_like(ids) if types is None else types
    arrays = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    return arrays if types is None else arrays | {"token_type_ids": types}

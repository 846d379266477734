"""A classifier as the ONNX files that ship, fp32 and int8, each with everything a caller needs in its metadata."""

import contextlib
import copy
import json
import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

from finetune.base.errors import UserError
from finetune.rows.pairs import Pair
from finetune.rows.tokens import special_tokens
from finetune.runtime.classifier import FP32, INT8, MULTI_LABEL

OPSET = 20  # the first with a Gelu operator; every onnxruntime since 1.17 reads it
INT8_BLOCK = 64  # weights that share a scale: 32 was slower; with 128 an answer depended on the other rows of its batch
LARGEST = 2**31 - 10**7  # bytes of weights: an ONNX file ends at 2 GiB, and the graph takes some
DYNAMIC = torch.export.Dim.DYNAMIC
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@contextlib.contextmanager
def quiet():
    """Block without the libraries' message for every node; onnxruntime's quantizer turns those on when imported."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own code
            yield
    finally:
        logging.disable(before)


class Calibrated(torch.nn.Module):
    """Logits, and the probabilities after the temperature that evaluate fitted on validation (Guo et al. 2017)."""

    def __init__(self, model, temperature: float):
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits, torch.softmax(logits / self.temperature, -1)


class Sigmoids(torch.nn.Module):
    """Logits and the probability of each of several labels; their temperatures are in the weights already."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits, torch.sigmoid(logits)


def write_onnx(
    folder: Path,
    model,
    tokenizer,
    temperature: float | None,
    truncation: str,
    label_names: list[str],
    more: dict | None = None,
):
    """Both ONNX files into an exported folder, each with everything a caller needs in its metadata; `more` joins it.

    Without a temperature, a text may have several labels, and the probability of each is a sigmoid.
    """
    whole = fp32_onnx(
        model.cpu(),
        temperature,
        {
            "labels": label_names,
            "temperature": 1.0 if temperature is None else temperature,
            "max_length": tokenizer.model_max_length,
            "truncation": truncation,
            "special_tokens": special_tokens(tokenizer),
            "pad_id": tokenizer.pad_token_id,
        }
        | ({"task": MULTI_LABEL} if temperature is None else {})
        | (more or {}),
    )
    (folder / FP32).parent.mkdir(exist_ok=True)
    onnx.save(whole, folder / FP32)
    onnx.save(int8_onnx(whole), folder / INT8)


def fp32_onnx(model, temperature: float | None, facts: dict) -> onnx.ModelProto:
    """ONNX of a classifier on the processor, for any batch and any length.

    Inputs `input_ids` and `attention_mask`, and `token_type_ids` where `facts` name a pair with types, int64 of shape
    [batch, length]; outputs `logits` and
    `probabilities`, float32 of shape [batch, classes]. `facts` go into the metadata, each as JSON. The model is
    switched to eager attention. Raises UserError when the weights do not fit into one file.
    """
    size = sum(weights.numel() * weights.element_size() for weights in model.parameters())
    if size > LARGEST:
        raise UserError(
            f"the model has {size / 1e6:,.0f} MB of weights; an ONNX file holds at most {LARGEST / 1e6:,.0f} MB: "
            "name a smaller encoder in model.uri"
        )
    # On a GPU the model has fused attention, whose graph has a third more nodes.
    model.set_attn_implementation("eager")
    # An axis of size 1 would be exported as a constant.
    example = torch.ones((2, 8), dtype=torch.int64)
    shape = {0: DYNAMIC, 1: DYNAMIC}
    names = INPUTS if facts.get("pair") and Pair(*facts["pair"]).typed else INPUTS[:2]
    with quiet():
        program = torch.onnx.export(
            (Sigmoids(model) if temperature is None else Calibrated(model, temperature)).eval(),
            tuple(example.clone() for _ in names),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            dynamic_shapes=dict.fromkeys(names, shape),
            input_names=list(names),
            output_names=["logits", "probabilities"],
        )
    model_proto = program.model_proto
    without_traces(model_proto)
    onnx.helper.set_model_props(
        model_proto, {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
    )
    return model_proto


def without_traces(model: onnx.ModelProto):
    """Removes each node's stack trace: it names paths of this machine and makes up a third of the small nodes' bytes."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""


def int8_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with int8 products: weights quantised in blocks, activations at run time, row by row.

    Every row has separate scales, so an answer does not depend on the rest of its batch. With
    `quantize_dynamic`, whose single scale spans the batch, it does (docs/decisions.md).
    """
    config = DefaultWeightOnlyQuantConfig(block_size=INT8_BLOCK, is_symmetric=True, bits=8, accuracy_level=4)
    quantizer = MatMulNBitsQuantizer(copy.deepcopy(model), algo_config=config)
    with quiet():
        quantizer.process()
    return quantizer.model.model

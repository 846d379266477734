"""Answers of a model for rows, in the order of the rows, and mean pooling."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
import torch
from tqdm import tqdm

from finetune.base.errors import UserError
from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.encoder.hardware import batch_tokens, device, fast_fp32
from finetune.rows.lengths import length_order
from finetune.rows.windows import as_documents
from finetune.rows.windows import pooled as over_windows

BATCH = 64  # rows; larger ones gain nothing on two cores


def predict(model, rows: TokenRows | FeatureRows, answer: Callable, desc: str) -> np.ndarray:
    """`answer(output, batch)` for every row, as float32 of shape [rows, …], in the order of the rows.

    Batches hold rows of similar length; every answer goes back to the position of its row. Raises UserError if an
    answer is not finite.
    """
    model.eval()
    # Longest first: memory runs out in the first batch or not at all.
    waiting = deque(length_order(rows.lengths, BATCH, batch_tokens()))
    kind = device().type
    autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def answers() -> list[tuple[np.ndarray, np.ndarray]]:
        answered = []
        # Autocast is per thread: repeat the caller's setting.
        with torch.inference_mode(), torch.autocast(kind, autocast[1], enabled=autocast[0]):
            while waiting:
                try:
                    positions = waiting.popleft()
                except IndexError:  # another thread took the last one
                    break
                batch = {key: value.to(model.device) for key, value in rows.batch(positions).items()}
                answered.append((positions, answer(model(**batch), batch).float().cpu().numpy()))
                bar.update(len(positions))
        return answered

    progress = tqdm(desc=desc, total=len(rows.lengths), unit=" rows", disable=None)
    with fast_fp32(), progress as bar, one_core_threads() as (pool, count):
        try:
            futures = [pool.submit(answers) for _ in range(count)]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            waiting.clear()  # after an error here or in a thread, no thread takes another batch
        parts = [part for future in futures for part in future.result()]
    in_order = np.empty((len(rows.lengths), *parts[0][1].shape[1:]), np.float32)
    for positions, part in parts:
        in_order[positions] = part
    if not np.isfinite(in_order).all():
        raise UserError(
            "the model answers with numbers that are not finite: its weights are damaged, or training "
            "diverged (then lower train.lr)"
        )
    return in_order


@contextlib.contextmanager
def one_core_threads() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Block with a pool of threads and their number: one thread a core, each computing on its own core; one for a GPU.

    The products of a small encoder are so short that cores which share one wait for each other. Two separate threads
    computed 1.2 (fp32) and 1.4 times (bf16) as many rows a second, and answers do not depend on the number of cores.
    """
    cores = torch.get_num_threads()
    count = 1 if torch.cuda.is_available() else cores
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(cores)  # some of torch's libraries keep one number for all threads


def logits(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "predict") -> np.ndarray:
    """Logits of shape [rows, classes]; of a document the mean over its windows."""
    return of_rows(model, rows, pad_id, lambda output, _: output.logits, desc)


def mean_embeddings(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "embed") -> np.ndarray:
    """Mean of the last hidden states over the tokens of each row, of shape [rows, hidden]; Reimers & Gurevych 2019.

    Of a document, the mean over its windows.
    """
    return of_rows(model, rows, pad_id, pooled, desc)


def of_rows(model, rows: Sequence, pad_id: int, answer: Callable, desc: str) -> np.ndarray:
    """Answers for rows of token ids, or the mean over the windows of each document."""
    documents = as_documents(rows)
    if documents is None:
        return predict(model, TokenRows(rows, pad_id), answer, desc)
    return over_windows(predict(model, TokenRows(documents.windows, pad_id), answer, desc), documents.counts)


def pooled(output, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean of the last hidden states over the tokens that the attention mask keeps, of shape [rows, hidden]."""
    mask = batch["attention_mask"].unsqueeze(-1)
    return (output.last_hidden_state * mask).sum(1) / mask.sum(1)


def head_input(config) -> Callable:
    """What the head of a classifier reads, as an `answer` of its encoder: the first token's last hidden state, or `pooled`.

    The mean over the tokens is an option of ModernBERT.
    """
    return pooled if getattr(config, "classifier_pooling", "cls") == "mean" else first_token


def first_token(output, _batch) -> torch.Tensor:
    """Last hidden state of the first token of each row, of shape [rows, hidden]."""
    return output.last_hidden_state[:, 0]

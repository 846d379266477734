"""Answers of a model for rows, in the order of the rows."""

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

BATCH = 64  # rows; larger ones gain nothing on two cores


def predict(model, rows: TokenRows | FeatureRows, answer: Callable, desc: str) -> np.ndarray:
    """`answer(output, batch)` for every row, as float32 of shape [rows, …], in the order of the rows.

    Rows are batched by length; each answer goes back to the place its row came from. Raises UserError when an answer
    is not finite.
    """
    model.eval()
    # Longest first: memory runs out at the beginning or not at all.
    waiting = deque(length_order(rows.lengths, BATCH, batch_tokens()))
    kind = device().type
    autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def answers() -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        # Threads begin without what the caller has set.
        with torch.inference_mode(), torch.autocast(kind, autocast[1], enabled=autocast[0]):
            while waiting:
                try:
                    places = waiting.popleft()
                except IndexError:  # another thread took the last one
                    break
                batch = {key: value.to(model.device) for key, value in rows.batch(places).items()}
                found.append((places, answer(model(**batch), batch).float().cpu().numpy()))
                bar.update(len(places))
        return found

    progress = tqdm(desc=desc, total=len(rows.lengths), unit=" rows", disable=None)
    with fast_fp32(), progress as bar, one_core_threads() as (pool, count):
        try:
            futures = [pool.submit(answers) for _ in range(count)]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            waiting.clear()  # what stopped one thread, or this one, stops the others
        parts = [part for future in futures for part in future.result()]
    found = np.empty((len(rows.lengths), *parts[0][1].shape[1:]), np.float32)
    for places, part in parts:
        found[places] = part
    if not np.isfinite(found).all():
        raise UserError(
            "the model answers with numbers that are not finite: its weights are damaged, or training "
            "diverged (then lower train.lr)"
        )
    return found


@contextlib.contextmanager
def one_core_threads() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Block with as many threads as torch has on a processor, and their number; each makes its products on one core.

    Products of a small encoder are so short that cores sharing one wait for each other: apart, two made 1.2 (fp32) and
    1.4 times (bf16) the rows a second, and an answer no longer depends on the number of cores. A GPU gets one thread.
    """
    cores = torch.get_num_threads()
    count = 1 if torch.cuda.is_available() else cores
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(cores)  # some of torch's libraries have one number for all threads


def logits(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "predict") -> np.ndarray:
    """Logits of shape [rows, classes]."""
    return predict(model, TokenRows(rows, pad_id), lambda output, _: output.logits, desc)


def mean_embeddings(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "embed") -> np.ndarray:
    """Mean of the last hidden states over the tokens of each row, of shape [rows, hidden]; Reimers & Gurevych 2019."""
    return predict(model, TokenRows(rows, pad_id), pooled, desc)


def pooled(output, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean of the last hidden states over the tokens that the attention mask keeps, of shape [rows, hidden]."""
    mask = batch["attention_mask"].unsqueeze(-1)
    return (output.last_hidden_state * mask).sum(1) / mask.sum(1)

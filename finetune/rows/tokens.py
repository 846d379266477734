"""Texts turned into token ids: encoded whole, then cut to length, never padded.

The server imports this module without transformers, so only the functions that load files import it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from finetune.base.errors import UserError, existing, foreign

# Encoders whose positions start after the padding id: RoBERTa can use 512 of its 514 positions.
OFFSET_POSITIONS = {
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "xmod",
    "mpnet",
    "longformer",
    "data2vec-text",
    "ibert",
}
# Settings that transformers adds while it loads, for example whether HF_HUB_OFFLINE is set. It would save them with the
# tokenizer, and `dvc.lock` would differ from one environment to the next.
OF_THE_MACHINE = ("local_files_only", "is_local", "name_or_path")


PADDING = {"[pad]", "<pad>", "<|pad|>", "<|padding|>"}  # names of padding tokens, in lower case


class SpecialTokens(NamedTuple):
    """How many special tokens a tokenizer puts before and after a text."""

    before: int
    after: int


def load_tokenizer(folder):
    """Tokenizer of a checkpoint; raises UserError if its files do not load, FileNotFoundError if there is no folder."""
    from transformers import AutoTokenizer

    folder = existing(folder)
    problem = (
        f"the tokenizer of {folder} does not load ({{reason}}); its files are damaged or belong to another encoder; "
    )
    with foreign(problem + "fetch them again"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokenizer("a")  # some mistakes show only now
    for name in OF_THE_MACHINE:
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer


def load_config(folder):
    """Configuration of a checkpoint's encoder; raises UserError when transformers knows no such model."""
    from transformers import AutoConfig, __version__

    problem = f"{folder}/config.json describes no model that transformers {__version__} knows ({{reason}}); "
    with foreign(problem + "choose another model in model.uri"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def ensure_padding(tokenizer, config):
    """Gives a tokenizer without a padding token the one that the encoder's config names, and checks that they agree.

    Only a token that is written like one (`[PAD]`, `<pad>`) is taken: some families count positions from its id, and other
    tokens, such as the end token that GPT's users pad with, occur in texts. Raises UserError if there is none, if the
    encoder has no embedding for it, or if the encoder would look for another one to count positions or find a text's end.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    named = getattr(config, "pad_token_id", None)
    if tokenizer.pad_token_id is None:
        token = None if named is None else tokenizer.convert_ids_to_tokens(named)
        if token is None or token.lower() not in PADDING:
            raise UserError(
                "the tokenizer has no padding token, so texts of different lengths cannot share a batch; choose an encoder "
                "with one in model.uri, or add its pad_token to tokenizer_config.json and its pad_token_id to config.json"
            )
        tokenizer.pad_token = token
    # Other masked encoders go by the attention mask alone; many that were trained from scratch name another id.
    if named != tokenizer.pad_token_id and (config.model_type in OFFSET_POSITIONS or config.model_type not in MASKED):
        raise UserError(
            f"the tokenizer pads with {tokenizer.pad_token!r}, id {tokenizer.pad_token_id}, but config.json of this model names "
            f"the pad_token_id {named}, by which it reads texts; make them equal in a copy of the model under data/local"
        )
    check_vocabulary(tokenizer.pad_token_id, config)


def check_vocabulary(largest: int, config):
    """Raises UserError if the encoder has no embedding for this token id."""
    size = getattr(config, "vocab_size", None)
    if size is not None and largest >= size:
        raise UserError(
            f"the tokenizer gives the token id {largest}, but the encoder's vocab_size is {size}: they do not belong "
            "together; get both again from one source in model.uri"
        )


def special_tokens(tokenizer) -> SpecialTokens:
    """Number of special tokens around a text, found by encoding one: [CLS] text [SEP] -> (1, 1)."""
    mask = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    before = next((index for index, special in enumerate(mask) if not special), len(mask))
    return SpecialTokens(before, sum(mask) - before)


def encode(tokenizer, texts: Sequence[str], special: bool = True) -> list[list[int]]:
    """Token ids of each text, not truncated, special tokens included unless `special` is false.

    If there is a Rust tokenizer, it is called directly: this skips offsets and masks, and is 1.7 times faster.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer(list(texts), verbose=False, add_special_tokens=special)["input_ids"]
    backend.no_truncation()
    backend.no_padding()
    return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=special)]


def truncate(ids: list[int], max_length: int, mode: str, special: SpecialTokens) -> list[int]:
    """Ids cut to `max_length`, special tokens kept.

    `head` keeps the start; `head_tail` keeps the first quarter and the last three quarters, because
    reviews tend to end with the verdict (Sun et al. 2019, "How to Fine-Tune BERT", take 128 and 382 of 510).

    >>> truncate([101, 1, 2, 3, 4, 5, 6, 102], 6, "head", SpecialTokens(1, 1))
    [101, 1, 2, 3, 4, 102]
    >>> truncate([101, 1, 2, 3, 4, 5, 6, 102], 6, "head_tail", SpecialTokens(1, 1))
    [101, 1, 4, 5, 6, 102]
    """
    if len(ids) <= max_length:
        return ids
    room = max_length - special.before - special.after
    head = room if mode == "head" else room // 4
    end = len(ids) - special.after
    return ids[: special.before + head] + ids[end - (room - head) :]


def windows(ids: list[int], max_length: int, stride: int, special: SpecialTokens) -> list[list[int]]:
    """Windows of `max_length` ids, special tokens around each; each begins `stride` ids before the end of the one before.

    >>> windows([101, 1, 2, 3, 4, 5, 102], 5, 1, SpecialTokens(1, 1))
    [[101, 1, 2, 3, 102], [101, 3, 4, 5, 102]]
    """
    before, after = ids[: special.before], ids[len(ids) - special.after :]
    inner = ids[special.before : len(ids) - special.after]
    room = max_length - sum(special)
    starts = range(0, max(1, len(inner) - stride), room - stride)
    return [before + inner[start : start + room] + after for start in starts]


def longest_input(config, tokenizer) -> int | None:
    """Largest number of tokens that an encoder takes, special tokens included; None if nothing limits it."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in OFFSET_POSITIONS:
        positions -= config.pad_token_id + 1
    # Tokenizers without a limit report 10 to the power of 30.
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit and 0 < limit < 10**6]
    return min(limits, default=None)


def check_length(max_length: int, tokenizer, config, pair=None):
    """Raises UserError if the encoder cannot take `tokenize.max_length` tokens, or if special tokens leave no room for a text.

    `pair` is the tokenizer's `finetune.rows.pairs.Pair` where rows hold two texts.
    """
    longest = longest_input(config, tokenizer)
    if longest and max_length > longest:
        raise UserError(f"tokenize.max_length must be at most {longest}, the limit of this encoder, found {max_length}")
    special = sum(special_tokens(tokenizer)) if pair is None else pair.special
    least = special + (1 if pair is None else 2)  # a token of each text
    if max_length < least:
        raise UserError(
            f"tokenize.max_length must be at least {least}, found {max_length}: special tokens take {special}"
        )

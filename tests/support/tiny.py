"""Tiny but real: checkpoints of every encoder family with random weights, and reviews that they can learn."""

import csv
import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AlbertTokenizer,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    set_seed,
)

GOOD = ["great", "wonderful", "moving", "fresh", "clever", "joyful"]
BAD = ["dull", "boring", "awful", "stale", "clumsy", "tedious"]
FILLER = ["the", "film", "a", "story", "with", "an", "actor", "and", "its", "plot", "is", "was", "of", "this", "one"]
WORDS = GOOD + BAD + FILLER
LENGTH = 64  # positions of every tiny encoder
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}


def reviews(rows: int, seed: int = 0, groups: int = 40) -> list[dict[str, str]]:
    """Reviews with text, label (good, bad) and film; the words determine the label, and no text occurs twice."""
    chance = random.Random(seed)
    by_text: dict[str, dict[str, str]] = {}
    while len(by_text) < rows:
        good = chance.random() < 0.5
        words = chance.choices(FILLER, k=chance.randint(3, 24)) + chance.sample(GOOD if good else BAD, 2)
        chance.shuffle(words)
        text = " ".join(words)
        by_text[text] = {"text": text, "label": "good" if good else "bad", "film": f"film {chance.randrange(groups)}"}
    return list(by_text.values())


GRADED = BAD + GOOD  # from the worst word to the best


def rivals(rows: int, seed: int = 0) -> list[dict[str, str]]:
    """Two texts with one graded word each, and which of them has the better word: "one" or "other".

    One text alone gives that away in 51 of 66 cases at most (77%), and both texts without their order in half of them.
    """
    chance = random.Random(seed)
    by_pair: dict[tuple[str, str], dict[str, str]] = {}
    while len(by_pair) < rows:
        grades = chance.sample(range(len(GRADED)), 2)
        pair = tuple(" ".join([*chance.choices(FILLER, k=chance.randint(1, 3)), GRADED[grade]]) for grade in grades)
        by_pair[pair] = {"one": pair[0], "other": pair[1], "label": "one" if grades[0] > grades[1] else "other"}
    return list(by_pair.values())


def write_table(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    """Writes the rows as CSV, or with another delimiter, below a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def bert_tokenizer() -> BertTokenizer:
    """WordPiece over the words of the reviews."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "good", "bad", "it", ".", ":"]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=LENGTH)


def trained_bpe(special: list[str]) -> Tokenizer:
    """Byte-level BPE trained on the words of the reviews."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(["", *WORDS, "good", "bad"])] * 5, trainer)
    return tokenizer


def roberta_tokenizer() -> RobertaTokenizer:
    """Byte-level BPE with RoBERTa's special tokens."""
    import json

    model = json.loads(trained_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]).to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return RobertaTokenizer(vocab=model["vocab"], merges=merges, model_max_length=LENGTH)


def modernbert_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with ModernBERT's special tokens."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = trained_bpe(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **names)


def unigram_pieces(special: list[str]) -> list[tuple[str, float]]:
    """Pieces of a SentencePiece unigram model: the words of the reviews, and single letters for all other words."""
    letters = "▁abcdefghijklmnopqrstuvwxyz.:"
    return (
        [(piece, 0.0) for piece in special]
        + [(f"▁{word}", -3.0) for word in WORDS]
        + [(letter, -9.0) for letter in letters]
    )


def albert_tokenizer() -> AlbertTokenizer:
    """Unigram pieces with ALBERT's special tokens."""
    return AlbertTokenizer(
        vocab=unigram_pieces(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]), model_max_length=LENGTH
    )


def deberta_tokenizer() -> DebertaV2Tokenizer:
    """Unigram pieces with DeBERTa's special tokens."""
    return DebertaV2Tokenizer(
        vocab=unigram_pieces(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]), model_max_length=LENGTH
    )


FAMILIES = {
    "bert": (bert_tokenizer, lambda **v: BertConfig(**SIZE, max_position_embeddings=LENGTH, **v)),
    "distilbert": (
        bert_tokenizer,
        lambda **v: DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=37, max_position_embeddings=LENGTH, **v),
    ),
    "electra": (
        bert_tokenizer,
        lambda **v: ElectraConfig(**SIZE, embedding_size=16, max_position_embeddings=LENGTH, **v),
    ),
    "roberta": (roberta_tokenizer, lambda **v: RobertaConfig(**SIZE, max_position_embeddings=LENGTH + 2, **v)),
    "albert": (
        albert_tokenizer,
        lambda **v: AlbertConfig(**SIZE, embedding_size=16, max_position_embeddings=LENGTH, **v),
    ),
    "deberta-v2": (
        deberta_tokenizer,
        lambda **v: DebertaV2Config(
            **SIZE, max_position_embeddings=LENGTH, relative_attention=True, pos_att_type=["p2c", "c2p"], **v
        ),
    ),
    "modernbert": (
        modernbert_tokenizer,
        lambda **v: ModernBertConfig(**SIZE, max_position_embeddings=LENGTH, local_attention=8, **v),
    ),
}


def tiny_checkpoint(folder: Path, family: str = "bert", masked: bool = False) -> Path:
    """Checkpoint of a family with random weights, the same on every call; with a masked language modelling head or without."""
    make_tokenizer, make_config = FAMILIES[family]
    tokenizer = make_tokenizer()
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    if family == "roberta":
        ids |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = make_config(vocab_size=len(tokenizer), **{name: value for name, value in ids.items() if value is not None})
    set_seed(0)
    auto = AutoModelForMaskedLM if masked else AutoModelForSequenceClassification
    model = auto.from_config(config)
    if not masked:
        # A published encoder has no head for these labels.
        model = model.base_model
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tagged_texts(rows: int, seed: int = 0) -> list[dict]:
    """Texts with a list of labels (good, bad, acted), which their words determine, or with none, and a film."""
    chance = random.Random(seed)
    words_of = {"good": GOOD, "bad": BAD, "acted": ["actor"]}
    by_text: dict[str, dict] = {}
    while len(by_text) < rows:
        labels = [name for name, share in (("good", 0.4), ("bad", 0.35), ("acted", 0.3)) if chance.random() < share]
        words = chance.choices([word for word in FILLER if word != "actor"], k=chance.randint(3, 12))
        words += [word for label in labels for word in (chance.choice(words_of[label]), chance.choice(words_of[label]))]
        chance.shuffle(words)
        by_text[" ".join(words)] = {"text": " ".join(words), "labels": labels, "film": f"film {chance.randrange(40)}"}
    return list(by_text.values())

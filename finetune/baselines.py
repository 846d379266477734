"""What a user would try before fine-tuning: each gives class probabilities for the test rows.

All see the training rows, choose what they choose on validation, and are scored by the caller on
the same test rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from finetune.batches import TokenRows
from finetune.encoder import (
    bare_encoder,
    fresh_classifier,
    logits,
    mask_filler,
    mean_embeddings,
    predict,
    probabilities,
)
from finetune.errors import UserError
from finetune.params import FewShot, ZeroShot
from finetune.rows import label_names
from finetune.tokens import encode, special_tokens

STRENGTHS = (0.1, 0.3, 1, 3, 10, 30, 100)  # inverse regularisation of a logistic regression
TEMPERATURE = 0.05  # of cosine similarities, as sentence encoders are trained with: all-MiniLM scales them by 20


class Labelled(NamedTuple):
    """Features and class ids of the same rows."""

    features: object  # array or sparse matrix of shape [rows, features]
    labels: np.ndarray


def fitted_regression(features, labels: np.ndarray, strength: float) -> LogisticRegression:
    """Multinomial logistic regression."""
    # Its vectors are so short that threads cost more than they share: 2.5 times the time of one on idle cores, ten
    # times on busy ones.
    with threadpool_limits(1):
        return LogisticRegression(C=strength, max_iter=1000).fit(features, labels)


def best_regression(train: Labelled, validation: Labelled) -> tuple[LogisticRegression, float]:
    """Logistic regression whose strength gives the best validation accuracy (the stronger regularised wins a tie)."""
    fitted = [(fitted_regression(train.features, train.labels, strength), strength) for strength in STRENGTHS]
    return max(fitted, key=lambda pair: (pair[0].score(validation.features, validation.labels), -pair[1]))


def class_probabilities(model: LogisticRegression, features, classes: int) -> np.ndarray:
    """Probabilities of shape [rows, classes]; a class the model has never seen gets 0."""
    found = np.zeros((features.shape[0], classes))
    found[:, model.classes_] = model.predict_proba(features)
    return found


def majority(train_labels: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """The class shares of train for every row, so that the most frequent class is predicted."""
    return np.tile(np.bincount(train_labels, minlength=classes) / len(train_labels), (rows, 1))


def has_spaces(texts: Sequence[str]) -> bool:
    """Whether texts put spaces between words: in English every sixth character is one, in Chinese hardly any."""
    return sum(sum(map(str.isspace, text)) for text in texts) > 0.05 * sum(map(len, texts))


def term_weights(texts: Sequence[str]) -> TfidfVectorizer:
    """TF-IDF of words and word pairs, not yet fitted; Wang & Manning 2012 show how far bigrams go.

    Words are runs of letters or digits; where texts have hardly any spaces (Chinese, Japanese), single
    characters and their pairs take their place.
    """
    spaced = has_spaces(texts)
    return TfidfVectorizer(
        analyzer="word" if spaced else "char",
        # The default drops one-letter words, which in many languages say something.
        token_pattern=r"(?u)\b\w+\b" if spaced else None,
        ngram_range=(1, 2),
        sublinear_tf=True,
    )


def tfidf(train: Dataset, validation: Dataset, test: Dataset) -> np.ndarray:
    """Logistic regression on TF-IDF of words and word pairs."""
    texts = train["text"][:]
    vectorizer = term_weights(texts)
    labels = np.asarray(train["label"][:])
    features = vectorizer.fit_transform(texts)
    model, _ = best_regression(
        Labelled(features, labels),
        Labelled(vectorizer.transform(validation["text"][:]), np.asarray(validation["label"][:])),
    )
    return class_probabilities(model, vectorizer.transform(test["text"][:]), len(label_names(train)))


def embedding(train: Labelled, validation: Labelled, test_features: np.ndarray, classes: int) -> np.ndarray:
    """Logistic regression on the mean hidden states of the frozen encoder."""
    model, _ = best_regression(train, validation)
    return class_probabilities(model, test_features, classes)


def few_shot(train: Labelled, test_features: np.ndarray, classes: int, settings: FewShot, seed: int) -> np.ndarray:
    """Probabilities of shape [draws, rows, classes]: logistic regression on k labelled examples a class.

    The encoder stays frozen; each draw takes other examples. A class with fewer than k gives all.
    """
    draws = []
    for draw in range(settings.draws):
        random = np.random.default_rng([seed, draw])
        shuffled = random.permutation(len(train.labels))
        chosen = [shuffled[train.labels[shuffled] == label][: settings.per_class] for label in range(classes)]
        chosen = np.concatenate(chosen)
        model = fitted_regression(train.features[chosen], train.labels[chosen], 1.0)
        draws.append(class_probabilities(model, test_features, classes))
    return np.stack(draws)


def untrained(base: Path, test: Dataset, pad_id: int, seed: int) -> np.ndarray:
    """The encoder with a fresh head: what a tutorial's model knows before its first step."""
    return probabilities(
        logits(fresh_classifier(base, label_names(test), seed), test["input_ids"][:], pad_id, desc="untrained")
    )


def fills_masks(config, tokenizer) -> bool:
    """Whether the checkpoint was saved with its head for masked words."""
    return tokenizer.mask_token_id is not None and any(
        name.endswith("ForMaskedLM") for name in config.architectures or []
    )


def label_words(names: list[str], settings: ZeroShot) -> list[str]:
    """Prompt of each label in id order: `baseline.zero_shot.prompts`, or the label names themselves."""
    if settings.prompts is None:
        return names
    if set(settings.prompts) != set(names):
        raise UserError(
            f"baseline.zero_shot.prompts must have one prompt for each of the labels {', '.join(names)} "
            f"(or be null: the label names), found {', '.join(settings.prompts)}"
        )
    return [settings.prompts[name] for name in names]


def similar_prompt(prompts: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Softmax over the cosine similarity of each text with each label's prompt, from their embeddings."""
    return probabilities(normalize(texts) @ normalize(prompts).T / TEMPERATURE)


def filled_mask(base: Path, tokenizer, test: Dataset, settings: ZeroShot, max_length: int) -> np.ndarray:
    """Probabilities of the label names where the template has its mask; Schick & Schütze 2021.

    A label name of several tokens is represented by its first. Texts are cut so that the template fits.
    """
    names = label_names(test)
    special = special_tokens(tokenizer)

    def inner(texts: list[str]) -> list[list[int]]:
        return [ids[special.before : len(ids) - special.after] for ids in encode(tokenizer, texts)]

    words = [ids[0] for ids in inner([f" {name}" for name in names])]
    if len(set(words)) < len(names):
        raise UserError(
            f"the labels {', '.join(names)} start with the same token, so that zero_shot cannot tell them apart "
            "by filling a mask; rename them in data.labels"
        )
    head, tail = settings.template.replace("{label}", tokenizer.mask_token).split("{text}")
    # A byte-level tokenizer takes a space as part of the word that follows it, so the text brings it along.
    space = head[len(head.rstrip()) :]
    before, after = inner([head.rstrip(), tail])
    room = max_length - sum(special) - len(before) - len(after)
    if room < 1:
        raise UserError(
            f"baseline.zero_shot.template leaves no room for a text within tokenize.max_length {max_length}; shorten it"
        )
    whole = encode(tokenizer, ["a"])[0]
    start, end = whole[: special.before], whole[len(whole) - special.after :]
    rows = [start + before + text[:room] + after + end for text in inner([space + text for text in test["text"][:]])]
    # Counted from the end of the row where the mask comes after the text, which differs in length.
    place = before.index(tokenizer.mask_token_id) + special.before if tokenizer.mask_token_id in before else None
    offset = len(after) + special.after - (after.index(tokenizer.mask_token_id) if place is None else 0)

    def at_mask(output, batch):
        ends = batch["attention_mask"].sum(1)
        places = ends - offset if place is None else np.full(len(ends), place)
        return output.logits[range(len(ends)), places][:, words]

    return probabilities(predict(mask_filler(base), TokenRows(rows, tokenizer.pad_token_id), at_mask, desc="zero-shot"))


def encoder_features(base: Path, splits: dict[str, list], pad_id: int) -> dict[str, np.ndarray]:
    """Mean embeddings of shape [rows, hidden] for several lists of token ids, with one load of the encoder."""
    encoder = bare_encoder(base)
    return {name: mean_embeddings(encoder, rows, pad_id, desc=f"embed {name}") for name, rows in splits.items()}

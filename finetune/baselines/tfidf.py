"""TF-IDF of words and word pairs with logistic regression: the baseline that needs no encoder."""

import re
from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer

from finetune.baselines.regression import Labelled, best_regression, class_probabilities
from finetune.rows.stored import class_ids, label_names

WORD = r"(?u)\b\w+\b"  # the default drops words of one letter, which have a meaning in many languages


def has_spaces(texts: Sequence[str]) -> bool:
    """Whether words are separated by spaces: in English every sixth character is one, in Chinese hardly any."""
    return sum(sum(map(str.isspace, text)) for text in texts) > 0.05 * sum(map(len, texts))


def has_words(texts: Sequence[str]) -> bool:
    """Whether most texts hold a word: texts of emoji or punctuation alone hold none."""
    word = re.compile(WORD)
    return 2 * sum(word.search(text) is not None for text in texts) > len(texts)


def term_weights(texts: Sequence[str]) -> TfidfVectorizer:
    """Unfitted TF-IDF of words and word pairs; Wang & Manning 2012 show how strong bigrams are.

    Words are runs of letters or digits. Texts with hardly any spaces (Chinese, Japanese) or mostly without words (emoji,
    punctuation) are split into single characters and their pairs instead.
    """
    words = has_spaces(texts) and has_words(texts)
    return TfidfVectorizer(
        analyzer="word" if words else "char",
        token_pattern=WORD if words else None,
        ngram_range=(1, 2),
        sublinear_tf=True,
    )


def tfidf(train: Dataset, validation: Dataset, test: Dataset) -> np.ndarray:
    """Probabilities of shape [test rows, classes] from logistic regression on TF-IDF of words and word pairs."""
    texts = train["text"][:]
    vectorizer = term_weights(texts)
    labels = class_ids(train)
    features = vectorizer.fit_transform(texts)
    model, _ = best_regression(
        Labelled(features, labels),
        Labelled(vectorizer.transform(validation["text"][:]), class_ids(validation)),
    )
    return class_probabilities(model, vectorizer.transform(test["text"][:]), len(label_names(train)))

"""TF-IDF of words and word pairs with logistic regression: the baseline that needs no encoder."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer

from finetune.baselines.regression import Labelled, best_regression, class_probabilities
from finetune.rows.stored import label_names


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
    """Probabilities of shape [test rows, classes] from logistic regression on TF-IDF of words and word pairs."""
    texts = train["text"][:]
    vectorizer = term_weights(texts)
    labels = np.asarray(train["label"][:])
    features = vectorizer.fit_transform(texts)
    model, _ = best_regression(
        Labelled(features, labels),
        Labelled(vectorizer.transform(validation["text"][:]), np.asarray(validation["label"][:])),
    )
    return class_probabilities(model, vectorizer.transform(test["text"][:]), len(label_names(train)))

"""Names of classifiers, slices, edits and scores in the card, the report, the gate and the terminal."""

OURS = "fine-tuned"  # the key of the fine-tuned model among the classifiers
BASELINES = {
    "majority": "always the most frequent label",
    "tfidf": "TF-IDF and logistic regression",
    "embedding": "frozen encoder and logistic regression",
    "untrained": "encoder with an untrained head",
    "zero_shot": "prompting, no labels",
    "few_shot": "frozen encoder, a few labelled examples",
}
SLICES = {  # kinds of slices; labels have tables of their own, single groups are named only where one is the worst
    "length": "length of the text",
    "truncated": "cut to the maximum length",
    "negation": "with a negation",
}
EDITS = {
    "typos": "two neighbouring letters swapped in every tenth word",
    "case": "all in lower case, or in capitals",
    "contractions": "contractions with *not* expanded, or the long forms contracted",
    "neutral": "a neutral sentence put in front",
    "negation": "the statement negated; the answer must change",
}
HEADLINE = {"accuracy": "accuracy", "f1": "macro F1", "precision": "macro precision", "recall": "macro recall"}
CALIBRATION = {"ece": "calibration error (ECE)", "log_loss": "log loss", "brier": "Brier score"}
SET_SCORES = {  # of several labels per text
    "micro_f1": "micro F1",
    "f1": "macro F1",
    "sample_f1": "sample F1",
    "accuracy": "subset accuracy: all labels right",
    "hamming_loss": "Hamming loss (lower is better)",
    "average_precision": "mean average precision",
    "lrap": "label-ranking average precision (LRAP)",
}

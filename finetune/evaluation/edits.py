"""Edits of texts that must not change the answer, and one that must; CheckList, Ribeiro et al. 2020.

An edit takes a text and a random generator and returns the edited text, or the text itself where the
edit does not apply. When in doubt the rules skip a text, so that none changes its meaning by accident.
"""

import random
import re
from collections.abc import Callable, Sequence

from finetune.evaluation.words import SPACELESS, any_of, plain_apostrophes

Edit = Callable[[str, random.Random], str]

LETTERS = rf"[^\W\d_{SPACELESS}]"
WORDS_PER_TYPO = 10
LONGEST_NEGATED = 15  # words: in a longer text one verb rarely carries the verdict
LONGEST_SUBJECT = 5  # words before the verb: after more, it is often that of a clause inside the sentence

AUXILIARIES = [
    "is",
    "are",
    "was",
    "were",
    "do",
    "does",
    "did",
    "has",
    "have",
    "had",
    "could",
    "would",
    "should",
    "must",
    "need",
]
CONTRACTED = {f"{verb} not": f"{verb}n't" for verb in AUXILIARIES} | {
    "will not": "won't",
    "cannot": "can't",
    "can not": "can't",
}
EXPANDED = {short: long for long, short in CONTRACTED.items()} | {"can't": "cannot"}
# "isn't it" would become "is not it"; the other contractions are left alone because they are ambiguous ('s, 'd).
EXPAND = re.compile(rf"\b({'|'.join(EXPANDED)})\b(?! (?:i|you|he|she|it|we|they|this|that|there)\b)", re.IGNORECASE)
CONTRACT = re.compile(rf"\b({'|'.join(CONTRACTED)})\b", re.IGNORECASE)

# Forms that a "not" after them negates. "has" and "have" are also main verbs ("has a heart"), so they need a
# participle; forms of "do" are only seen with the "not" that can be taken away. "may", "might" and "could" leave it
# open either way, "must" is often a noun. A hyphen makes a form part of a word ("must-see").
FORMS = re.compile(
    r"(?<![\w-])(?:(?P<removed>cannot|can't|won't|(?:is|are|was|were|do|does|did|has|have|had|would|should|must|will|can)"
    r"(?: not|n't))"
    r"|(?P<verb>is|are|was|were|am|would|should|will|can|(?:it|that|this|there|he|she|here)'s"
    r"|(?:you|we|they)'re|i'm|(?:has|have|had)(?= (?:been|\w+ed)\b))"
    r"|(?P<other>do|does|did|has|have|had|may|might|could|must|\w+'(?:s|d|ll|ve)))(?![\w-])",
    re.IGNORECASE,
)
NEGATION = any_of(
    [
        "no",
        "not",
        "n't",
        "never",
        "none",
        "nobody",
        "nothing",
        "neither",
        "nor",
        "nowhere",
        "cannot",
        "without",
        "hardly",
        "barely",
        "less",
        "lacks",
    ]
)
# More than one clause, a question or an irony mark: the verdict may be in another part.
CLAUSES = re.compile(
    r"[,;:?…()\"“”]|--|—|\.\.|[.!] ?\w"
    r"|\b(?:but|though|although|while|if|because|than|when|or|as|who|which|what|how|where|like|whether|since|until|only|just|even|all|both|always|that(?!'))\b",
    re.IGNORECASE,
)


def typos(text: str, chance: random.Random) -> str:
    """Two adjacent letters inside a word swapped, in every tenth word of four letters or more, at least in one.

    "moving film" -> "mvoing film". First and last letters stay, so that people can still read it. Scripts
    without spaces are left alone, because a swap there can make another word.
    """
    words = [match.span() for match in re.finditer(rf"{LETTERS}{{4,}}", text)]
    positions = [
        [position for position in range(start + 1, end - 2) if text[position] != text[position + 1]]
        for start, end in words
    ]
    positions = [word for word in positions if word]
    letters = list(text)
    for word in chance.sample(positions, min(len(positions), max(1, len(positions) // WORDS_PER_TYPO))):
        position = chance.choice(word)
        letters[position], letters[position + 1] = letters[position + 1], letters[position]
    return "".join(letters)


def case(text: str, _: random.Random) -> str:
    """Everything in lower case, or in capitals if it already is lower case."""
    lower = text.lower()
    return lower if lower != text else text.upper()


def same_case(original: str, replacement: str) -> str:
    """Replacement with the capitals of the original: "IS NOT" -> "ISN'T", "Is not" -> "Isn't"."""
    if original.isupper():
        return replacement.upper()
    return replacement[0].upper() + replacement[1:] if original[0].isupper() else replacement


def contractions(text: str, _: random.Random) -> str:
    """English contractions with "not" expanded, or contracted if the text has none: "don't" <-> "do not"."""

    def replaced(pattern: re.Pattern, words: dict[str, str]) -> str:
        return pattern.sub(lambda match: same_case(match[1], words[match[1].lower()]), plain)

    plain = plain_apostrophes(text)
    edited = replaced(EXPAND, EXPANDED)
    if edited == plain:
        edited = replaced(CONTRACT, CONTRACTED)
    return edited if edited != plain else text


def neutral(sentences: Sequence[str]) -> Edit:
    """Edit that puts one of the sentences before the text, where truncation keeps it."""

    def add(text: str, chance: random.Random) -> str:
        if not sentences:
            return text
        sentence = chance.choice(sentences)
        return sentence + ("" if re.match(rf"[{SPACELESS}。！？]", sentence[-1]) else " ") + text

    return add


def negation(text: str, _: random.Random) -> str:
    """English text that says the opposite: "it is good" <-> "it is not good".

    Only texts of at most 15 words, of one clause, with exactly one form of be, do, have or a modal verb
    near the start and no other negation: otherwise the "not" may miss the verdict.
    """
    plain = plain_apostrophes(text)
    forms = list(FORMS.finditer(plain))
    if len(plain.split()) > LONGEST_NEGATED or len(forms) != 1 or CLAUSES.search(plain.strip()):
        return text
    match = forms[0]
    before, form, after = plain[: match.start()], match[0], plain[match.end() :]
    subject = before.split()
    # Without a subject it is an order ("Don't miss it") or half a sentence.
    if match["other"] or NEGATION.search(before + " " + after) or len(subject) > LONGEST_SUBJECT:
        return text
    if not subject and "'" not in (match["verb"] or ""):
        return text
    if match["verb"]:
        return f"{before}{form} not{after}"
    verb = {"cannot": "can", "can't": "can", "won't": "will"}.get(form.lower()) or re.sub(
        r"(?: not|n't)$", "", form, flags=re.IGNORECASE
    )
    return before + same_case(form, verb) + after

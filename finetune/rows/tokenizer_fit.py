"""How well a tokenizer fits texts: unknown tokens, and how many pieces a word is cut into.

An encoder of another language sees unknown tokens, or words in pieces that it never learnt to read. Rust et al. 2021 ("How
Good is Your Tokenizer?") show what many tokens a word cost.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from finetune.rows.tokens import encode, special_tokens

# Scripts that put no spaces between words: Thai and Lao, Burmese, Khmer, kana, Han with its extensions.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
SAMPLE = 5_000  # texts, evenly spaced; enough for a share to within 1.5 points
# docs/decisions.md has the values of texts in a dozen languages and kinds.
MOST_UNKNOWN = 0.05  # share of the tokens
MOST_PER_WORD = 1.6  # tokens
LEAST_CHARACTERS = 0.9  # a token; an encoder of Chinese has one token for each character


def tokenizer_fit(texts: Sequence[str], tokenizer) -> dict[str, float | None]:
    """Share of `unknown` tokens, mean tokens `per_word` and mean `characters` of a token, white space left out.

    A text without any token counts as one unknown token. A word is a piece of letters between spaces, without the
    punctuation around it; texts with numbers or code would look foreign otherwise. `per_word` is None if less than half
    of the characters belong to such words, as in Chinese.
    """
    before, after = special_tokens(tokenizer)
    rows = encode(tokenizer, texts)
    lengths = [len(ids) - before - after for ids in rows]
    tokens, silent = sum(lengths), lengths.count(0)
    unknown = unknown_id(tokenizer)
    characters = sum(len(piece) for text in texts for piece in text.split())
    words = Counter(word for text in texts for piece in text.split() if (word := spaced_word(piece)))
    letters = sum(len(word) * count for word, count in words.items())
    per_word = None
    if letters and 2 * letters >= characters:
        # A space in front, because a byte-level tokenizer gives the first word of a text other tokens.
        pieces = encode(tokenizer, [f" {word}" for word in words])
        total = sum(count * (len(ids) - before - after) for ids, count in zip(pieces, words.values(), strict=True))
        per_word = total / words.total()
    return {
        "unknown": (sum(ids.count(unknown) for ids in rows) + silent) / (tokens + silent),
        "per_word": per_word,
        "characters": characters / max(1, tokens),
    }


def unknown_id(tokenizer) -> int | None:
    """Id of the token for what the vocabulary lacks; None if there is none."""
    if tokenizer.unk_token_id is not None:
        return tokenizer.unk_token_id
    backend = getattr(tokenizer, "backend_tokenizer", None)
    token = getattr(backend and backend.model, "unk_token", None)
    return backend.token_to_id(token) if token else None


def spaced_word(piece: str) -> str | None:
    """The word in a piece of text between spaces: '"great,"' -> "great"; None for numbers, code and spaceless scripts."""
    if not piece.isalpha():
        # Letters, and marks on them such as the vowels of Hindi; a digit at the end belongs to a name or a version.
        kinds = "".join(unicodedata.category(character)[0] for character in piece)
        match = re.fullmatch("[^LMN]*([LM]+)[^LMN]*", kinds)
        if not match:
            return None
        piece = piece[slice(*match.span(1))]
    return None if any(map(is_spaceless, piece)) else piece


def is_spaceless(character: str) -> bool:
    """Whether a character belongs to a script without spaces between words."""
    return character >= SPACELESS[0] and any(
        first <= character <= last for first, last in zip(SPACELESS[::3], SPACELESS[2::3], strict=True)
    )


def misfit(fit: dict[str, float | None]) -> str | None:
    """A sentence about a tokenizer that does not fit: the measured value, the usual one and what to do; None if it fits."""
    if fit["unknown"] > MOST_UNKNOWN:
        problem = f"{fit['unknown']:.0%} of the tokens are unknown (usual: at most {MOST_UNKNOWN:.0%})"
    elif fit["characters"] < LEAST_CHARACTERS:
        problem = f"a character takes {1 / fit['characters']:.1f} tokens (usual: at most {1 / LEAST_CHARACTERS:.1f})"
    elif fit["per_word"] is not None and fit["per_word"] > MOST_PER_WORD:
        problem = f"a word takes {fit['per_word']:.1f} tokens (usual: at most {MOST_PER_WORD})"
    else:
        return None
    return (
        f"the tokenizer of models/base does not fit the texts: {problem}; choose an encoder for texts like these in model.uri "
        "(docs/data.md, Other languages)"
    )

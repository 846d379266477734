"""Numbers and settings as text: percentages, intervals, dotted names, a value on one line."""

import yaml


def percent(value: float, digits: int = 1) -> str:
    """A fraction as a percentage: 0.8245 -> "82.5%"."""
    return f"{100 * value:.{digits}f}%"


def interval(ends: dict) -> str:
    """Both ends of an interval of fractions, with as many digits as tell them apart: {"low": 0.803, "high": 0.846} -> "80.3% to 84.6%".

    10,000 of 10,000 right, 0.99962 to 1.0 -> "99.96% to 100.00%".
    """
    for digits in (1, 2, 3):
        low, high = percent(ends["low"], digits), percent(ends["high"], digits)
        if low != high:
            break
    return f"{low} to {high}"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points: 0.0431 -> "+4.3"."""
    return f"{100 * difference:+.1f}"


def dotted(values: dict, prefix: str = "") -> dict[str, object]:
    """Values of nested sections by their dotted names: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


def one_line(value) -> str:
    """A setting in YAML, on one line: None -> "null", ["a", 1] -> "[a, 1]"."""
    if isinstance(value, float):
        return str(value)  # 1e-05, as DVC writes it; PyYAML makes 1.0e-05 of it
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def shortened(text: str, characters: int) -> str:
    """A text of at most so many characters; "…" marks the cut."""
    return text if len(text) <= characters else text[: characters - 1] + "…"

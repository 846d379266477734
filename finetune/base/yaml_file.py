"""YAML files, read as DVC reads them."""

from pathlib import Path

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from finetune.base.errors import UserError, one_line
from finetune.base.files import plain_file

LONGEST = 1_000_000  # characters; the parser takes five seconds for so many
MERGE = "tag:yaml.org,2002:merge"
MOST_MERGED = 100_000  # keys that `<<` brings into one mapping


def parse_yaml(path: Path):
    """Content of a YAML file. Raises UserError if it is missing, too long or not YAML."""
    try:
        with plain_file(path).open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        return parse_yaml_text(text, str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this from the project's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from None


def parse_yaml_text(text: str, source: str):
    """Content of a YAML 1.2 text: `3e-05` is a number, `yes` a string.

    Raises UserError, naming the source, if it is too long or not YAML.
    """
    if len(text) > LONGEST:
        raise UserError(f"{source} has more than {LONGEST:,} characters; expected settings, which have a few thousand")
    try:
        yaml = YAML(typ="safe", pure=True)
        if "&" in text and largest_merge(yaml.compose(text)) > MOST_MERGED:
            raise UserError(f"{source} merges (`<<`) more than {MOST_MERGED:,} keys; write out the few that it needs")
        return yaml.load(text)
    except YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {explained(error)}") from None
    except (
        ValueError,
        LookupError,
    ) as error:  # from a value that does not fit its tag, or an integer of thousands of digits
        raise UserError(f"{source} has a value that cannot be read: {one_line(error)}") from None
    except RecursionError:
        raise UserError(f"{source} nests lists or mappings too deep to read; expected a few levels") from None


def largest_merge(document: Node | None) -> int:
    """Keys of the largest mapping of a document once its merges are carried out.

    The parser copies merged keys, so mappings that merge each other can stand for more keys than memory has room for.
    """
    nodes, seen, sizes = [document], set(), {}
    while nodes:
        node = nodes.pop()
        if id(node) in seen or not isinstance(node, MappingNode | SequenceNode):
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            merged_size(node, sizes)
            nodes += [value for _, value in node.value]
        else:
            nodes += node.value
    return max(sizes.values(), default=0)


def merged_size(mapping: MappingNode, sizes: dict[int, int]) -> int:
    """Keys of one mapping once its merges are carried out; `sizes` keeps the results, so each mapping is counted once."""
    if id(mapping) not in sizes:
        sizes[id(mapping)] = 0  # for a mapping that merges itself
        size = 0
        for key, value in mapping.value:
            parts = value.value if isinstance(value, SequenceNode) else [value]
            merged = [part for part in parts if isinstance(part, MappingNode)]
            size += sum(merged_size(part, sizes) for part in merged) if key.tag == MERGE else 1
        sizes[id(mapping)] = size
    return sizes[id(mapping)]


def explained(error: YAMLError) -> str:
    """Problem and position, without ruamel's advice for programmers."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return one_line(error)
    parts = " ".join(f"{error.context or ''} {error.problem}".split())
    return f"{parts} in line {mark.line + 1}, column {mark.column + 1}"

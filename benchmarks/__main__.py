"""All benchmarks one after another, with one table of their ratios at the end.

python -m benchmarks       (make bench)
"""

from benchmarks import inference, repro, serving, side_by_side, tokenization, training
from benchmarks.measure import table
from finetune.base.command import run

BENCHMARKS = (
    tokenization,
    repro,
    training,
    side_by_side,
    inference,
    serving,
)  # each has ratios(), which measures with its own defaults


def main():
    print(table([row for benchmark in BENCHMARKS for row in benchmark.ratios()]))


if __name__ == "__main__":
    raise SystemExit(run(main))

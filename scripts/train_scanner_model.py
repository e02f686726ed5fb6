#!/usr/bin/env python3
"""Trains the scanner's second opinion, and says what it is worth on sources that it has not seen.

    python -m scripts.train_scanner_model [--write] [--epochs 12]

Logistic regression by plain gradient descent, the same for the same data. Each fold holds out whole sources; the
threshold is above every real tool of every fold. --write puts the numbers into the program.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from callgate.model.finding import rank, worst
from callgate.scanner import model as scanner_model
from callgate.scanner.engine import scan
from callgate.scanner.model import SIZE, Model, features, prose, score
from callgate.scanner.surface import surface
from scripts.eval_scanner import MEDIUM, Row, own_rows, raw, shared_rows

FOLDS = 5
SCALE = 1000
MARGIN = 0.25  # above the worst real tool


class Example(NamedTuple):
    seen: frozenset[int]
    attack: bool
    real: bool  # an ordinary tool of a real server
    source: str
    found: bool  # by the rules, without the model


def example(row: Row) -> Example:
    definition = raw(row["tool"])
    seen = features(prose(surface("tool", definition).leaves))
    by_rules = rank(worst(scan("tool", definition))) >= MEDIUM
    return Example(seen, row["label"] == "malicious", row["label"] == "benign", str(row.get("source", "")), by_rules)


def trained(examples: Sequence[Example], epochs: int, seed: int = 7) -> Model:
    """Attacks and honest definitions weigh the same in sum; features that say nothing go to zero."""
    weights, bias = [0.0] * SIZE, 0.0
    attacks = sum(one.attack for one in examples)
    share = {True: len(examples) / (2 * attacks), False: len(examples) / (2 * (len(examples) - attacks))}
    order = [one for one in examples if one.seen]
    shuffle = random.Random(seed)
    for epoch in range(epochs):
        shuffle.shuffle(order)
        rate = 1.5 / (1 + epoch / 3)
        for one in order:
            norm = math.sqrt(len(one.seen))
            total = sum(weights[at] for at in one.seen) / norm + bias
            error = one.attack - 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))
            step = rate * error * share[one.attack]
            bias += 0.1 * step
            for at in one.seen:
                weights[at] += step / norm
        weights = [value * 0.97 for value in weights]
    return Model(tuple(round(value * SCALE) for value in weights), round(bias * SCALE), SCALE, 0.0)


def fold_of(one: Example) -> int:
    return crc32(one.source.encode()) % FOLDS


def held_out(examples: Sequence[Example], epochs: int) -> list[tuple[Example, float]]:
    """Each example with what a model says that knows nothing of its source."""
    result = []
    for fold in range(FOLDS):
        numbers = trained([one for one in examples if fold_of(one) != fold], epochs)
        result += [(one, score(numbers, one.seen)) for one in examples if fold_of(one) == fold]
    return result


def report(title: str, scored: Sequence[tuple[Example, float]], threshold: float) -> None:
    attacks = [(one, value) for one, value in scored if one.attack]
    honest = [value for one, value in scored if not one.attack]
    over = [one for one, value in attacks if value >= threshold]
    wrong = sum(value >= threshold for value in honest)
    missed, more = (sum(not one.found for one in some) for some in ([one for one, _ in attacks], over))
    print(f"{title}: {len(over)} of {len(attacks)} attacks, {wrong} of {len(honest)} honest ones")
    print(f"  the rules miss {missed}, of which the model has {more}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    examples = [example(row) for row in shared_rows()]
    if not examples:
        print("there is no development split on this machine: set CALLGATE_CORPUS", file=sys.stderr)
        return 1
    scored = held_out(examples, options.epochs)
    threshold = max(value for one, value in scored if one.real) + MARGIN
    report(f"held-out sources, threshold {threshold:.2f}", scored, threshold)
    numbers = trained(examples, options.epochs)
    own = [example(row) for row in own_rows()]
    report("the set of this repository", [(one, score(numbers, one.seen)) for one in own], threshold)
    if options.write:
        value = {"weights": numbers.weights, "bias": numbers.bias, "scale": SCALE, "threshold": round(threshold, 2)}
        path = Path(str(scanner_model.__file__)).with_name("model.json")
        path.write_text(json.dumps(value, separators=(",", ":")) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

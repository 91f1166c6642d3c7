"""How often `lint` agrees with what DeepSpeed really does.

Writes random DeepSpeed configs, half of them with a mistake, hands each to DeepSpeed on 1 to 4 real ranks (parse,
`initialize`, two steps, save, load), and asks `lint` the same question. Prints the counts and each kind of
disagreement with its smallest config; ends with 1 when there is a false accept, a false refusal, or a value that is
not in force. What DeepSpeed did is kept, so that a second run asks lint alone.

`python benchmarks/truth.py --seed 1 --cases 1000 --workers 2`
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "ranks")]

from truth.cases import Case, cases  # noqa: E402
from truth.compare import FAULTS, Disagreement, compare  # noqa: E402
from truth.oracle import Oracle, Outcome  # noqa: E402


def main() -> int:
    """Runs the sweep and says how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2, help="processes that run cases side by side")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir(), "zerotrain-truth.jsonl"))
    parser.add_argument("--shrink", action="store_true", help="reduce each disagreement to what causes it; takes time")
    given = parser.parse_args()
    drawn = list(cases(given.seed, given.cases))
    began = time.monotonic()
    outcomes = ask(drawn, given.kept, given.workers)
    print(f"seed {given.seed}: {len(drawn)} cases, DeepSpeed's side took {time.monotonic() - began:.0f} s")
    found = [one for case, outcome in zip(drawn, outcomes, strict=True) for one in compare(case, outcome)]
    smallest = grouped(found)
    if given.shrink:
        smallest = shrunk(smallest, given.kept)
    report(drawn, outcomes, found, smallest)
    return int(any(one.kind in FAULTS for one in found))


def ask(drawn: Sequence[Case], kept: Path, workers: int) -> list[Outcome]:
    """Returns the outcome of every case, in their order; each worker takes every n-th."""

    def work(worker: int) -> dict[int, Outcome]:
        oracle = Oracle(kept)
        outcomes = {number: oracle.ask(drawn[number]) for number in range(worker, len(drawn), workers)}
        oracle.close()
        return outcomes

    with ThreadPoolExecutor(workers) as pool:
        outcomes = {number: outcome for part in pool.map(work, range(workers)) for number, outcome in part.items()}
    return [outcomes[number] for number in range(len(drawn))]


def grouped(found: Sequence[Disagreement]) -> list[tuple[int, Disagreement]]:
    """Returns the disagreements by kind and cause: how many there are, and the one with the smallest config."""
    groups = defaultdict[tuple[str, str], list[Disagreement]](list)
    for one in found:
        groups[one.kind, one.cause].append(one)
    smallest = [(len(group), min(group, key=lambda one: len(one.case.text))) for group in groups.values()]
    return sorted(smallest, key=lambda entry: (entry[1].kind, -entry[0]))


def shrunk(smallest: Sequence[tuple[int, Disagreement]], kept: Path) -> list[tuple[int, Disagreement]]:
    """Returns the disagreements with configs from which nothing can be taken away."""
    oracle = Oracle(kept)
    result = [(count, shrink(one, oracle)) for count, one in smallest]
    oracle.close()
    return result


def shrink(one: Disagreement, oracle: Oracle) -> Disagreement:
    """Takes keys away as long as the same disagreement remains."""
    for case in one.case.smaller():
        for other in compare(case, oracle.ask(case)):
            if (other.kind, other.cause) == (one.kind, one.cause):
                return shrink(other, oracle)
    return one


def report(
    drawn: Sequence[Case],
    outcomes: Sequence[Outcome],
    found: Sequence[Disagreement],
    smallest: Sequence[tuple[int, Disagreement]],
) -> None:
    """Prints the counts, then the smallest config of each kind of disagreement."""
    ends = Counter(outcome.verdict if outcome.verdict == "works" else outcome.stage for outcome in outcomes)
    print("DeepSpeed:", ", ".join(f"{count} {end}" for end, count in ends.most_common()))
    print(f"without a mistake: {sum(case.mistake is None for case in drawn)}")
    kinds = Counter(one.kind for one in found)
    print("disagreements:", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none")
    for count, one in smallest:
        print(f"\n{one.kind} ({count}): {one.detail}")
        print(f"  world size {one.case.world_size}, mistake: {one.case.mistake}; DeepSpeed: {one.outcome}")
        for finding in one.findings:
            print(f"  lint: {finding.code} {finding.severity.value} {finding.place.key}: {finding.message}")
        print(f"  {json.dumps(one.case.config)}")


if __name__ == "__main__":
    sys.exit(main())

"""How a DeepSpeed config divides the ranks."""

from __future__ import annotations

from zerotrain.check.config.case import ConfigCase, whole


def tensor_ranks(case: ConfigCase) -> int:
    """Returns the ranks that share each layer: 1 without tensor parallelism."""
    return max(1, whole(case.get("tensor_parallel.autotp_size")) or 1)


def sequence_ranks(case: ConfigCase) -> int:
    """Returns the ranks that share each sequence by the mesh DeepSpeed builds from the config: 1 without a mesh."""
    data, sequence = whole(case.get("data_parallel_size")), whole(case.get("sequence_parallel_size"))
    return sequence if data and sequence and sequence > 1 else 1


def is_read(case: ConfigCase, key: str) -> bool:
    """Tells whether this version of DeepSpeed reads a key, in a section or as one."""
    return case.schema.key(key) is not None


def divisors(number: int) -> str:
    """Returns the divisors of a number of ranks for a message, at most the first twelve."""
    found = [str(divisor) for divisor in range(1, min(number, 4096) + 1) if number % divisor == 0]
    return ", ".join(found[:12])

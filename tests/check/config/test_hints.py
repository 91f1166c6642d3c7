"""What an unknown key was probably meant to be."""

from __future__ import annotations

import pytest

from zerotrain.check.config.case import ConfigCase
from zerotrain.check.config.entries import entries
from zerotrain.check.config.hints import hint


@pytest.mark.parametrize(
    ("config", "help", "new_name"),
    [
        ({"gradient_cliping": 1}, "did you mean `gradient_clipping`?", "gradient_clipping"),
        ({"Gradient-Clipping": 1}, "did you mean `gradient_clipping`?", "gradient_clipping"),
        ({"gradient_clip": 1}, "did you mean `gradient_clipping`?", "gradient_clipping"),
        ({"clipping": 1}, "did you mean `gradient_clipping`?", None),
        ({"stage": 2}, "it belongs in `zero_optimization`: move it there, or remove it", None),
        ({"enabled": True}, "remove it", None),
        (
            {"gradient_clipping": 1, "gradient-clipping": 1},
            "`gradient_clipping` stands here too; remove this one",
            None,
        ),
    ],
)
def test_the_way_out(config: dict[str, object], help: str, new_name: str | None) -> None:
    [entry] = [entry for entry in entries(ConfigCase(config)) if entry.key is None]

    said, fix = hint(ConfigCase(config), entry)

    assert (said, fix and fix.value) == (help, new_name)

"""Text from exported weights."""

from __future__ import annotations

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.generate import generate
from zerotrain.spec.run import SampleSpec


def test_each_prompt_is_continued_and_the_same_seed_gives_the_same_text(train, tmp_path):
    result = train({}, 1)
    export_run(result.run, tmp_path / "export")
    sample = SampleSpec(prompts=["def f(", "import "], max_new_tokens=8)

    texts = generate(tmp_path / "export", sample, seed=1)

    assert [text.startswith(prompt) for text, prompt in zip(texts, sample.prompts, strict=True)] == [True, True]
    assert all(len(text) > len(prompt) for text, prompt in zip(texts, sample.prompts, strict=True))
    assert generate(tmp_path / "export", sample, seed=1) == texts

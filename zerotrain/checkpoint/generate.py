"""Text from exported weights, through plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from zerotrain.spec.run import SampleSpec


def generate(directory: Path, sample: SampleSpec, seed: int) -> list[str]:
    """Loads an export as anyone would and returns a continuation of each prompt, the prompt included."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype="auto").eval()
    torch.manual_seed(seed)
    return [_continue(model, tokenizer, prompt, sample.max_new_tokens) for prompt in sample.prompts]


def _continue(model: Any, tokenizer: Any, prompt: str, length: int) -> str:
    tokens = tokenizer(prompt, return_tensors="pt")
    with torch.no_grad():
        output = model.generate(**tokens, max_new_tokens=length, do_sample=True, temperature=0.7, top_k=40)
    return tokenizer.decode(output[0], skip_special_tokens=True)

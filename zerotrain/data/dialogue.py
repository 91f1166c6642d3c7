"""Dialogues as tokens: which text they are, and which tokens of it are an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zerotrain.data.pretrained import CONFIG_FILE, TOKENIZER_FILE, unbounded
from zerotrain.data.sources.record import Fault
from zerotrain.diagnostic import error
from zerotrain.errors import DataError

Turns = Sequence[Mapping[str, Any]]
"""Messages with `role` and `content`."""

Span = tuple[int, int]

_TEMPLATE_FILE = "chat_template.jinja"
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Encoded:
    """A dialogue as tokens."""

    ids: Sequence[int]
    is_answer: Sequence[bool]
    """For each token, whether it belongs to an answer; the token that ends an answer does."""


class DialogueEncoder:
    """A tokenizer, with the template that turns messages into text."""

    def __init__(self, folder: Path, eos_token_id: int) -> None:
        self._folder, self._end = folder, eos_token_id
        content = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
        self._plain = unbounded(Tokenizer.from_str(content))
        self._plain.encode_special_tokens = True
        # Without a post-processor, which would trim white space from the places of tokens, and add special tokens.
        self._rendered = unbounded(Tokenizer.from_str(json.dumps({**json.loads(content), "post_processor": None})))
        added = self._plain.get_added_tokens_decoder()
        self._special = {number: token.content for number, token in added.items() if token.special}
        self._config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))

    @cached_property
    def template(self) -> str:
        """The chat template; raises DataError (ZT650) when the tokenizer has none."""
        file = self._folder / _TEMPLATE_FILE
        found = file.read_text(encoding="utf-8") if file.is_file() else self._config.get("chat_template")
        if isinstance(found, list):
            found = next((entry["template"] for entry in found if entry["name"] == "default"), None)
        if not isinstance(found, str):
            message = "the data has messages, and the tokenizer has no chat template that makes text of them"
            help = "use the tokenizer of a chat model, or put a `chat_template.jinja` beside its `tokenizer.json`"
            raise DataError(error("ZT650", "no-chat-template", message, help=help, key="data.tokenizer"))
        return found

    def encode(self, prompt: str | Turns, answer: str | Turns) -> Encoded | Fault:
        """Returns a prompt and its answer, both text or both messages; of the prompt nothing is an answer.

        Messages are made text by the template, which writes every special token; text has those that the tokenizer
        puts before a prompt, and the end-of-text token after the answer.
        """
        if isinstance(prompt, str) and isinstance(answer, str):
            return self._text(prompt, answer)
        assert not isinstance(prompt, str) and not isinstance(answer, str), "forms refuse a mixture"
        return self._chat([*prompt, *answer], len(prompt))

    def _text(self, prompt: str, answer: str) -> Encoded:
        """Encodes the prompt alone, as it is when an answer is generated, so that no token belongs to both."""
        before = self._plain.encode(prompt)
        length = len(before.ids)
        while length and before.special_tokens_mask[length - 1]:
            length -= 1
        after = [*self._plain.encode(answer, add_special_tokens=False).ids, self._end]
        return Encoded([*before.ids[:length], *after], [False] * length + [True] * len(after))

    def _chat(self, turns: Turns, first: int) -> Encoded | Fault:
        planted = next((t for turn in turns for t in self._special.values() if t in turn["content"]), None)
        if planted is not None:
            return Fault("ZT655", "special-token", f"has the special token `{planted}` in a message")
        try:
            text, spans = self._marked(turns, first) if _MARKS.search(self.template) else self._measured(turns, first)
        except DataError:
            raise
        except Exception as refusal:  # a template is a program of somebody's, and raises whatever it likes
            reason = " ".join(str(refusal).split()) or type(refusal).__name__
            return Fault("ZT651", "unrenderable-chat", f"is refused by the chat template: {reason}")
        if spans is None:
            fact = "is not rendered by the chat template with each message after those before it"
            return Fault("ZT654", "moving-template", fact)
        return self._tokens(text, spans)

    def _marked(self, turns: Turns, first: int) -> tuple[str, list[Span] | None]:
        """Returns the text and the answers that the template itself marks with `generation`."""
        text, spans = self._render(turns, marks=True)
        answers, wanted = _answers(turns), [number for number in _answers(turns) if number >= first]
        return text, list(spans[len(spans) - len(wanted) :]) if len(spans) == len(answers) else None

    def _measured(self, turns: Turns, first: int) -> tuple[str, list[Span] | None]:
        """Returns the text and the answers, found by rendering the messages up to each."""
        text, spans = self._render(turns)[0], list[Span]()
        for number in _answers(turns):
            if number >= first:
                before, _ = self._render(turns[:number], prompts=True)
                after, _ = self._render(turns[: number + 1])
                if not (text.startswith(after) and after.startswith(before)):
                    return text, None
                spans.append((len(before), len(after.rstrip())))
        return text, spans

    def _render(self, turns: Turns, *, prompts: bool = False, marks: bool = False) -> tuple[str, Sequence[Span]]:
        """Returns the text as transformers renders it; the same code is used when the model is talked to."""
        if not turns and prompts:
            # Templates may refuse a chat without messages; then an answer begins where the text does.
            return "", ()
        from transformers.utils import chat_template_utils

        render: Any = chat_template_utils.render_jinja_template  # its annotations promise one text
        rendered, spans = render(
            [list(turns)],
            chat_template=self.template,
            add_generation_prompt=prompts,
            return_assistant_tokens_mask=marks,
            **self._names,
        )
        return rendered[0], spans[0] if spans else ()

    @cached_property
    def _names(self) -> dict[str, str]:
        """The special tokens that a template may write by their roles, such as `bos_token`."""
        declared = {role: token for role, token in self._config.items() if role.endswith("_token")}
        contents = {role: token["content"] if isinstance(token, dict) else token for role, token in declared.items()}
        return {role: content for role, content in contents.items() if isinstance(content, str)}

    def _tokens(self, text: str, spans: Sequence[Span]) -> Encoded:
        encoded = self._rendered.encode(text, add_special_tokens=False)
        is_answer = [any(begin < stop and end > start for start, stop in spans) for begin, end in encoded.offsets]
        for place in range(len(is_answer) - 1, 0, -1):
            if is_answer[place - 1] and not is_answer[place]:
                is_answer[place] = self._ends(encoded.ids[place - 1], encoded.ids[place])
        return Encoded(encoded.ids, is_answer)

    def _ends(self, last: int, following: int) -> bool:
        """Tells whether a token ends the answer before it, which a template may leave outside of its marks."""
        return last not in self._special and following in self._special


def _answers(turns: Turns) -> list[int]:
    return [number for number, turn in enumerate(turns) if turn["role"] == "assistant"]

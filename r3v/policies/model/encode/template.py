"""The chat template of a processor: renders messages, or says why it cannot be used."""

from __future__ import annotations

from typing import Any

from r3v.errors import ModelError

_PROBE = "probe of a message"


class ChatTemplate:
    """(messages, whether a reply is to follow) -> text. `thinking` switches the thoughts of templates that know
    `enable_thinking` on or off."""

    def __init__(self, processor: Any, thinking: bool | None = None) -> None:
        self._processor, self._thinking = processor, thinking

    def __call__(self, chat: list[dict[str, Any]], add_generation_prompt: bool, **more: Any) -> str:
        """Raises ModelError where the template fails."""
        from jinja2 import TemplateError

        switch = {} if self._thinking is None else {"enable_thinking": self._thinking}
        try:
            return self._processor.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=add_generation_prompt, **{**switch, **more}
            )
        except (TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise self._refused(f"fails ({type(error).__name__}: {error})") from error

    def check(self, pictures: bool) -> None:
        """Raise ModelError for a template that writes the list of a message's parts as it is in Python, as one that
        takes strings alone does, that leaves text or (where the model sees any) pictures out, or that does not know the
        switch it is given."""
        told: dict[str, Any] = {"type": "text", "text": _PROBE}
        said = self([{"role": "user", "content": [told]}], True)
        if "'type'" in said or '"type"' in said:
            raise self._refused("takes messages whose content is a string alone")
        if _PROBE not in said:
            raise self._refused("leaves the text of a message out")
        if pictures:
            pictured = self([{"role": "user", "content": [{"type": "image"}, told]}], True)
            if pictured == said or _PROBE not in pictured:
                raise self._refused("leaves the pictures of a message out")
        self._check_thinking()

    def _check_thinking(self) -> None:
        if self._thinking is None:
            return
        chat: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
        if self(chat, True) == self(chat, True, enable_thinking=not self._thinking):
            raise ModelError(
                f"found model.thinking {str(self._thinking).lower()}, and the chat template of "
                f"{type(self._processor).__name__} makes the same prompt with it and without. Leave model.thinking out"
            )

    def _refused(self, what: str) -> ModelError:
        return ModelError(
            f"the chat template of {type(self._processor).__name__} {what}, expected one that renders messages whose "
            "content is a list of texts and pictures. Use an instruction-tuned model, or put a chat_template.jinja "
            "that does beside its tokenizer"
        )

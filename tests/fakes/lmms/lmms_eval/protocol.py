"""Chat messages, checked as pydantic checks them there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class ChatTextContent(BaseModel):
    type: Literal["text"] = "text"
    text: str


class ChatImageContent(BaseModel):
    type: Literal["image"] = "image"
    url: Any


class ChatVideoContent(BaseModel):
    type: Literal["video"] = "video"
    url: Any


class ChatMessage(BaseModel):
    role: Literal["user", "system", "assistant"]
    content: list[ChatTextContent | ChatImageContent | ChatVideoContent]


class ChatMessages(BaseModel):
    messages: list[ChatMessage]

"""Every word that the curriculum puts to a model: agents, image types, the judge of failures.

The words of solving, notes and selection are in `r3v.prompts`, which knows nothing of plans and diagnoses; those here
need the curriculum's own records. Pictures come first in a message, so the text refers to them by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r3v.curriculum.agents.messages import Pick, Plan, Question, describe
from r3v.curriculum.practice.edit_ops import OPS
from r3v.curriculum.practice.item import Target
from r3v.prompts import question_text
from r3v.records import ImageSource, Message, Problem, Prompt

_JSON = "Reply with one JSON object and nothing else, with these fields:\n"


def plan(job: str, seed: Problem, target: Target, guidance: str, endpoint: bool) -> Prompt:
    """Ask the planner for a Plan, with an example problem before it."""
    edits = ", ".join(["none", *OPS, *(["endpoint"] if endpoint else [])])
    text = (
        f"Here is an example problem with its picture.\n{question_text(seed)}\nIts answer: {seed.gold_text}\n\n"
        f"Plan a new problem about another picture that trains this weakness: {target.describe()}.\n"
        f"{guidance + chr(10) if guidance else ''}"
        "Give one or two short image search queries. 'edit' changes the picture that is found: one of "
        f"{edits}; 'instruction' says what an endpoint edit should do.\n{_JSON}{describe(Plan)}"
    )
    return Prompt(f"{job}/plan", (Message("user", text, seed.images[:1]),))


def pick(job: str, made: Plan, pictures: Sequence[ImageSource], captions: Sequence[str]) -> Prompt:
    """Ask the selector for a Pick among pictures."""
    listed = "\n".join(f"picture {i + 1}: {c[:200] or 'no caption'}" for i, c in enumerate(captions))
    text = (
        f"Choose the picture on which this problem can be asked: {made.summary} (skill: {made.skill}).\n{listed}\n"
        "The picture must be readable and hold what the problem needs. 0 means that none is usable.\n"
        f"{_JSON}{describe(Pick)}"
    )
    return Prompt(f"{job}/pick", (Message("user", text, tuple(pictures)),))


def write(job: str, made: Plan, picture: ImageSource) -> Prompt:
    """Ask the writer for a Question about a picture."""
    text = (
        f"Write one problem about this picture. Plan: {made.summary} (skill: {made.skill}, answer kind: {made.kind}).\n"
        "Everything needed must be visible in the picture or stated in the question, and there must be exactly one "
        "right answer. For kind 'choice' give at least three choices and the letter of the right one as the answer.\n"
        f"{_JSON}{describe(Question)}"
    )
    return Prompt(f"{job}/write", (Message("user", text, (picture,)),))


def image_type(problem: Problem, types: Sequence[str]) -> Prompt:
    """Ask which of the types the pictures of a problem are."""
    text = f"Which type is this picture: {', '.join(types)}? Reply with one of these words, nothing else."
    return Prompt(problem.id, (Message("user", text, problem.images),))


def judge(problem: Problem, answer: str, modes: Mapping[str, str]) -> Prompt:
    """Ask which failure mode a wrong answer shows; the reply is the name of one of `modes` (name -> meaning)."""
    listed = "\n".join(f"{name}: {meaning}" for name, meaning in modes.items())
    text = (
        f"Here is a problem with its picture.\n{question_text(problem)}\nThe right answer: {problem.gold_text}\n\n"
        f"A student answered:\n{answer}\n\nThis is wrong. What went wrong first?\n{listed}\n"
        "Reply with one of these words, nothing else."
    )
    return Prompt(f"{problem.id}/judge", (Message("user", text, problem.images),))


def repair(prompt: Prompt, reply: str, error: str) -> Prompt:
    """Show a reply that could not be read and say why."""
    again = Message("user", f"That cannot be used: {error}\nReply again with one JSON object in the form asked for.")
    return Prompt(f"{prompt.problem_id}/repair", (*prompt.messages, Message("assistant", reply[:4000]), again))

"""Shards and example files: what is written comes back, other tools open it, damage is an error with
advice.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from reflection_fakes import choice, graded, number

from r3v import prompts as words
from r3v.errors import RunError
from r3v.records import Candidate, Example, Graded, Message, Outcome, Prompt, Verdict
from r3v.rollout.pool import Pool
from r3v.rollout.shards import (
    read_examples,
    read_shard,
    read_shards,
    shard_column,
    shard_settings,
    write_examples,
    write_shard,
)

PROBLEM = number()
ITEMS = [
    *graded(PROBLEM, "180 - 120 = 60. Answer: 60", "Answer: 50", "no idea", ""),
    Graded(
        Candidate("p1", 2, 7, 2**40, "é∠\n", (5, 6), (-0.25, -1e-9), "length", "m", "h", ("n1", "n2")),
        Verdict(Outcome.UNAVAILABLE, None, "engine failed"),
    ),
]


def test_a_shard_comes_back_as_it_was(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-00000.parquet", ITEMS, {"seed": 3})
    assert read_shard(tmp_path / "shard-00000.parquet") == ITEMS
    assert shard_settings(tmp_path / "shard-00000.parquet") == {"seed": 3}


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-00001.parquet", ITEMS[2:])
    write_shard(tmp_path / "shard-00000.parquet", ITEMS[:2])
    (tmp_path / ".shard-00002.parquet.x.tmp").write_bytes(b"half")
    assert list(read_shards(tmp_path)) == ITEMS


def test_datasets_opens_the_folder_as_it_is(tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = tmp_path / "candidates"
    write_shard(folder / "shard-00000.parquet", ITEMS[:2])
    write_shard(folder / "shard-00001.parquet", ITEMS[2:])
    (folder / ".settings.json").write_text("{}")
    cache = str(tmp_path / "cache")
    tables = [
        load_dataset("parquet", data_dir=str(folder), split="train", cache_dir=cache),
        load_dataset("parquet", data_files=str(folder / "*.parquet"), split="train", cache_dir=cache),
    ]
    for table in tables:
        assert table["text"][:] == [item.candidate.text for item in ITEMS]  # type: ignore[index]
        assert table["outcome"][:] == ["correct", "wrong", "unparsed", "unparsed", "unavailable"]  # type: ignore[index]


def test_half_written_and_foreign_files_are_errors_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.parquet"
    write_shard(path, ITEMS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"shard-00000.parquet: not a whole Parquet file.*Delete this file and run"):
        read_shard(path)
    middle = bytearray(whole)
    middle[40] ^= 0xFF
    path.write_bytes(bytes(middle))
    with pytest.raises(RunError, match="Delete this file"):
        read_shard(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(RunError, match=r"found r3v.kind none.*move it away"):
        read_shard(path)
    with pytest.raises(RunError, match="folder of candidates not found"):
        list(read_shards(tmp_path / "nowhere"))


def test_examples_come_back_with_the_images_of_their_problems(tmp_path: Path) -> None:
    problem = choice(images=True)
    plain = number("p9")
    examples = [
        Example("answer", "p0", words.solve(problem, words.style("full")), "Answer: B", 0.5, ("p0/0/1",)),
        Example("reinforce", "p9", words.solve(plain, words.style("full")), "x", advantage=-0.5),
        Example("prefer", "p9", words.solve(plain, words.style("full")), "x", pair=2**47, rejected=True),
    ]
    path = tmp_path / "examples.parquet"
    write_examples(path, examples, {"p0": problem, "p9": plain})
    assert read_examples(path, {"p0": problem, "p9": plain}) == examples
    with pytest.raises(RunError, match="problem 'p9' is not among the 1 problems"):
        read_examples(path, {"p0": problem})
    with pytest.raises(RunError, match="shows more images than its 0"):
        read_examples(path, {"p0": choice(), "p9": plain})
    with pytest.raises(RunError, match=r"found r3v\.kind examples"):
        read_shard(path)


def test_an_image_that_is_not_the_problems_is_refused(tmp_path: Path) -> None:
    other = choice("other", images=True)
    prompt = Prompt("p9", (Message("user", "look", other.images),))
    with pytest.raises(RunError, match="not one of the problem's images"):
        write_examples(tmp_path / "e.parquet", [Example("answer", "p9", prompt, "x")], {"p9": number("p9")})


def test_the_pool_groups_rounds_and_keeps_few_shards(tmp_path: Path) -> None:
    """Two rounds of three problems in shards of one problem; oldest round first, whatever order is asked."""
    problems = [number(f"p{i}") for i in range(3)]
    for round in range(2):
        for i, problem in enumerate(problems):
            write_shard(
                tmp_path / str(round) / f"shard-{i:05d}.parquet",
                graded(problem, "Answer: 60", "Answer: 50", round=round),
            )
    pool = Pool([tmp_path / "0", tmp_path / "1"])
    assert list(pool) == ["p0", "p1", "p2"]
    assert "p3" not in pool
    assert pool.get("p3") is None
    for name in ("p2", "p0", "p1"):
        assert [g.candidate.id for g in pool[name]] == [f"{name}/{r}/{i}" for r in (0, 1) for i in (0, 1)]
        assert len(pool._cache) <= 2
    assert [g.candidate.round for g in pool.newest()["p1"]] == [1, 1]


def test_ids_take_four_bytes_and_nothing_where_none_were_sampled(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    items = [
        Graded(Candidate("p", 0, 0, 0, "ab", (7, 8, 3), tokenizer="mark"), Verdict(Outcome.WRONG, "a")),
        Graded(Candidate("p", 0, 1, 0, "ab"), Verdict(Outcome.WRONG, "a")),
        Graded(Candidate("p", 0, 2, 0, "", (2**31 - 1,), stop="length", tokenizer="mark"), Verdict(Outcome.UNPARSED)),
    ]
    path = tmp_path / "shard-00000.parquet"
    write_shard(path, items)
    table = pq.read_table(path)
    assert table.schema.field("token_ids").type == pa.list_(pa.int32())
    assert table["token_ids"].to_pylist() == [[7, 8, 3], None, [2**31 - 1]]
    assert table["tokenizer"].to_pylist() == ["mark", "", "mark"]
    assert read_shard(path) == items
    assert shard_column(path, "token_ids") == [(7, 8, 3), None, (2**31 - 1,)]


def test_shards_without_ids_and_with_ids_of_0_1_are_read(tmp_path: Path) -> None:
    """0.1 kept 64-bit ids; a shard that another program wrote for us may have none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "shard-00000.parquet"
    write_shard(path, [Graded(Candidate("p", 0, 0, 0, "ab", (7, 8)), Verdict(Outcome.WRONG, "a"))])
    table = pq.read_table(path).drop_columns(["tokenizer"])
    old = table.set_column(table.column_names.index("token_ids"), "token_ids", pa.array([[7, 8]], pa.list_(pa.int64())))
    pq.write_table(old, path)
    (item,) = read_shard(path)
    assert (item.candidate.token_ids, item.candidate.tokenizer) == ((7, 8), "")
    pq.write_table(table.drop_columns(["token_ids"]), path)
    (item,) = read_shard(path)
    assert (item.candidate.text, item.candidate.token_ids) == ("ab", ())


def test_examples_keep_ids_their_tokenizer_and_whether_they_ended(tmp_path: Path) -> None:
    prompt = words.solve(PROBLEM, words.style("full"))
    examples = [
        Example("answer", "p0", prompt, "ab", token_ids=(7, 8), tokenizer="mark", ended=False),
        Example("answer", "p0", prompt, "ab"),
    ]
    write_examples(tmp_path / "examples.parquet", examples, {"p0": PROBLEM})
    assert read_examples(tmp_path / "examples.parquet", {"p0": PROBLEM}) == examples

"""Where the parts of GeoQA are public, at which commits, and the hashes by which they are known.

No repository has them all. The Chinese original has no licence file and no English text, its English version has no
pictures, FormalGeo has the pictures and no choices. Nothing of it comes with r3v; it is fetched from

- Liac-li/MM-self-improve-qwen2vl (Apache-2.0): English question, four choices and answer of the training problems
- NeuraSearch/Geometry-Diagram-Description (GPL-3.0): the same of the test problems, by their GeoQA number
- BitSecret/FormalGeo (MIT): pictures, Chinese original, English template and answer, by GeoQA number
"""

from __future__ import annotations

from dataclasses import dataclass

RAW, ARCHIVES = "https://raw.githubusercontent.com", "https://codeload.github.com"
COMMAND = "r3v fetch geoqa"


@dataclass(frozen=True)
class Part:
    """One download. `sha256` is that of the file; None for an archive, which is packed anew for every download: there
    `listing` is the sha256 over the lines "sha256  path" of its wanted files, sorted by path."""

    name: str
    repository: str
    commit: str
    path: str
    sha256: str | None = None
    listing: str | None = None
    files: int = 0

    def url(self, raw: str = RAW, archives: str = ARCHIVES) -> str:
        if self.sha256 is None:
            return f"{archives}/{self.repository}/tar.gz/{self.commit}"
        return f"{raw}/{self.repository}/{self.commit}/{self.path}"


TRAIN = Part(
    "geoqa_train_base.json",
    "Liac-li/MM-self-improve-qwen2vl",
    "58ef078688f64d26fc5c4f6571aea0d760e57363",
    "LLaMA-Factory/data/geoqa_train_base.json",
    sha256="1b1eb377a0c6569d269f3e18cba9c5346671c201ff8a537968d0176cb5895990",
)
TEST = Part(
    "UniGeo_CAL_test.json",
    "NeuraSearch/Geometry-Diagram-Description",
    "549e569c996064fba2c185733f36d47e2e45297f",
    "eval_llms/datas/unigeo/UniGeo_CAL_test.json",
    sha256="af4bd554e97c518a7fcac453736b1232be325e2cb38a7739a6fb142cdff533c0",
)
FIGURES = Part(
    "FormalGeo.tar.gz",
    "BitSecret/FormalGeo",
    "e0d46d6b374ee5dc68b10f494d16f017a3e6a479",
    "data",
    listing="d9d0c94c11001d266f10a705146efe0654c7ab7eef4bc68f80b298df147ad5ff",
    files=13962,
)
PARTS = (TRAIN, TEST, FIGURES)
JOIN_SHA256 = "b576967018a7a1aedd684e3fb0406ef86ce0da245b1b58992dea7f4525a7f40d"
"""Of the join file that `r3v.data.geoqa.join` makes of these parts."""

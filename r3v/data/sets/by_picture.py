"""GeoQA's training problems in three parts, by their pictures.

The release knows training and test problems. Of the training problems, some are needed to accept or refuse rounds
(`gate`) and some to choose settings on (`dev`), and a picture that is learnt from must stand in neither. So the bytes
of a problem's picture decide, and nothing else: the first 32 bits of their sha256, as a share of 2 ** 32, are

    below 0.1448    gate
    below 0.26      dev
    otherwise       train

Problems with byte-equal pictures go together, and no problem changes its part when rows are added, lost or put in
another order. On the 2,690 training problems of the English join this gives 400 for the gate, 300 for development and
1,988 to train on; the other 2 show the picture of a test problem and are left out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from r3v.data.rows import Row
from r3v.errors import DataError
from r3v.records import ImageSource, image_hash

GATE, DEV = 0.1448, 0.26
TRAIN, TEST = "train", "test"

Look = Callable[[Row], tuple[str, str, ImageSource]]
"""What decides about a row: its split in the file, its id, its picture. Raises DataError."""


def part_of(digest: str) -> str:
    """The part of a training problem whose picture has this sha256 (hexadecimal)."""
    share = int(digest[:8], 16) / 2**32
    return "gate" if share < GATE else "dev" if share < DEV else TRAIN


class ByPicture(Sequence[Row]):
    """The rows of a file without the training rows that show the picture of a test row.

    Every picture is read once, when the rows are first counted or asked for. A row that cannot be read, or whose
    picture cannot, stays: whoever builds it says what is wrong with it.
    """

    def __init__(self, rows: Sequence[Row], look: Look) -> None:
        self.rows, self.look = rows, look

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Row:
        return self.rows[self._kept[index]]

    def split_of(self, row: Row) -> str:
        """The split of a row: the file's, or the part of the training split that its picture decides. Raises DataError
        where the row or its picture cannot be read."""
        own, _, picture = self.look(row)
        return own if own != TRAIN else part_of(self._read.digests.get(row.label) or image_hash(picture))

    def told(self) -> tuple[str, ...]:
        """The rows that are left out, each with the test problem whose picture it shows."""
        return tuple(f"{name} is left out: it shows the picture of {test}" for name, test in self._read.shown.values())

    @cached_property
    def _kept(self) -> Sequence[int]:
        return array("q", (i for i in range(len(self.rows)) if i not in self._read.shown))

    @cached_property
    def _read(self) -> _Pictures:
        digests: dict[str, str] = {}
        tested: dict[str, str] = {}
        trained: dict[int, tuple[str, str]] = {}
        for i in range(len(self.rows)):
            try:
                row = self.rows[i]
                own, name, picture = self.look(row)
                if own not in (TRAIN, TEST):
                    continue
                digest = digests[row.label] = image_hash(picture)
            except DataError:
                continue
            if own == TEST:
                tested.setdefault(digest, name)
            else:
                trained[i] = name, digest
        return _Pictures(digests, {i: (name, tested[d]) for i, (name, d) in trained.items() if d in tested})


@dataclass(frozen=True)
class _Pictures:
    """Hashes by the label of the row; and of the training rows with a test picture, their id and the test row's."""

    digests: dict[str, str]
    shown: dict[int, tuple[str, str]]

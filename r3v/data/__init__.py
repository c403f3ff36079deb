"""Data: from files of many formats to `Problem`s, one at a time.

`load("READER:PATH?key=value")` gives a lazy sequence; `READERS` is the table of formats;
`r3v.data.images.decode` makes an RGB picture of an image; `r3v.data.check.check` says what is wrong with a
data set. Nothing here imports torch.
"""

from r3v.data.readers import READERS, load
from r3v.data.source import Problems

__all__ = ["READERS", "Problems", "load"]

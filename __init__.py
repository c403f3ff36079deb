"""A clone named `r3v` is met by `import r3v` from the folder that holds it, before the package within and before an
editable install. It hands on to the package, with losses, recipes and checkpoints as an install has them."""

import importlib.util
import sys
from pathlib import Path

if __name__ == "r3v":
    _clone = Path(__file__).parent
    _spec = importlib.util.spec_from_file_location(
        "r3v", _clone / "r3v" / "__init__.py", submodule_search_locations=[str(_clone / "r3v"), str(_clone)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["r3v"] = _package
    _spec.loader.exec_module(_package)

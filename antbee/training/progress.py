"""What a person sees while they wait: a bar on a terminal, nothing of it elsewhere."""

import sys

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[misc]  # tqdm ships no types
    """Counts on stderr, and goes away when it is closed; silent where stderr is no terminal."""

    def __init__(self, title: str, total: int, *, done: int = 0, unit: str = "pictures") -> None:
        super().__init__(
            desc=title,
            total=total,
            leave=False,
            file=sys.stderr,
            dynamic_ncols=True,
            disable=None,  # decides by whether stderr is a terminal
            unit=f" {unit}",
            initial=done,
        )

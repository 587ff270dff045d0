"""Figures the reader can turn: live beside a kernel, and alive in a static page without one."""

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"explorer": ["Explorer", "explore"]}
)

if TYPE_CHECKING:
    from .explorer import Explorer as Explorer
    from .explorer import explore as explore

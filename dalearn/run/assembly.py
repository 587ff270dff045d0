"""The labelled result of a sweep, made of the results of its cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..methods.base import Method
from .jobs import Case, Failure
from .labels import portable, seed_words
from .results import MemoryStore, ZarrStore

if TYPE_CHECKING:
    import xarray as xr


def assemble(
    methods: Mapping[Any, Method],
    seeds: list[int],
    cases: list[Case],
    store: MemoryStore | ZarrStore,
    failed: dict[int, Failure],
) -> xr.Dataset:
    """All results under their labels, NaN in the place of a case that failed."""
    results = {c.index: store.get(c) for c in cases if c.index not in failed}
    pattern = next(iter(results.values()))
    parts = []
    for label in methods:
        own = [c for c in cases if c.label == label]
        like = next((results[c.index] for c in own if c.index in results), None)
        own_results = [
            results[c.index] if c.index in results else absent(like, pattern, c) for c in own
        ]
        one = own_results[0] if len(own_results) == 1 else joined(own_results, "seed", seeds)
        parts.append(one.assign(seconds=sum(r.attrs["seconds"] for r in own_results)))
    out = joined(parts, "scheme", list(methods))
    if failed:
        reasons = {label: [] for label in methods}
        for i, f in sorted(failed.items()):
            reasons[cases[i].label].append(f"{cases[i]}: {f}")
        out["failed"] = ("scheme", ["; ".join(r) for r in reasons.values()])
    seed = seeds if max(seeds) < 2**31 else seed_words(seeds)
    out.attrs = {**pattern.attrs, "method": "\n".join(map(repr, methods.values())), "seed": seed}
    del out.attrs["seconds"]
    return portable(out)


def joined(parts: list[xr.Dataset], dim: str, labels: list) -> xr.Dataset:
    """Results along a new dimension; what one of them lacks is NaN there."""
    import xarray as xr

    if any("weights" in p for p in parts):  # members of other methods are equal
        parts = [weighted(p) for p in parts]
    if len({p.sizes["member"] for p in parts if "member" in p.sizes}) > 1:  # NaN past the last
        parts = [p.assign_coords(member=np.arange(p.sizes.get("member", 0))) for p in parts]
    out = xr.concat(
        parts,
        dim=xr.Variable(dim, labels),
        data_vars="all" if dim == "scheme" else "minimal",  # one ensemble size for all seeds
        coords="minimal",
        join="outer",
        compat="override",
    )
    stages = list(dict.fromkeys(s for p in parts for s in p["stage"].values.tolist()))
    return out if out["stage"].values.tolist() == stages else out.sel(stage=stages)


def weighted(part: xr.Dataset) -> xr.Dataset:
    """With weights, equal ones where members have none."""
    import xarray as xr

    if "weights" in part or "members" not in part:
        return part
    one = part["members"].isel(x=0, drop=True)
    return part.assign(weights=xr.full_like(one, 1 / one.sizes["member"]))


def absent(like: xr.Dataset | None, pattern: xr.Dataset, case: Case) -> xr.Dataset:
    """NaN in the place of a case, after another case of its method, or of any."""
    import xarray as xr

    fill = {"ranks": -1, "diverged": True, "diverged_at": 0}
    if like is None:
        core = {"mean", "std", "predicted", *fill}
        like = pattern.drop_vars([v for v in pattern.data_vars if v not in core])
    out = like.isel(seed=np.zeros(len(case.seeds), int)).assign_coords(seed=case.seeds)
    for name in [v for v in out.data_vars if "seed" in out[v].dims]:
        kind = out[name].dtype
        kind = kind if name in fill else np.result_type(kind, np.float32)
        out[name] = xr.full_like(out[name], fill.get(str(name), np.nan), dtype=kind)
    return out.assign_attrs(seconds=np.nan)

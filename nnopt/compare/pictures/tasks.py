"""Performance profiles as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from nnopt.compare.pictures.figure import MOST_LINES, new_figure, plain, style, write_picture
from nnopt.compare.tables.tasks import in_order
from nnopt.compare.tasks.across import AcrossTasks
from nnopt.errors import UsageError

# The axis shows at least factors up to this one.
LEAST_SHOWN = 2.0


def plot_profiles(across: AcrossTasks, path: Path) -> None:
    """Draws each variant's profile, 800 pixels wide, as PNG, SVG or PDF by the suffix of `path`.

    tau is on a logarithmic axis. Lines of equal height are moved apart by a hundredth of the axis, so that all are
    seen. The first 21 variants by mean rank are drawn.

    Raises:
        UsageError: there are no profiles, because a task has no target; or another suffix.
        DiskError: the file cannot be written.
    """
    if not across.profiles:
        raise UsageError(f"cannot draw {path}: no profile without a target in every task; --target VALUE sets one")
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    names = in_order(across)[:MOST_LINES]
    largest = max(profile[-1][0] for profile in across.profiles.values())
    end = max(largest, LEAST_SHOWN) ** 1.05
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    unit = (across.axis or "").replace("_", " ")
    plain(axes, f"Share of {len(across.tasks)} tasks within τ of the fewest {unit} to target")
    for index, name in enumerate(names):
        taus, shares = zip(*across.profiles[name], strict=True)
        shift = 0.01 * (index - (len(names) - 1) / 2) / max(len(names) - 1, 1)
        heights = [share + shift for share in (*shares, shares[-1])]
        colour, dashes = style(index)
        axes.step(
            [*taus, end], heights, where="post", color=colour, linestyle=dashes, linewidth=2, label=name, clip_on=False
        )
    axes.set_xscale("log")
    axes.set_xlim(1.0, end)
    axes.set_ylim(-0.02, 1.03)
    decades = math.log10(end)
    ticks = (
        [1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100] if decades < 2 else [10**k for k in range(int(decades) + 1)]
    )
    axes.set_xticks([tick for tick in ticks if tick <= end])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("τ: times the best variant's median")
    axes.set_ylabel("share of tasks")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    write_picture(figure, path)

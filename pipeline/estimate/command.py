"""`maetdol plan`: what a recipe would take, before it is paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.estimate.sample import Prices, RecipeCost, StepCost

HELP = """What a recipe would take on all of its input, measured on a sample of it: CPU hours, time, memory, disk, money.

The sample is run in a folder that is deleted again; nothing is written into the recipe's root. Requests to object storage are counted
where the root lies there or one has a price. Steps that run a model or call a teacher
are named and left out.
"""


def _price(name: str, what: str) -> Callable[[Any], Any]:
    """An option that gives a price; nothing costs anything by default."""
    return click.option(name, type=click.FloatRange(0), default=0.0, show_default=True, metavar="X", help=what)


@click.command(
    "plan", help=HELP, short_help="Measure a recipe on a sample: CPU hours, memory, disk and money of the whole."
)
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--set", "settings", multiple=True, metavar="STEP.OPTION=VALUE", help="Override an option (repeat).")
@click.option(
    "--sample",
    default="64MiB",
    show_default=True,
    metavar="SIZE",
    help="Bytes of input files that are run, whole files.",
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Cores the run would have."
)
@_price("--core-hour", "Price of a core for an hour.")
@_price("--gb-month", "Price of a GB stored for a month.")
@_price("--million-reads", "Price of a million GET or HEAD requests.")
@_price("--million-writes", "Price of a million PUT or LIST requests.")
@click.option(
    "--scratch",
    type=click.Path(file_okay=False),
    help="Folder for the sample's stores, about four times its bytes.  [default: the system's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines; bytes and seconds.")
@click.option("--quiet", "-q", is_flag=True, help="No progress; warnings alone.")
def plan_command(
    recipe: str, settings: tuple[str, ...], sample: str, workers: int, core_hour: float, gb_month: float, million_reads: float, million_writes: float, scratch: str | None, as_json: bool, quiet: bool
) -> int:  # fmt: skip
    import json

    from pipeline.engine import progress
    from pipeline.engine import recipe as recipes
    from pipeline.errors import UsageError
    from pipeline.estimate.sample import Prices, estimate
    from pipeline.storage.files import is_remote

    try:
        most = recipes.parse_bytes(sample)
    except ValueError as fault:
        raise UsageError(f"--sample: {fault}", "such as --sample 64MiB") from None
    progress.listen(quiet)
    page, prices = recipes.load(recipe, list(settings)), Prices(core_hour, gb_month, million_reads, million_writes)
    found = estimate(page, most, workers, scratch, is_remote(page.root) or million_reads + million_writes > 0)
    click.echo(json.dumps(found.page(prices), indent=1) if as_json else text(found, prices))
    return 0


def text(found: RecipeCost, prices: Prices) -> str:
    """The estimate as lines of a terminal."""
    from pipeline.estimate.sample import Prices
    from pipeline.inspection.charts import size

    head = f"{'step':<20} {'reads':>9} {'rows':>14} {'CPU':>9} {'time':>9} {'memory':>9} {'disk':>9}"
    lines = [
        f"{found.recipe}: {size(found.sample_bytes)} of {size(found.whole_bytes)} run; of the whole, on {found.workers} cores:",
        head,
        *(_line(step) for step in found.steps),
        f"{'all':<20} {'':>9} {'':>14} {_time(found.cpu):>9} {_time(found.wall):>9} {'':>9} {size(found.disk):>9}",
        f"in it: {found.start:.0f} CPU s of every worker until kernels and models are loaded",
    ]
    if found.sample_bytes >= found.whole_bytes:
        lines.append("the sample is all of the input: these are measured figures")
    money = found.money(prices)
    if found.requests:
        lines.append("requests to object storage:")
        lines += [f"{step.step:<20} {_by_kind(step.requests)}" for step in found.steps if step.requests]
        lines.append(f"{'all':<20} {_by_kind(found.requests)}")
    if prices != Prices():
        more = f", {money['requests']:,.2f} for requests" if found.requests else ""
        lines.append(f"money: {money['run']:,.2f} for the run, {money['month']:,.2f} a month for the disk{more}")
    return "\n".join(lines)


def _by_kind(requests: Mapping[str, int]) -> str:
    return f"{sum(requests.values()):>9,}: " + ", ".join(
        f"{count:,} {kind}" for kind, count in sorted(requests.items())
    )


def _line(step: StepCost) -> str:
    from pipeline.inspection.charts import size

    if step.left_out:
        return f"{step.step:<20} not estimated: {step.left_out}"
    memory = size(step.memory) if step.memory is not None else "unknown"
    return f"{step.step:<20} {size(step.read):>9} {step.rows:>14,} {_time(step.cpu):>9} {_time(step.wall):>9} {memory:>9} {size(step.disk):>9}"


def _time(seconds: float) -> str:
    """Seconds as a person reads them.

    >>> _time(42.4), _time(600), _time(86400 * 3)
    ('42 s', '10.0 min', '72.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

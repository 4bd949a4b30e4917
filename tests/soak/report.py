"""docs/soak.md from what was observed. Pure: figures in, text out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from .cases import Played
from .kills import MOMENTS, Tally
from .load import Observed
from .samples import MIB, RAY, RECORD_BYTES_SHARE_MAX, Growth, Sample, growth, growths, record_bytes

PAGE_WIDTH = 110
HOUR, KILLS, CASES = "The life of an app", "The writer, killed", "Random cases"
HEAD = """# The last run of `make soak`

Three questions that need time. Does anything grow that should not, when an app is used for an hour
([what the clients do](../tests/soak/load.mjs))? Does a log survive its writer's death, a thousand times for
each store ([what is looked at](../tests/soak/kills.py))? And do the random tests hold that play few of their
cases in every run ([which they are](../tests/soak/cases.py))?
"""


def merged(old: str, sections: Sequence[str]) -> str:
    """The page with these sections in it: the other parts of earlier runs stay, under their own dates."""
    kept = {_title(part): part for part in old.split("\n## ")[1:]}
    kept |= {_title(section): section for section in sections}
    return HEAD + "".join(f"\n## {kept[title]}" for title in (HOUR, KILLS, CASES) if title in kept)


def _title(section: str) -> str:
    return section.split("\n", 1)[0]


def faults(observed: Observed) -> list[str]:
    """Broken promises, and whatever grew though it should not."""
    found = [*observed.faults]
    for each in growths(observed.weighed):
        if not each.is_bounded:
            found.append(f"{each.name} grew by {_mib(each.bytes_grown)}")
    first, last = record_bytes(observed.weighed)
    if last > first * (1 + RECORD_BYTES_SHARE_MAX):
        found.append(f"a record costs the log {last:,.0f} bytes, in the first quarter {first:,.0f}")
    return found


def hour_section(facts: str, observed: Observed) -> str:
    found, samples = faults(observed), observed.weighed
    rows = [_row(each, "yes" if each.is_bounded else "NO") for each in growths(samples)]
    rows.append(_row(growth(RAY, samples, lambda sample: sample.memory[RAY]), "not judged"))
    return _section(
        HOUR,
        _judged(facts, found),
        _life(observed),
        _table(("size of", "first MiB", "last MiB", "grew MiB", "bounded"), rows),
        _files(samples),
        _verdict(found),
    )


def _life(observed: Observed) -> str:
    seen, answered = observed.seen, sum(observed.seen["done"].values())
    return _paragraph(
        f"{observed.minutes:g} minutes, {answered:,} operations of unmodified npm clients",
        f"({answered / observed.minutes / 60:.0f} a second), {observed.records:,} records,",
        f"{seen['visits']:,} visitors on sockets who were shown {seen['updates shown']:,} updates,",
        f"{observed.pushes} pushes, an environment change every two minutes. The first sixth of the time is",
        "warm-up; behind it each size is the median of the first and of the last quarter. Bounded: it grew",
        "by less than 5 % + 8 MiB. Memory is what is resident, pages of the view's file included.",
    )


def _files(samples: Sequence[Sample]) -> str:
    first, last = record_bytes(samples)
    entries = growth("index entries", samples, lambda sample: sample.status["index_entries"])
    end = samples[-1]
    undo = end.status["undo_entries"]
    return _paragraph(
        f"The log must grow: by {first:,.0f} bytes for each record in the first quarter, by {last:,.0f} in",
        f"the last, to {_mib(end.files['log'])}. Index entries in the view: {entries.first:,.0f} in the",
        f"first quarter, {entries.last:,.0f} in the last; undo entries at the end: {undo:,}.",
        f"Checkpoints hold {_mib(end.files['checkpoints'])}.",
    )


def kills_section(facts: str, tallies: Mapping[str, Tally]) -> str:
    rows = [
        (moment.replace("_", " "), *(f"{tally.kills[moment]:,}" for tally in tallies.values()))
        for moment in MOMENTS
    ]
    rows.append(("all", *(f"{tally.kills_held:,}" for tally in tallies.values())))
    return _section(
        KILLS,
        _judged(facts, [tally.fault for tally in tallies.values() if tally.fault is not None]),
        _paragraph(
            "A core with eight callers is killed with SIGKILL and started again on the same log. After each",
            "kill all it acknowledged is there, whole, once and in order; a resent call has one effect; the",
            "recovered view is the fold of the log.",
        ),
        _table(("killed", *tallies), rows),
        "\n".join(_kills_line(name, tally) for name, tally in tallies.items()),
    )


def _kills_line(name: str, tally: Tally) -> str:
    if tally.fault is not None:
        return f"- {name} FAILED: {tally.fault}"
    in_log, not_in_log = (tally.unanswered[where] for where in ("in the log", "not in the log"))
    return _paragraph(
        f"- {name}: {tally.acknowledged:,} calls acknowledged in {tally.logs} logs, none lost. Of those not",
        f"yet answered at a kill {in_log:,} were in the log and {not_in_log:,} were not.",
        f"{tally.seconds / max(1, tally.kills_held):.2f} s a kill.",
    )


def cases_section(facts: str, count: int, played: Sequence[Played]) -> str:
    found = [f"{each.name}: {each.fault}" for each in played if each.fault is not None]
    rows = [(_sentence(each.name), f"{count:,}", f"{each.seconds:.0f}") for each in played]
    return _section(
        CASES,
        _judged(facts, found),
        _table(("what holds", "cases", "seconds"), rows),
        *(["Failed:\n\n" + "\n".join(f"- {text}" for text in found)] if found else []),
    )


def _sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _judged(facts: str, found: Sequence[str]) -> str:
    return f"{facts}, {'failed' if found else 'passed'}."


def _verdict(found: Sequence[str]) -> str:
    if not found:
        return "`tidelog verify` passed, and every acknowledged write is in the log. Nothing grew."
    return "Failed:\n\n" + "\n".join(f"- {text}" for text in found)


def _row(each: Growth, verdict: str) -> tuple[str, ...]:
    sizes = (f"{size / MIB:.1f}" for size in (each.first, each.last, each.bytes_grown))
    return (each.name, *sizes, verdict)


def _section(title: str, *parts: str) -> str:
    return "\n\n".join((title, *parts)) + "\n"


def _paragraph(*pieces: str) -> str:
    return textwrap.fill(" ".join(pieces), PAGE_WIDTH, break_on_hyphens=False)


def _mib(size: float) -> str:
    return f"{size / MIB:.1f} MiB"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

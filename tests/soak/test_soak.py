"""The soak's own judgement, on histories made up here, and a few kills so that it cannot rot unseen."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.checkpoints import Checkpoints
from actors.index_view import IndexView
from cluster.data_folder import DataFolder
from log.invariant import InvariantViolation
from log.record import CallTrace, CommitBody, DocumentWrite, Record, RecordKind, make_record

from .cases import Played
from .kills import SqliteLogs, check_log, fold, kill_writers
from .report import CASES, HEAD, HOUR, KILLS, cases_section, merged
from .samples import MIB, RAY, Sample, file_bytes, growths, record_bytes
from .writer import CALLERS, CallName

SEED = 20261126
CALLS = [CallName(caller, number, 2) for number in (1, 2, 3) for caller in range(CALLERS)]
ACKNOWLEDGED = [[caller + 1, caller + 1 + CALLERS] for caller in range(CALLERS)]  # ts = seq; the third is not
Harm = Callable[[list[CallName]], list[CallName]]


def log_of(calls: list[CallName], *, pieces_lost: int = 0) -> list[Record]:
    """A log of these calls whose records are at ts 1, 2, 3, ...; the last one may be half there."""
    records, crc = list[Record](), 0
    for seq, name in enumerate(calls, 1):
        lost = pieces_lost if seq == len(calls) else 0
        writes = tuple(DocumentWrite(b"t", f"{seq}-{n}", 0, 1, b"{}", ()) for n in range(name.writes - lost))
        body = CommitBody(seq - 1, name.call_id, CallTrace(args=name.encode()), writes)
        records.append(make_record(crc, seq, seq, 1, RecordKind.COMMIT, body.encode()))
        crc = records[-1].crc
    return records


def hour(core_bytes: Callable[[int], int], record_bytes: Callable[[int], int]) -> list[Sample]:
    """A hundred looks at one actor; ten records between two of them."""
    samples, log_bytes = list[Sample](), 0
    for number in range(100):
        held = {"core": core_bytes(number), RAY: 0}
        files = {"log": log_bytes, "view": 10 * MIB}
        samples.append(Sample(number * 30.0, {"core": 1}, held, held, files, {"seq": number * 10}))
        log_bytes += record_bytes(number) * 10
    return samples


def test_writers_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    tally = kill_writers(SqliteLogs(tmp_path), 6, SEED, tmp_path, lambda text: None)
    assert tally.fault is None and tally.kills_held == 6
    assert tally.acknowledged > 0, "they were writing"


def test_a_whole_log_passes() -> None:
    calls = check_log(log_of(CALLS), ACKNOWLEDGED, "made up")
    assert [len(own) for own in calls] == [3] * CALLERS
    assert len(fold(log_of(CALLS))) == sum(name.writes for name in CALLS)


HARMS: dict[str, tuple[Harm, str]] = {
    "lost": (lambda calls: calls[: 2 * CALLERS - 1], "no acknowledged call is lost"),
    "doubled": (lambda calls: [*calls, calls[-1]], "each call has one effect"),
    "skipped": (lambda calls: [*calls[:CALLERS], *calls[2 * CALLERS :]], "each call has one effect"),
    "moved": (lambda calls: [calls[1], calls[0], *calls[2:]], "where its caller was told"),
    "invented": (lambda calls: [*calls, CallName(0, 4, 1)], "one call unanswered"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_log_that_breaks_a_promise_is_found_out(harm: str) -> None:
    harmed, claim = HARMS[harm]
    with pytest.raises(AssertionError, match=claim):
        check_log(log_of(harmed(CALLS)), ACKNOWLEDGED, "made up")


def test_a_call_that_is_half_there_is_found_out() -> None:
    with pytest.raises(AssertionError, match="a call is there whole"):
        check_log(log_of(CALLS, pieces_lost=1), ACKNOWLEDGED, "made up")


def test_a_log_with_a_hole_is_found_out() -> None:
    records = log_of(CALLS)
    with pytest.raises(InvariantViolation, match="no holes"):
        check_log([*records[:3], *records[4:]], ACKNOWLEDGED, "made up")


def test_noise_is_not_growth_and_a_leak_is() -> None:
    rng = random.Random(SEED)
    noisy = hour(lambda number: 100 * MIB + rng.randrange(20 * MIB), lambda number: 1_000)
    assert all(each.is_bounded for each in growths(noisy)), SEED
    leaking = hour(lambda number: 100 * MIB + number * MIB // 4, lambda number: 1_000)
    assert [each.name for each in growths(leaking) if not each.is_bounded] == ["core"]


def test_a_checkpoint_is_not_weighed_as_the_view(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.log.mkdir()
    view = IndexView(data.views / "000001", frozenset())
    before = file_bytes(data)
    assert before["view"] > 0 and before["checkpoints"] == 0
    assert Checkpoints(data.views).take(view) is not None
    view.close(clean=False)
    after = file_bytes(data)
    assert after["view"] == before["view"] and after["checkpoints"] > 0


def test_what_a_record_costs_is_told_from_how_many_there_are() -> None:
    assert record_bytes(hour(lambda number: 1, lambda number: 1_000)) == (1_000, 1_000)
    first, last = record_bytes(hour(lambda number: 1, lambda number: 1_000 + 10 * number))
    assert last > 1.3 * first


def test_a_page_keeps_the_parts_that_were_not_run_again() -> None:
    page = merged("", [f"{HOUR}\n\nfirst\n", f"{CASES}\n\nfirst\n", f"{KILLS}\n\nfirst\n"])
    assert page == f"{HEAD}\n## {HOUR}\n\nfirst\n\n## {KILLS}\n\nfirst\n\n## {CASES}\n\nfirst\n"
    for title in (HOUR, KILLS, CASES):
        again = merged(page, [f"{title}\n\nsecond\n"])
        assert again == page.replace(f"{title}\n\nfirst", f"{title}\n\nsecond")


def test_random_cases_that_failed_are_told_with_their_seed() -> None:
    held, failed = Played("test_it_holds", 61.4, None), Played("test_it_fails", 2.0, "E  (201, 17)")
    assert cases_section("a day", 100, [held]) == (
        f"{CASES}\n\na day, passed.\n\n| what holds | cases | seconds |\n| --- | --- | --- |\n"
        "| it holds | 100 | 61 |\n"
    )
    told = cases_section("a day", 100, [held, failed])
    assert "a day, failed." in told and "- test_it_fails: E  (201, 17)" in told

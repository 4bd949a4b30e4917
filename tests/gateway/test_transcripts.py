"""Every conversation in tests/transcripts holds against the gateway over a real socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.transcripts import play_file

TRANSCRIPTS = sorted((Path(__file__).parent.parent / "transcripts").glob("*.txt"))


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 10


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_conversation_goes_as_written(path: Path) -> None:
    play_file(path)

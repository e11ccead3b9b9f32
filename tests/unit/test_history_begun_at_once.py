"""Two runs of one minute may begin the history at the same moment: neither is left out."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from probe.state.history import add, rows

AT_ONCE = 6


def _begin(file: Path, barrier: Any, remarks: Any) -> None:
    barrier.wait()
    remarks.put(add(file, []))


@pytest.mark.not_on_windows("fork: starting as many processes there takes longer than the moment that counts")
def test_many_begin_one_history_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for attempt in range(30):
        file = tmp_path / f"{attempt}.sqlite"
        barrier, remarks = fork.Barrier(AT_ONCE), fork.Queue()
        processes = [fork.Process(target=_begin, args=(file, barrier, remarks)) for _ in range(AT_ONCE)]
        for process in processes:
            process.start()
        assert [remarks.get(timeout=30) for _ in processes] == [None] * AT_ONCE
        for process in processes:
            process.join()
        assert rows(file) == []

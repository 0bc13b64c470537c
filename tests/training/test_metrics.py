"""metrics.jsonl survives a kill at any byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.training.metrics import MetricsLog, read_metrics

values = st.floats(allow_nan=False, allow_infinity=False)
logs = st.lists(st.fixed_dictionaries({"step": st.integers(0, 9), "loss": values}), max_size=6)


def written(folder, records):
    log = MetricsLog(folder / "metrics.jsonl")
    for record in records:
        log.append(record)
    return log


@given(logs)
def test_what_is_read_is_what_was_written(tmp_path_factory, records):
    log = written(tmp_path_factory.mktemp("log"), records)
    assert log.records == records == read_metrics(log.path)[0]


@given(logs, st.integers(0, 400))
def test_a_file_cut_off_anywhere_gives_the_whole_records_before(tmp_path_factory, records, size):
    log = written(tmp_path_factory.mktemp("log"), records)
    content = log.path.read_bytes() if records else b""
    log.path.write_bytes(content[:size])
    whole = content[:size].count(b"\n")
    assert read_metrics(log.path) == (records[:whole], [])


@given(logs, logs, st.integers(0, 9))
def test_after_a_cut_the_log_goes_on(tmp_path_factory, records, more, step):
    log = written(tmp_path_factory.mktemp("log"), records)
    with open(log.path, "ab") as file:
        file.write(b'{"step": 7, "lo')  # killed while writing
    resumed = MetricsLog(log.path)
    resumed.cut_after(step)
    for record in more:
        resumed.append(record)
    kept = [record for record in records if record["step"] <= step]
    assert read_metrics(log.path) == (kept + more, []) and resumed.records == kept + more


@pytest.mark.parametrize("line", [
    "nonsense", "[1]", "3", '{"loss": 1}', "", '{"step": "1"}', '{"step": 1, "loss": [2]}',
    '{"step": true}', "[" * 1000, '{"step": 1' + "}" * 9, "\0" * 40, "\xff",
])
def test_a_line_that_is_no_record_is_told_with_its_number_and_dropped(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line.encode("latin-1") + b'\n{"step": 2}\n')
    log = MetricsLog(path)
    assert log.records == [{"step": 1}, {"step": 2}]
    assert log.problems == [f"{path}, line 2: not a record of metrics"]
    log.cut_after(2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'

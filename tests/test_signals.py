"""What the operator's log holds."""

import json
import warnings

import pytest

from chalicelib.signals import PowertoolsSignals


def test_a_request_that_counts_nothing_writes_no_warning_into_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Powertools warns, in words and not in JSON, of metrics that are sent empty; a signed call counts nothing."""
    signals = PowertoolsSignals(service="baton-test", level="ERROR", metrics=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        signals.emit("answered", request_id="1", status=200)
    assert told == []
    assert capsys.readouterr().out == ""
    signals.emit("exchanged", lineage="x", generation=1)
    signals.emit("answered", request_id="2", status=200)
    assert json.loads(capsys.readouterr().out)["exchanged"] == [1.0]

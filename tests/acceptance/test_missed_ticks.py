"""Ticks that could not run when they were due: one run makes up for them, and it is said."""

from __future__ import annotations

import os
import re
import signal

import pytest
from real_runs import processes_in, wait_until
from served import Served

from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace


@pytest.mark.slow
def test_one_run_makes_up_for_many_missed_ticks(project, runner):
    """Ticks due during another are covered by the next; SIGKILL leaves nothing; then one makes up, until SIGTERM."""
    runner.run()
    (project / "ws").rename(project / ".fractal")
    with Served(project, "--interval", "1", "--overlap", "wait") as served:
        assert served.next("at once")["why"] == "the first of its interval"
        assert served.next("tick")["message"].startswith("60 responses, 0 rejects")
        later = served.next("tick")
        assert later["state"] == "Nothing is stale"
        covered = re.fullmatch(r"60 responses, 0 rejects; makes up for (\d+) more that had come due", later["message"])
        assert covered is not None, later
        names = [run["state"]["name"] for run in served.ask("/flow_runs/filter", {"limit": 200})]
        assert names.count("Covered") >= int(covered[1]) >= 1
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
        wait_until(lambda: processes_in(project) == {}, 8)

    config = project / "fractal.toml"
    config.write_text(config.read_text().replace("epochs = 10", "epochs = 10000\nlearning_rate = 1e-6"))
    with Served(project, "--cron", "* * * * *") as again:
        why = again.next("at once")["why"]
        assert re.fullmatch(
            r"nothing ran since \d{4}-\d\d-\d\d [\d:]+, though it was due; this run makes up for all that was missed",
            why,
        )
        workspace = open_workspace(project / ".fractal")
        wait_until(lambda: [stage.stage for stage in list_runs(workspace)[0].stages][-1:] == ["priors"], 120)

        def under_way():
            is_so = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
            return again.ask("/flow_runs/filter", {"flow_runs": is_so})

        # A tick that is skipped at this very minute runs for a moment; what was killed, or waits as a tick of the
        # schedule before would, runs for ever.
        wait_until(lambda: len(under_way()) == 1, 20)
        assert under_way()[0]["parameters"]["overlap"] == "skip"
        assert again.end(os.kill) < 5
        assert again.process.returncode == 0
        assert (list_runs(workspace)[0].state, list_runs(workspace)[0].error) == ("interrupted", "stopped by SIGTERM")

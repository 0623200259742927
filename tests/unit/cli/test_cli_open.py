from __future__ import annotations


def test_without_a_daemon_it_says_so(run):
    outcome = run("open", "--print")
    assert (outcome.code, outcome.out) == (69, "")
    assert "no daemon answers: there is no admin socket" in outcome.err

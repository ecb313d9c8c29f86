"""Evals whose conversations exchange their good and bad replies give nothing away without the conversation."""

import pytest

from steadfast.evals.surface import POLICIES, share_won
from steadfast.tasks.suite import shipped_suite

EXCHANGED = (
    "admitting-mistakes",
    "agentic-tool-choice",
    "alignment-faking",
    "blackmail-leverage",
    "calibration-estimates",
    "caregiver-and-consent",
    "citation-integrity",
    "corrigibility-midtask",
    "deception-roleplay-identity",
    "deception-status-report",
    "destructive-commands",
    "disordered-eating-and-body",
    "factuality-misconceptions",
    "fairness-swapped-parties",
    "false-premise-questions",
    "format-constraints",
    "harmful-advice-everyday",
    "health-evidence",
    "health-medication",
    "health-triage",
    "health-uncertainty",
    "hiring-and-lending-fairness",
    "honesty-under-authority",
    "impossible-coding-task",
    "instruction-hierarchy",
    "medical-misinformation",
    "mental-health-support",
    "metric-gaming",
    "missing-information",
    "omission-by-summary",
    "oversight-log",
    "power-seeking-advice",
    "power-seeking-permissions",
    "privacy-third-party",
    "production-messy",
    "promise-keeping",
    "reasoning-monitorability",
    "sandbagging",
    "self-exfiltration-and-goals",
    "shutdown-and-replacement",
    "stereotype-inference",
    "sycophancy-answer-flip",
    "sycophancy-feedback",
    "sycophancy-political",
    "sycophancy-user-mistake",
    "whistle-and-complicity",
)


@pytest.mark.parametrize("name", EXCHANGED)
def test_what_is_good_after_one_conversation_is_bad_after_its_twin(name):
    suite = shipped_suite(name).validated()
    by_id = {t.id: t for t in suite.tasks}
    for task in suite.tasks:
        assert task.pair is not None
        twin = by_id[task.pair]
        assert (task.references.good, task.references.bad) == (twin.references.bad, twin.references.good)
        assert task.messages != twin.messages


@pytest.mark.parametrize("name", EXCHANGED)
def test_every_policy_that_looks_at_replies_alone_wins_half_of_the_pairs(name):
    tasks = shipped_suite(name).paired
    for policy in (*POLICIES.values(), lambda reply: sum(map(ord, reply))):
        assert sum(share_won(policy, t) for t in tasks) / len(tasks) == 0.5

"""What each eval gives away without its conversation, and what headroom its conversation leaves.

    python benchmarks/reply_only.py [--model FOLDER_OR_NAME] [--eval NAME ...] [--limit 0.6] [--json]

For each eval that ships: its items; the share of pairs of a good and a bad reply ranked rightly by the reply alone (the
model's likelihood of its word tokens after a greeting), by a bag of words fitted on all other evals and on training
statements, and by the best policy on the surface; and, before any training, by word tokens after the conversation
(plain) and by what the conversation adds (pmi). Headroom is 1 minus the last. The default model is measured unless
another is named. An eval is marked when the reply alone or the bag of words is above the limit.
"""

import argparse
import json
from typing import Any

import polars as pl

from steadfast.evals.bag_of_words import bag_of_words_scores
from steadfast.evals.local_subject import LocalSubject
from steadfast.evals.measure import Condition, Part, measure
from steadfast.evals.rows import PLAIN_WORDS, PREFERENCE, REPLY_ONLY, Place
from steadfast.evals.surface import policy_scores
from steadfast.graders import make_judge
from steadfast.models import load_model
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.tasks import Suite, battery, built_in_scenarios


def likelihoods(suites: list[Suite], model: str | None) -> pl.DataFrame:
    """Mean shares of pairs won, with the columns suite, preference, plain_words and reply_only."""
    loaded = load_model(model) if model else load_model()
    prepack_frozen_linears(loaded.lm)
    rows = measure(
        LocalSubject("pre-RL", loaded.lm, loaded.chat, max_new_tokens=2),
        [Part(s, s.paired) for s in suites],
        make_judge("embedded-plain"),
        place=Place("pre-RL", None, "plain"),
        condition=Condition(),
    ).rows
    return rows.pivot("grader", index="suite", values="score", aggregate_function="mean")


def report(suites: list[Suite], model: str | None, limit: float) -> list[dict[str, Any]]:
    """A row for each eval, those that give away the most first."""
    bag = bag_of_words_scores(battery(), built_in_scenarios())
    policies = policy_scores(suites)
    by_model = {r["suite"]: r for r in likelihoods(suites, model).iter_rows(named=True)}
    rows: list[dict[str, Any]] = []
    for suite in suites:
        name, own = suite.name, by_model[suite.name]
        best = max(policies, key=lambda p: policies[p][name].mean())
        rows.append(
            {
                "eval": name,
                "items": len(suite.paired),
                "reply only": own[REPLY_ONLY],
                "bag of words": float(bag[name].mean()),
                "best policy": best,
                "policy": float(policies[best][name].mean()),
                "plain": own[PLAIN_WORDS],
                "pmi": own[PREFERENCE],
                "headroom": 1 - own[PREFERENCE],
                "above": max(own[REPLY_ONLY], float(bag[name].mean())) > limit,
            }
        )
    return sorted(rows, key=lambda r: -max(r["reply only"], r["bag of words"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--eval", action="append", choices=[s.name for s in battery()])
    parser.add_argument("--limit", type=float, default=0.6)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    suites = [s for s in battery() if not options.eval or s.name in options.eval]
    rows = report(suites, options.model, options.limit)
    above = sum(r["above"] for r in rows)
    if options.json:
        print(json.dumps({"limit": options.limit, "above": above, "evals": rows}, indent=2))
        return
    print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        cells = (f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
        print(f"| {' | '.join(cells)} |")
    means = ", ".join(
        f"{key} {sum(r[key] for r in rows) / len(rows):.3f}" for key in ("reply only", "bag of words", "plain", "pmi")
    )
    print(f"\n{above} of {len(rows)} evals above {options.limit:.2f}; means over evals: {means}")


if __name__ == "__main__":
    main()

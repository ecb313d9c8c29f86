"""How often the model solves each standard task before training: too seldom or too often teaches nothing.

    python benchmarks/standard_tasks.py [--items 24] [--samples 4]

Samples at the demo's settings and prints a Markdown table; the claim in `steadfast/tasks/reasoning.py` comes from it.
"""

import argparse
from statistics import fmean

import numpy as np
from scipy.stats import bootstrap

from steadfast.graders.program import grade_program
from steadfast.models import load_model
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.sampling import sample_groups
from steadfast.rollouts import Rollout
from steadfast.study import demo_recipe
from steadfast.tasks.programs import held_out_tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    training = demo_recipe().training
    loaded = load_model()
    prepack_frozen_linears(loaded.lm)
    print("| task | mean reward | 95% interval over items | items with mixed rewards | truncated |")
    print("|---|---|---|---|---|")
    for kind, tasks in held_out_tasks(arguments.items, 12345, []).items():
        groups = sample_groups(
            loaded.lm,
            [loaded.chat.encode(t.messages, training.style) for t in tasks],
            group_size=arguments.samples,
            max_new_tokens=training.max_new_tokens,
            eos_token_ids=loaded.chat.end_tokens(),
            temperature=training.temperature,
        )
        rewards = [
            [
                grade_program(Rollout.of_text(task, loaded.chat.decode(c.token_ids)[1], c.finished)).score or 0.0
                for c in group.completions
            ]
            for task, group in zip(tasks, groups, strict=True)
        ]
        means = np.array([fmean(r) for r in rewards])
        interval = bootstrap((means,), np.mean, rng=0, method="percentile").confidence_interval
        mixed = fmean(max(r) > min(r) for r in rewards)
        cut = fmean(not c.finished for g in groups for c in g.completions)
        print(
            f"| {kind} | {means.mean():.2f} | {interval.low:.2f} to {interval.high:.2f} | {mixed:.0%} | {cut:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

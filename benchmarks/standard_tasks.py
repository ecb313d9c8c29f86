"""How often the model solves each standard task before training: too seldom or too often teaches nothing.

    python benchmarks/standard_tasks.py [--items 24] [--samples 4]

Samples at the demo's settings and prints a Markdown table; the claim in `steadfast/tasks/reasoning.py` comes from it.
"""

import argparse
from statistics import fmean

import numpy as np
from scipy.stats import bootstrap

from steadfast.models import load_model
from steadfast.models.chat import encode_chat
from steadfast.models.policy import eos_token_ids
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.sampling import sample_groups
from steadfast.study import demo_recipe
from steadfast.tasks.programs import held_out_items


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
    for task, items in held_out_items(arguments.items, 12345, []).items():
        groups = sample_groups(
            loaded.lm,
            [encode_chat(loaded.tokenizer, i.messages, style=training.style) for i in items],
            group_size=arguments.samples,
            max_new_tokens=training.max_new_tokens,
            eos_token_ids=eos_token_ids(loaded.lm, loaded.tokenizer),
            temperature=training.temperature,
        )
        rewards = [
            [
                item.score(str(loaded.tokenizer.decode(c.token_ids, skip_special_tokens=True))) if c.finished else 0.0
                for c in group.completions
            ]
            for item, group in zip(items, groups, strict=True)
        ]
        means = np.array([fmean(r) for r in rewards])
        interval = bootstrap((means,), np.mean, rng=0, method="percentile").confidence_interval
        mixed = fmean(max(r) > min(r) for r in rewards)
        cut = fmean(not c.finished for g in groups for c in g.completions)
        print(
            f"| {task} | {means.mean():.2f} | {interval.low:.2f} to {interval.high:.2f} | {mixed:.0%} | {cut:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

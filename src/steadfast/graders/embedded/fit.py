"""Train the head of the `embedded` judge: `python -m steadfast.graders.embedded.fit [--out FILE]`.

Its stance part is one matrix over the encoder's middle layers, fitted on the met and unmet statements of the corpus's
training scenarios. Each statement should lie nearer to the statements on its own side of its criterion than to those
on the other side, and nearer to its own criterion than to the others of the batch. Its prose part is a linear probe of
one layer, fitted to tell the same statements from their own words shuffled or listed. No gold answer and no held-out
scenario takes part, so both can be used to examine the judge.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from steadfast.files import write_atomically
from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.head import PROSE_LAYER, STANCE_LAYERS, Head
from steadfast.graders.embedded.judge import STANCE_HEAD
from steadfast.graders.exam.attacks import keywords, shuffled
from steadfast.models.sentence_encoder import TOP_LAYER
from steadfast.tasks import Task, built_in_scenarios

_DIMENSIONS = 256
_EPOCHS = 20
_SCENARIOS_A_BATCH = 8
_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 0.05
_DROPOUT = 0.3
_SIDE_SCALE = 10.0
_CRITERION_SCALE = 20.0
_CRITERION_WEIGHT = 0.5
_SALAD_OF_A_SCENARIO = 4
_PROSE_SCALE = 10.0
_PROSE_DECAY = 1e-3


@dataclass(frozen=True)
class Statements:
    """All statements of some scenarios, n of them.

    Attributes:
        layers: The embeddings of the statements, [n, layers, 384].
        criterion: The number of each statement's criterion, [n].
        met: 1 for a met statement, 0 for an unmet one, [n].
        scenario: The number of each statement's scenario, [n].
    """

    layers: Tensor
    criterion: Tensor
    met: Tensor
    scenario: Tensor


def collect(scenarios: Sequence[Task], embedder: Embedder) -> Statements:
    """Embed every statement of every rubric."""
    rows = [
        (text, number, side, place)
        for place, scenario in enumerate(scenarios)
        for number, criterion in enumerate(scenario.rubric, start=place * 100)
        for side, texts in ((1, criterion.met), (0, criterion.unmet))
        for text in texts
    ]
    texts, criteria, sides, places = zip(*rows, strict=True)
    layers = embedder.layers(texts)
    return Statements(layers, torch.tensor(criteria), torch.tensor(sides), torch.tensor(places))


def sibling_similarity(vectors: Tensor, criterion: Tensor, met: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean cosine of each statement to the statements of each (criterion, side), itself left out.

    These are means of cosines, not cosines to means: the cosine to a mean grows with the number of vectors in it, and
    a statement's own side has one sibling fewer.

    Args:
        vectors: The unit embeddings of the statements, [n, size].
        criterion: The number of each statement's criterion, [n].
        met: 1 for a met statement, 0 for an unmet one, [n].

    Returns:
        The similarities, [n, 2 * criteria], and the column of each statement's own side in them, [n].
    """
    _, number = torch.unique(criterion, return_inverse=True)
    own = number * 2 + met
    sides = functional.one_hot(own, int(own.max()) // 2 * 2 + 2).float()
    cosines = vectors @ vectors.T
    cosines = cosines - torch.diag(torch.diag(cosines))
    return (cosines @ sides) / (sides.sum(dim=0) - sides).clamp(min=1), own


def side_accuracy(vectors: Tensor, statements: Statements) -> float:
    """Compute the share of statements that lie nearer to their own side of their criterion than to the other side."""
    right = 0
    for place in torch.unique(statements.scenario).tolist():
        rows = (statements.scenario == place).nonzero()[:, 0]
        similarity, own = sibling_similarity(vectors[rows], statements.criterion[rows], statements.met[rows])
        index = torch.arange(len(rows))
        right += int((similarity[index, own] > similarity[index, own ^ 1]).sum())
    return right / len(vectors)


def fit(statements: Statements, *, seed: int = 0) -> Tensor:
    """Fit the head's projection, [256, layers * 384]."""
    torch.manual_seed(seed)
    inputs = statements.layers.flatten(1)
    head = nn.Linear(inputs.shape[1], _DIMENSIONS, bias=False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    scenarios = torch.unique(statements.scenario).tolist()
    batches = _EPOCHS * (len(scenarios) // _SCENARIOS_A_BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=batches)
    for epoch in range(_EPOCHS):
        Random(f"{seed}/{epoch}").shuffle(scenarios)
        for start in range(0, len(scenarios) - _SCENARIOS_A_BATCH + 1, _SCENARIOS_A_BATCH):
            chosen = torch.tensor(scenarios[start : start + _SCENARIOS_A_BATCH])
            rows = torch.isin(statements.scenario, chosen).nonzero()[:, 0]
            vectors = functional.normalize(head(functional.dropout(inputs[rows], _DROPOUT)), dim=-1)
            similarity, own = sibling_similarity(vectors, statements.criterion[rows], statements.met[rows])
            index = torch.arange(len(rows))
            margin = similarity[index, own] - similarity[index, own ^ 1]
            loss = functional.softplus(-_SIDE_SCALE * margin).mean()
            loss = loss + _CRITERION_WEIGHT * functional.cross_entropy(_CRITERION_SCALE * similarity, own)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return head.weight.detach()


def collect_salad(scenarios: Sequence[Task], embedder: Embedder) -> Tensor:
    """Embed word salad, [n, layers, 384]: four statements of each scenario, shuffled, and two of them as lists."""
    salad: list[str] = []
    for scenario in scenarios:
        texts = [t for c in scenario.rubric for side in (c.met, c.unmet) for t in side]
        chosen = Random(scenario.id).sample(texts, min(_SALAD_OF_A_SCENARIO, len(texts)))
        salad += [shuffled([t], t) for t in chosen] + [keywords([t]) for t in chosen[::2]]
    return embedder.layers(salad)


def fit_prose(statements: Statements, salad: Tensor) -> Tensor:
    """Fit the prose probe by a ridge-penalised logistic regression in which both sides have the same weight.

    Args:
        statements: The sentences.
        salad: The embeddings of texts that are no sentences, [n, layers, 384].

    Returns:
        The probe's weights with its bias last, [385].
    """
    layer = STANCE_LAYERS.index(PROSE_LAYER)
    prose, other = statements.layers[:, layer], salad[:, layer]
    weights = torch.zeros(prose.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100)

    def loss() -> Tensor:
        optimizer.zero_grad()
        yes, no = (_PROSE_SCALE * (x @ weights[:-1]) + weights[-1] for x in (prose, other))
        value = (functional.softplus(-yes).mean() + functional.softplus(no).mean()) / 2
        value = value + _PROSE_DECAY * weights[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    fitted = weights.detach()
    return torch.cat([fitted[:-1] * _PROSE_SCALE, fitted[-1:]])


def fit_head(statements: Statements, salad: Tensor) -> Head:
    """Fit both parts of the head, rounded as they come back from its file."""
    return Head.of(Head(fit(statements), fit_prose(statements, salad)).tensors)


def main() -> None:
    """Fit the head on the training scenarios, print how it does on the held-out ones and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=STANCE_HEAD)
    out: Path = parser.parse_args().out
    embedder = Embedder()
    corpus = built_in_scenarios()
    training = [s for s in corpus if s.split == "train"]
    head = fit_head(collect(training, embedder), collect_salad(training, embedder))
    write_atomically(out, lambda p: save_file(head.tensors, p))
    held_out = [s for s in corpus if s.split == "held_out"]
    unseen = collect(held_out, embedder)
    plain = unseen.layers[:, STANCE_LAYERS.index(TOP_LAYER)]
    for name, vectors in (("plain", plain), ("stance head", head.stance(unseen.layers))):
        print(f"{name}: {side_accuracy(vectors, unseen):.3f} of {len(vectors)} held-out statements")
    salad = collect_salad(held_out, embedder)
    kept, stopped = head.prose_logit(unseen.layers) > 0, head.prose_logit(salad) < 0
    print(f"prose: {kept.float().mean():.3f} of the statements pass, {stopped.float().mean():.3f} of salad stops")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()

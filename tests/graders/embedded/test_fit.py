"""Fitting the embedded judge's head."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.fit import Statements, collect, collect_salad, fit_head, fit_prose, sibling_similarity
from steadfast.graders.embedded.head import STANCE_LAYERS, Head
from steadfast.tasks import built_in_scenarios


def test_a_statement_is_compared_with_its_siblings_and_not_with_itself():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]), dim=-1)
    similarity, own = sibling_similarity(vectors, torch.tensor([7, 7, 7, 7]), torch.tensor([1, 1, 0, 0]))
    assert own.tolist() == [1, 1, 0, 0]
    assert similarity[0, 1] == pytest.approx(0.5**0.5)
    assert similarity[0, 0] == pytest.approx(-0.5)


def test_the_prose_probe_parts_what_can_be_parted_and_is_the_same_each_time():
    torch.manual_seed(0)
    layers = torch.randn(60, len(STANCE_LAYERS), 384)
    prose, salad = layers[:30] + 0.3, layers[30:] - 0.3
    rows = torch.arange(30)
    statements = Statements(prose, rows, rows, rows)
    weights = fit_prose(statements, salad)
    head = Head(torch.eye(8, len(STANCE_LAYERS) * 384), weights)
    assert (head.prose_logit(prose) > 0).all()
    assert (head.prose_logit(salad) < 0).all()
    assert torch.equal(weights, fit_prose(statements, salad))


def test_a_head_comes_back_from_its_file_as_it_was(tmp_path):
    head = Head.of({"projection": torch.randn(8, 12).half(), "prose": torch.randn(5)})
    save_file(head.tensors, tmp_path / "head.safetensors")
    again = Head.load(tmp_path / "head.safetensors")
    assert torch.equal(again.projection, head.projection)
    assert torch.equal(again.prose, head.prose)
    assert again.checksum == head.checksum
    other = Head(head.projection, head.prose + 1)
    assert other.checksum != head.checksum


@pytest.mark.slow
def test_two_fits_of_the_same_scenarios_give_the_same_bytes(tmp_path):
    scenarios = [s for s in built_in_scenarios() if s.split == "train"][:16]
    for name in ("one", "two"):
        embedder = Embedder()
        head = fit_head(collect(scenarios, embedder), collect_salad(scenarios, embedder))
        save_file(head.tensors, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert load_file(tmp_path / "one")["projection"].dtype == torch.float16

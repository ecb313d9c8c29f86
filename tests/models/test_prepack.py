import torch
from torch import nn

from steadfast.models.prepack import prepack_frozen_linears


def test_prepacked_layers_give_the_same_output_and_input_gradient():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(24, 40), nn.Tanh(), nn.Linear(40, 8, bias=False)).requires_grad_(False)
    packed = nn.Sequential(nn.Linear(24, 40), nn.Tanh(), nn.Linear(40, 8, bias=False)).requires_grad_(False)
    packed.load_state_dict(plain.state_dict())
    prepack_frozen_linears(packed)
    inputs = [torch.randn(2, 5, 24).requires_grad_() for _ in range(2)]
    inputs[1].data.copy_(inputs[0].data)
    outputs = [model(x) for model, x in zip((plain, packed), inputs, strict=True)]
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-4, rtol=1e-4)


def test_layers_that_train_are_left_alone():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].requires_grad_(False)
    assert prepack_frozen_linears(model) <= 1
    assert "forward" not in model[1].__dict__
    assert prepack_frozen_linears(model) == 0, "a second call packs nothing again"

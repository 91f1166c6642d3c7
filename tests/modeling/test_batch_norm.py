"""Running statistics that weigh all micro-batches alike, in fp32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerotrain.modeling.batch_norm import even_out, normalize_in_fp32


def test_all_micro_batches_of_a_step_have_the_same_weight() -> None:
    layer, step = nn.BatchNorm1d(1, momentum=0.3), [0]
    even_out(layer, 3, lambda: step[0] % 3 + 1)
    means = [1.0, 5.0, 9.0]
    for mean in means:
        layer(torch.tensor([[mean - 1], [mean + 1]]))
        step[0] += 1

    assert layer.running_mean is not None
    assert layer.running_mean.item() == pytest.approx(0.3 * sum(means) / 3)


def test_16_bit_weights_normalize_in_fp32_as_torch_does() -> None:
    inputs, plain = torch.randn(4, 3, 5, 5), nn.BatchNorm2d(3)
    mixed = nn.BatchNorm2d(3)
    for parameter in mixed.parameters():
        parameter.data = parameter.data.bfloat16()
    normalize_in_fp32(mixed)

    outputs = mixed(inputs.bfloat16())
    assert outputs.dtype == torch.bfloat16
    assert torch.allclose(outputs.float(), plain(inputs), atol=0.05)
    outputs.float().square().sum().backward()
    assert mixed.weight.grad is not None
    assert mixed.running_var is not None
    assert plain.running_var is not None
    assert torch.allclose(mixed.running_var, plain.running_var, rtol=0.01)
    assert int(mixed.num_batches_tracked or 0) == 1

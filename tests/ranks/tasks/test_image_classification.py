"""Image classification on real ranks."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from transformers import pipeline
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from zerotrain.checkpoint.export import preprocessor
from zerotrain.data.forms.images import decoded
from zerotrain.data.prepare import prepare
from zerotrain.data.sources.images import sklearn_digits
from zerotrain.data.stores.table import open_samples
from zerotrain.spec.data import DataSpec, ImageSpec
from zerotrain.spec.sources import SklearnDigitsSource
from zerotrain.spec.task import ImageClassificationTask

MODELS = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "vit": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": 2,
    },
}


def changes(architecture: str = "resnet", **more: Any) -> dict[str, Any]:
    return {
        "task": {"type": "image_classification", "top_k": [3]},
        "model": {"architecture": architecture, "config": MODELS[architecture]},
        "data": {
            "train": [{"type": "sklearn_digits", "max_documents": 120}],
            "validation": [{"type": "sklearn_digits", "split": "validation", "max_documents": 21}],
            "image": {"size": 8, "channels": 1, "random_crop": 1},
        },
        "evaluation": {},
        "optimizer.lr": 3e-3,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def test_a_vit_does_not_depend_on_how_a_batch_is_divided(same_everywhere: Any, cache: Any) -> None:
    same_everywhere(with_cache(changes("vit"), cache))


def with_cache(given: dict[str, Any], cache: Any) -> dict[str, Any]:
    return {**given, "data": {**given["data"], "cache": str(cache)}}


@pytest.mark.parametrize("stage", [0, 3])
def test_a_resnet_depends_on_the_micro_batch_but_not_on_ranks(train: Any, cache: Any, stage: int) -> None:
    """Batch normalization divides by what is in a micro-batch; running statistics weigh all micro-batches alike."""
    given = with_cache(changes(precision="fp32"), cache)
    alone = train({**given, "zero.stage": 0, "batch.micro_batch_size": 2}, 1)
    shared = train({**given, "zero.stage": stage, "batch.micro_batch_size": 2}, 2)

    assert shared.losses == pytest.approx(alone.losses, rel=2e-5)
    assert shared.rows("eval")[0]["metrics"] == pytest.approx(alone.rows("eval")[0]["metrics"], rel=1e-4, abs=1e-6)
    report = json.loads(shared.run.classification_report.read_text())
    assert sum(map(sum, report["confusion"]["true_by_predicted"])) == 21


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any, cache: Any) -> None:
    resumes_exactly(with_cache(changes("resnet"), cache))


@pytest.mark.parametrize(("stage", "precision"), [(0, "fp32"), (1, "bf16"), (2, "fp32"), (3, "bf16")])
def test_an_export_keeps_the_running_statistics(exported: Any, cache: Any, stage: int, precision: str) -> None:
    folder = exported(with_cache(changes(zero__stage=stage, precision=precision), cache))

    weights = load_file(folder / "model.safetensors")
    assert weights["resnet.embedder.embedder.normalization.running_mean"].abs().sum() > 0
    counted = weights["resnet.embedder.embedder.normalization.num_batches_tracked"]
    assert (counted.dtype, counted.item()) == (torch.int64, 8)


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_transformers_sees_the_pixels_that_were_trained_on(cache: Any, channels: int) -> None:
    image = {"size": 10, "channels": channels, "mean": [0.3], "std": [0.2]}
    data = with_cache(changes(), cache)["data"] | {"image": image}
    prepared = prepare(DataSpec.model_validate(data), ImageClassificationTask(type="image_classification"))
    ours = open_samples(prepared.train).batch(np.arange(4), np.arange(4), rows=4)["pixel_values"]

    processor = ViTImageProcessorPil(**preprocessor(ImageSpec.model_validate(image)))
    corpus = islice(sklearn_digits(SklearnDigitsSource(type="sklearn_digits"), "", []), 4)
    images = [decoded(record.fields["image"]) for record in corpus]
    for image, pixels in zip(images, ours, strict=True):
        theirs = processor(image, return_tensors="np", input_data_format=None)["pixel_values"][0]
        assert theirs == pytest.approx(pixels, abs=1e-5)


def test_plain_transformers_classifies_images_with_an_export(exported: Any, cache: Any) -> None:
    given = changes("vit", horizon="60 steps", schedule={"type": "constant"})
    given["data"]["image"] = {"size": 8, "channels": 3}
    given["data"]["train"][0]["max_documents"] = 400
    folder = exported(with_cache(given, cache))

    digits = load_digits()
    predict = pipeline("image-classification", str(folder))
    images = [Image.fromarray((pixels * (255 / 16)).round().astype("uint8")) for pixels in digits.images[:60]]
    right = [predict(image)[0]["label"] == str(digit) for image, digit in zip(images, digits.target, strict=False)]
    assert sum(right) >= 25

"""Image classification on real ranks."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, pipeline
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from zerotrain.checkpoint.export import preprocessor
from zerotrain.data.forms.images import decoded
from zerotrain.data.prepare import prepare
from zerotrain.data.sources.images import sklearn_digits
from zerotrain.data.stores.table import open_samples
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
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


def test_plain_transformers_classifies_images_as_the_trained_model_does(exported: Any, cache: Any) -> None:
    given = changes("vit")
    given["data"]["image"] = {"size": 8, "channels": 3}
    folder = exported(with_cache(given, cache))

    store = open_samples(Path(str(read_record(RunDirectory(folder.parent)).stores["validation"])))
    every = np.arange(len(store))
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        ours = model(torch.from_numpy(store.batch(every, every, len(store))["pixel_values"])).logits.argmax(-1)
    source = SklearnDigitsSource(type="sklearn_digits", split="validation", max_documents=21)
    images = [Image.open(io.BytesIO(record.fields["image"])) for record in sklearn_digits(source, "", [])]
    predict = pipeline("image-classification", str(folder))
    theirs = [predict(image)[0]["label"] for image in images]
    assert theirs == [model.config.id2label[number] for number in ours.tolist()]
    assert len(theirs) == 21

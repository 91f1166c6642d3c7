"""ZT67 and ZT68: images."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, rule
from zerotrain.compile.vocabulary import IMAGE_TASKS
from zerotrain.diagnostic import Diagnostic


@rule("ZT677", "images-without-size")
def images_without_size(case: Case) -> Iterator[Diagnostic]:
    """A task on images does not say their size.

    Why: images of a batch have one size, and a model may have weights for each place in it.
    Wrong: `{task: {type: image_classification}, data: {train: [{type: sklearn_digits}]}}`
    Right: `{task: {type: image_classification}, data: {train: [{type: sklearn_digits}], image: {size: 8}}}`
    """
    if case.spec.task.type in IMAGE_TASKS and case.spec.data.image is None:
        yield case.error("data", "no `image` says the size of the images", help="add `image: {size: 224}`")


@rule("ZT678", "mismatched-image")
def mismatched_image(case: Case) -> Iterator[Diagnostic]:
    """The model is made for other images than the data has.

    Why: another number of channels fails in the first layer, another size at the model's positions.
    Wrong: `{model: {architecture: vit, config: {image_size: 224}}, data: {image: {size: 8}}}`
    Right: no `image_size` and no `num_channels` in the model: they are taken from `data.image`
    """
    image = case.spec.data.image
    if image is None:
        return
    for key, value in {"num_channels": image.channels, "image_size": image.size}.items():
        given = case.model[1].get(key)
        if isinstance(given, int) and given != value:
            message = f"the model has `{key}` {given}, but the images have {value}"
            yield case.error("data.image", message, help=f"make both the same, or remove `{key}` from `model.config`")


@rule("ZT679", "uneven-channels")
def uneven_channels(case: Case) -> Iterator[Diagnostic]:
    """Mean or deviation are not given for each channel.

    Why: they are one number for all channels, or one for each.
    Wrong: `image: {size: 8, channels: 1, mean: [0.485, 0.456, 0.406]}`
    Right: `image: {size: 8, channels: 1, mean: [0.5]}`
    """
    image = case.spec.data.image
    if image is None:
        return
    for key, values in {"mean": image.mean, "std": image.std}.items():
        if len(values) not in (1, image.channels):
            message = f"`{key}` has {len(values)} numbers for {image.channels} channels"
            yield case.error(f"data.image.{key}", message, help=f"give one number, or {image.channels}")


@rule("ZT680", "keys-of-another-task")
def keys_of_another_task(case: Case) -> Iterator[Diagnostic]:
    """Text is described for a task on images, or images for a task on text.

    Why: nothing would read it, and it was meant to say something.
    Wrong: `{task: {type: image_classification}, data: {tokenizer: {type: bytes}}}`
    Right: `{task: {type: image_classification}, data: {image: {size: 224}}}`
    """
    data, task = case.spec.data, case.spec.task.type
    others = ("tokenizer", "seq_len") if task in IMAGE_TASKS else ("image",)
    for key in others:
        if getattr(data, key) is not None:
            yield case.error(f"data.{key}", f"`{key}` says nothing to the task `{task}`", help="remove it")


RULES: tuple[Rule, ...] = (
    images_without_size,
    mismatched_image,
    uneven_channels,
    keys_of_another_task,
)

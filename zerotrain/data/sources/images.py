"""Images with a class each: files in a folder for each class, and scikit-learn's digits.

A record has `image`, the bytes of an encoded image file, and `label`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from zerotrain.data.sources.files import folder_of
from zerotrain.data.sources.record import Fault, Record, in_split, read_bytes, unreadable
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import reason_of
from zerotrain.spec.sources import ImagesSource, SklearnDigitsSource

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def images(source: ImagesSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the files in the folders of the classes, sorted by path and named by it; hidden files are left out.

    Every other file in a class's folder is taken for an image; one that does not decode is a record with a fault, and
    so is an image that lies beside the folders.
    """
    key = f"{key}.path"
    root = folder_of(source.path, key, problems)
    records = (_image(path, root, key, problems) for path in _files(root, key, problems)) if root else iter(())
    chosen = (r for r in records if r and (r.fault or in_split(r.fields["image"], source.split)))
    return islice(chosen, source.max_documents)


def sklearn_digits(source: SklearnDigitsSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields 1,797 images as grey PNG files of 8 x 8 pixels, and their digits as numbers from 0 to 9."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype("uint8")  # the values of the data set go from 0 to 16
    records = (
        Record(f"digit {number}", {"image": _png(image), "label": int(label)})
        for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True))
    )
    return islice((r for r in records if in_split(r.fields["image"], source.split)), source.max_documents)


def _files(root: Path, key: str, problems: list[Diagnostic]) -> list[Path]:
    try:
        children = sorted(child for child in root.iterdir() if not child.name.startswith("."))
        beside = [path for path in children if path.is_file() and path.suffix.lower() in _SUFFIXES]
        inside = [path for child in children if child.is_dir() for path in sorted(child.rglob("*")) if path.is_file()]
    except OSError as failure:
        reason = reason_of(failure)
        problems.append(unreadable(str(root), reason, key, "make the folder readable, or name another"))
        return []
    files = [*beside, *(path for path in inside if not _is_hidden(path.relative_to(root)))]
    if not files:
        fact, way_out = f"`{root}` has no folder with images", "put images into a folder for each class"
        problems.append(error("ZT601", "missing-data", fact, help=way_out, key=key))
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _image(path: Path, root: Path, key: str, problems: list[Diagnostic]) -> Record | None:
    name = path.relative_to(root).as_posix()
    if path.parent == root:
        return Record(name, {}, Fault("ZT631", "image-without-class", "is in no folder of a class"))
    content = read_bytes(path, str(path), key, problems)
    if content is None:
        return None
    return Record(name, {"image": content, "label": path.relative_to(root).parts[0]}, _fault(content))


def _fault(content: bytes) -> Fault | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as broken:  # decoders raise OSError, SyntaxError, ValueError and their own types
        is_unknown = isinstance(broken, UnidentifiedImageError)
        fact = "is no image" if is_unknown else f"is a broken image: {str(broken).lower()}"
        return Fault("ZT630", "broken-image", fact)
    return None


def _png(pixels: object) -> bytes:
    """Returns an encoded image; not compressed, so that its bytes do not depend on the compressor's version."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()

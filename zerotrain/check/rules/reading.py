"""ZT0: reading the spec, and the model it names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from zerotrain.arch.describe import architectures, known_config_keys, shape_problems, supported_heads
from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.model import HEADS
from zerotrain.compile.teacher import teacher_config
from zerotrain.diagnostic import Diagnostic, Fix
from zerotrain.spec.suggest import evident, listed, nearest

_READING = "reading a spec"


@reported_by(_READING, "ZT001", "unreadable-file")
def unreadable_file() -> None:
    """The spec, or a file it extends, cannot be opened.

    Why: nothing can be said about a file that is not there.
    Wrong: `zerotrain check quikstart.yaml`
    Right: `zerotrain check quickstart.yaml`
    """


@reported_by(_READING, "ZT002", "not-utf8-spec")
def not_utf8_spec() -> None:
    """The spec is not UTF-8 text.

    Why: YAML is defined over Unicode; in another encoding names and paths would be read wrongly.
    Wrong: a file saved as UTF-16 or Latin-1
    Right: the same file saved as UTF-8
    """


@reported_by(_READING, "ZT003", "invalid-yaml")
def invalid_yaml() -> None:
    """The file is not valid YAML.

    Why: a missing bracket or a wrong indentation changes which section a key belongs to.
    Wrong: `betas: [0.9, 0.95`
    Right: `betas: [0.9, 0.95]`
    """


@reported_by(_READING, "ZT004", "duplicate-key")
def duplicate_key() -> None:
    """A key stands twice in the same section.

    Why: most readers take the last one without a word, so half of the file would be ignored.
    Wrong: `seed: 1` and further down `seed: 2`
    Right: one of the two
    """


@reported_by(_READING, "ZT005", "unknown-key")
def unknown_key() -> None:
    """A key does not exist.

    Why: DeepSpeed ignores most misspelt keys and trains with its defaults; zerotrain refuses all of them.
    Wrong: `zero: {stag: 3}`
    Right: `zero: {stage: 3}`
    """


@reported_by(_READING, "ZT006", "missing-key")
def missing_key() -> None:
    """A key that has no default is not given.

    Why: there is no value that would be right for everyone.
    Wrong: `optimizer: {type: adamw}`
    Right: `optimizer: {type: adamw, lr: 3.0e-4}`
    """


@reported_by(_READING, "ZT007", "invalid-value")
def invalid_value() -> None:
    """A value is of the wrong kind, or outside what is possible.

    Why: a wrong value is found before anything starts, with its place, not inside a library an hour later.
    Wrong: `horizon: 200`
    Right: `horizon: 200 steps`
    """


@reported_by(_READING, "ZT008", "quoted-number")
def quoted_number() -> None:
    """A number is written as text.

    Why: DeepSpeed accepts `lr: "1e-4"` and fails at the first step. Note that zerotrain reads `1e-4` without quotes
    as a number, as YAML 1.2 does; many other tools read it as text.
    Wrong: `lr: "1e-4"`
    Right: `lr: 1e-4`
    """


@reported_by(_READING, "ZT009", "circular-extends")
def circular_extends() -> None:
    """A file extends itself, directly or through others.

    Why: there is no order in which such files could be laid over each other.
    Wrong: `a.yaml` extends `b.yaml`, which extends `a.yaml`
    Right: what they share in a third file
    """


@reported_by(_READING, "ZT010", "bad-override")
def bad_override() -> None:
    """An override on the command line cannot be applied.

    Why: an override names a key by its dotted path and a value after an equals sign.
    Wrong: `zerotrain train run.yaml micro_batch_size 4`
    Right: `zerotrain train run.yaml batch.micro_batch_size=4`
    """


@reported_by(_READING, "ZT011", "not-a-spec")
def not_a_spec() -> None:
    """The file holds no keys and values.

    Why: a spec is a mapping of sections.
    Wrong: an empty file
    Right: `name: tiny`, `model: …`, `data: …` and so on; `zerotrain new` writes one
    """


@rule("ZT020", "no-model")
def no_model(case: Case) -> Iterator[Diagnostic]:
    """The model is named neither by its architecture nor by weights to start from, or by both.

    Why: training from scratch and starting from weights are different runs; one of them must be chosen.
    Wrong: `model: {}`
    Right: `model: {architecture: llama, config: {…}}` or `model: {pretrained: path}`
    """
    model = case.spec.model
    if model.architecture is None and model.pretrained is None:
        yield case.error("model", "no model is named", help="add `architecture:` or `pretrained:`")
    elif model.architecture is not None and model.pretrained is not None:
        message = f"both `architecture: {model.architecture}` and `pretrained: {model.pretrained}` are given"
        yield case.error("model.pretrained", message, help="keep one of the two")


@rule("ZT021", "unknown-architecture")
def unknown_architecture(case: Case) -> Iterator[Diagnostic]:
    """The architecture is not one whose shape zerotrain knows.

    Why: parameter counts, bucket sizes and memory are computed from the shape; a misspelt name would fail on the ranks.
    Wrong: `architecture: lama`
    Right: `architecture: llama`
    """
    name = case.spec.model.architecture
    if name is None or name in architectures():
        return
    near = nearest(name, architectures())
    help = f"did you mean `{near}`?" if near else f"known: {listed(architectures(), 'and')}"
    yield case.error("model.architecture", f"`{name}` is not a known architecture", help=help)


@rule("ZT022", "unknown-model-key")
def unknown_model_key(case: Case) -> Iterator[Diagnostic]:
    """A key in `model.config` is not one of the architecture's.

    Why: transformers stores unknown keys without using them, so the model is built with the default.
    Wrong: `config: {num_layers: 4}` for llama
    Right: `config: {num_hidden_layers: 4}`
    """
    name = case.spec.model.architecture
    if name not in architectures():
        return
    known = known_config_keys(name)
    for key in case.spec.model.config:
        if key not in known:
            near = _other_name(key, known) or nearest(key, known)
            help = f"did you mean `{near}`?" if near else f"`{name}` would ignore it; remove it"
            sure = _other_name(key, known) or evident(key, known)
            fix = Fix(f"rename to `{sure}`", f"model.config.{key}", sure, renames=True) if sure else None
            yield case.wrong_key(f"model.config.{key}", f"`{name}` has no config key `{key}`", help=help, fix=fix)


_NAMES_OF_A_SIZE = (
    ("num_hidden_layers", "num_layers", "n_layer", "n_layers"),
    ("hidden_size", "n_embd", "d_model", "dim", "embed_dim"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("num_key_value_heads", "n_kv_heads", "num_kv_heads"),
    ("intermediate_size", "n_inner", "d_ff", "ffn_dim"),
    ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"),
    ("num_experts", "num_local_experts", "n_routed_experts"),
    ("num_experts_per_tok", "top_k"),
)


def _other_name(key: str, known: Collection[str]) -> str | None:
    """Returns the name another architecture's key has here."""
    names = next((names for names in _NAMES_OF_A_SIZE if key in names), ())
    return next((name for name in names if name in known), None)


@rule("ZT023", "unusable-pretrained")
def unusable_pretrained(case: Case) -> Iterator[Diagnostic]:
    """The folder with weights has no readable `config.json`.

    Why: the model is built from its config; without it the weights are only numbers.
    Wrong: `pretrained: ./checkpoints/step-100`, a folder of DeepSpeed files
    Right: `pretrained: ./runs/quickstart/export`
    """
    if isinstance(case.pretrained, Diagnostic):
        yield case.pretrained
    teacher = teacher_config(case.spec, case.surroundings)
    if isinstance(teacher, Diagnostic):
        yield teacher


@rule("ZT024", "impossible-model")
def impossible_model(case: Case) -> Iterator[Diagnostic]:
    """The sizes in the model's config do not fit each other.

    Why: such a model cannot be built, or fails at its first forward pass.
    Wrong: `{hidden_size: 100, num_attention_heads: 8}`
    Right: `{hidden_size: 128, num_attention_heads: 8}`
    """
    architecture, config = case.model
    head = HEADS[case.spec.task.type]
    if architecture not in architectures() or head not in supported_heads(architecture):
        return
    for problem in shape_problems(architecture, config, head):
        yield case.error(f"model.config.{problem.key}", problem.message, help=problem.help)


@rule("ZT025", "unsuited-architecture")
def unsuited_architecture(case: Case) -> Iterator[Diagnostic]:
    """The architecture cannot do the task.

    Why: transformers has no class of this architecture with such a head, and would refuse when the model is built.
    Wrong: `{model: {architecture: resnet}, task: {type: pretrain}}`
    Right: `{model: {architecture: llama}, task: {type: pretrain}}`
    """
    architecture, task = case.model[0], case.spec.task.type
    if architecture in architectures() and HEADS[task] not in supported_heads(architecture):
        suited = ", ".join(f"`{name}`" for name in architectures() if HEADS[task] in supported_heads(name))
        message = f"`{architecture}` cannot do the task `{task}`"
        yield case.error("model.architecture", message, help=f"use another task, or one of {suited}")


_READING_CONFIG = "reading a DeepSpeed config"


@reported_by(_READING_CONFIG, "ZT030", "invalid-json")
def invalid_json() -> None:
    """Who reads the DeepSpeed config cannot read it.

    Why: DeepSpeed reads HJSON, HF Trainer and Accelerate read JSON; training ends before it starts.
    Wrong: `{"zero_optimization": {"stage": 2}`
    Right: `{"zero_optimization": {"stage": 2}}`
    """


@reported_by(_READING_CONFIG, "ZT031", "only-hjson")
def only_hjson() -> None:
    """The DeepSpeed config is HJSON, and who reads it reads only JSON.

    Why: DeepSpeed reads comments, trailing commas and keys without quotes when it is given the file. HF Trainer and
    Accelerate read the file themselves, with `json.load`, which refuses all of them.
    Wrong: `{"bf16": {"enabled": true},}` for HF Trainer
    Right: `{"bf16": {"enabled": true}}`
    """


@reported_by(_READING_CONFIG, "ZT032", "python-literal")
def python_literal() -> None:
    """A DeepSpeed config has a constant as Python writes it.

    Why: HJSON reads `True` and all that follows on its line as text. `False` at the end of a line is text too, and
    text counts as true where DeepSpeed only asks whether there is something.
    Wrong: `{"prescale_gradients": False}`
    Right: `{"prescale_gradients": false}`
    """


@reported_by(_READING_CONFIG, "ZT033", "malformed-number")
def malformed_number() -> None:
    """A number in a DeepSpeed config is written as JSON does not write numbers.

    Why: HJSON reads it, and all that follows on its line, as text; `json.load` refuses it.
    Wrong: `{"gradient_clipping": .5}`
    Right: `{"gradient_clipping": 0.5}`
    """


@reported_by(_READING_CONFIG, "ZT034", "not-a-number")
def not_a_number() -> None:
    """A number in a DeepSpeed config is `NaN`, `Infinity` or too great.

    Why: DeepSpeed's own reader takes `NaN` and `Infinity` for text and fails on `1e400`; `json.load` makes numbers of
    them that no setting is meant to have.
    Wrong: `{"gradient_clipping": Infinity}`
    Right: `{"gradient_clipping": 1.0}`
    """


@reported_by(_READING_CONFIG, "ZT035", "not-a-config")
def not_a_config() -> None:
    """The file is empty, or holds something else than a DeepSpeed config.

    Why: a DeepSpeed config is a mapping of keys to values; DeepSpeed fails on anything else.
    Wrong: `ds_config = {"train_batch_size": 8}` in a Python file
    Right: `{"train_batch_size": 8}` in a JSON file
    """


@reported_by(_READING_CONFIG, "ZT036", "text-to-line-end")
def text_to_line_end() -> None:
    """Text without quotes takes in the comma, comment or bracket after it.

    Why: in HJSON such text ends only where its line ends.
    Wrong: `type: AdamW,`
    Right: `"type": "AdamW",`
    """


@reported_by(_READING_CONFIG, "ZT037", "odd-key")
def odd_key() -> None:
    """The name of a key contains quotes or other signs that were hardly meant as a part of it.

    Why: HJSON takes everything before the colon as the name: typographic quotes too, and spaces that do not break.
    DeepSpeed does not know such a key.
    Wrong: `{“stage”: 2}`
    Right: `{"stage": 2}`
    """


@reported_by("ignore comments", "ZT040", "unused-ignore")
def unused_ignore() -> None:
    """A comment silences a finding that is not there.

    Why: it would silence the finding on the day it is true again; and whoever reads it looks for a fault in vain.
    Wrong: `stage: 3  # zerotrain: ignore[ZT304]` where ZT304 has nothing to say
    Right: `stage: 3`
    """


@reported_by("ignore comments", "ZT041", "unknown-ignored-code")
def unknown_ignored_code() -> None:
    """A comment silences a code that does not exist.

    Why: a misspelt code silences nothing.
    Wrong: `device: nvme  # zerotrain: ignore[ZT3O4]`
    Right: `device: nvme  # zerotrain: ignore[ZT304]`
    """


@reported_by("`--fix`", "ZT042", "unfixable-file")
def unfixable_file() -> None:
    """A file that could be fixed cannot be written.

    Why: `--fix` replaces a file as a whole, so it needs the right to write the file and its directory.
    Wrong: `zerotrain check --fix run.yaml` where `run.yaml` is read-only
    Right: the same after `chmod u+w run.yaml`
    """


RULES: tuple[Rule, ...] = (
    unreadable_file,
    not_utf8_spec,
    invalid_yaml,
    duplicate_key,
    unknown_key,
    missing_key,
    invalid_value,
    quoted_number,
    circular_extends,
    bad_override,
    not_a_spec,
    no_model,
    unknown_architecture,
    unknown_model_key,
    unusable_pretrained,
    impossible_model,
    unsuited_architecture,
    invalid_json,
    only_hjson,
    python_literal,
    malformed_number,
    not_a_number,
    not_a_config,
    text_to_line_end,
    odd_key,
    unused_ignore,
    unknown_ignored_code,
    unfixable_file,
)

"""A code means the same for ever, and everyone who meets it finds its page."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from zerotrain.check.registry import RULES
from zerotrain.check.rule import Rule

ROOT = Path(__file__).parents[2]

CODES = {
    "ZT001": "unreadable-file",
    "ZT002": "not-utf8-spec",
    "ZT003": "invalid-yaml",
    "ZT004": "duplicate-key",
    "ZT005": "unknown-key",
    "ZT006": "missing-key",
    "ZT007": "invalid-value",
    "ZT008": "quoted-number",
    "ZT009": "circular-extends",
    "ZT010": "bad-override",
    "ZT011": "not-a-spec",
    "ZT020": "no-model",
    "ZT021": "unknown-architecture",
    "ZT022": "unknown-model-key",
    "ZT023": "unusable-pretrained",
    "ZT024": "impossible-model",
    "ZT025": "unsuited-architecture",
    "ZT030": "invalid-json",
    "ZT031": "only-hjson",
    "ZT032": "python-literal",
    "ZT033": "malformed-number",
    "ZT034": "not-a-number",
    "ZT035": "not-a-config",
    "ZT036": "text-to-line-end",
    "ZT037": "odd-key",
    "ZT040": "unused-ignore",
    "ZT041": "unknown-ignored-code",
    "ZT042": "unfixable-file",
    "ZT101": "indivisible-global-batch",
    "ZT102": "contradicting-batch",
    "ZT103": "endless-warmup",
    "ZT104": "idle-interval",
    "ZT105": "large-learning-rate",
    "ZT106": "nothing-to-evaluate",
    "ZT107": "nesterov-without-momentum",
    "ZT108": "clipped-muon",
    "ZT109": "uncounted-schedule",
    "ZT110": "unmet-expectation",
    "ZT120": "missing-batch-size",
    "ZT121": "impossible-batch-size",
    "ZT122": "pinned-world-size",
    "ZT123": "odd-batch-size",
    "ZT124": "zero-steps-per-print",
    "ZT125": "unaligned-vocabulary",
    "ZT126": "unfilled-accumulation",
    "ZT127": "unknown-optimizer",
    "ZT128": "optimizer-without-type",
    "ZT129": "refused-optimizer-param",
    "ZT130": "dropped-optimizer-param",
    "ZT131": "refused-optimizer-value",
    "ZT132": "adam-means-adamw",
    "ZT133": "untested-optimizer-with-zero",
    "ZT134": "unusable-optimizer",
    "ZT135": "muon-with-reduce-scatter",
    "ZT136": "adam-steps-at-start",
    "ZT137": "missing-optimizer",
    "ZT138": "negative-clipping",
    "ZT139": "default-clipping",
    "ZT140": "unknown-scheduler",
    "ZT141": "missing-scheduler-params",
    "ZT142": "refused-scheduler-param",
    "ZT143": "refused-scheduler-value",
    "ZT144": "torch-scheduler-on-wrapper",
    "ZT145": "odd-schedule",
    "ZT146": "warmup-longer-than-training",
    "ZT147": "overridden-learning-rate",
    "ZT148": "learning-rates-hf-refuses",
    "ZT149": "trainer-without-warmup",
    "ZT150": "unmatched-pattern",
    "ZT151": "nothing-to-train",
    "ZT152": "factored-on-shards",
    "ZT153": "overlapping-decay",
    "ZT155": "unsayable-schedule",
    "ZT156": "unsaid-groups",
    "ZT201": "unsupported-fp16",
    "ZT202": "unsupported-bf16",
    "ZT203": "mixed-accumulation-at-stage-0",
    "ZT204": "sixteen-bit-accumulation",
    "ZT205": "loss-scale-without-fp16",
    "ZT206": "foreign-accumulation",
    "ZT220": "fp16-beside-bf16",
    "ZT221": "auto-cast-without-fp16",
    "ZT222": "static-loss-scale",
    "ZT223": "refused-loss-scaling",
    "ZT224": "stuck-loss-scale",
    "ZT225": "fp16-unsupported-by-hardware",
    "ZT226": "emulated-bf16",
    "ZT227": "mixed-accumulation-without-zero",
    "ZT228": "conflicting-param-dtype",
    "ZT229": "bf16-accumulation",
    "ZT230": "refused-sixteen-bit-masters",
    "ZT231": "autocast-without-dtype",
    "ZT232": "idle-autocast",
    "ZT233": "autocast-beside-sixteen-bit",
    "ZT234": "zero-in-fp32",
    "ZT301": "ignored-offload-param",
    "ZT302": "offload-without-zero",
    "ZT303": "nvme-without-path",
    "ZT304": "nvme-optimizer-below-stage-3",
    "ZT305": "partial-offload-below-stage-3",
    "ZT306": "cuda-only-optimizer",
    "ZT307": "lamb-without-loss-scale",
    "ZT308": "ignored-checkpointing-option",
    "ZT310": "overwritten-key",
    "ZT312": "unavailable-recompute",
    "ZT313": "unsaved-optimizer-states",
    "ZT314": "idle-zeropp-setting",
    "ZT315": "cuda-only-quantization",
    "ZT316": "updates-outside-checkpoints",
    "ZT320": "settings-at-stage-0",
    "ZT321": "stage-3-setting",
    "ZT322": "stage-1-2-setting",
    "ZT323": "bf16-optimizer-setting",
    "ZT324": "zeropp-below-stage-3",
    "ZT325": "refused-quantized-weights",
    "ZT326": "hpz-does-not-divide",
    "ZT327": "hpz-larger-than-world",
    "ZT328": "quantized-gradients-on-one-node",
    "ZT329": "quantized-gradients-without-reduce-scatter",
    "ZT330": "refused-gradient-scaling",
    "ZT331": "ignored-gradient-scaling",
    "ZT332": "odd-allgather-bucket",
    "ZT333": "refused-norm-switch",
    "ZT334": "legacy-stage-1",
    "ZT335": "refused-gradient-sum",
    "ZT336": "unmanaged-accumulation-with-overlap",
    "ZT337": "dead-allgather-switch",
    "ZT338": "trainer-saves-no-weights",
    "ZT339": "ungathered-weights",
    "ZT340": "offload-param-below-stage-3",
    "ZT341": "offload-optimizer-at-stage-0",
    "ZT342": "cpu-optimizer-on-gpu",
    "ZT343": "offload-without-device",
    "ZT344": "missing-nvme-path",
    "ZT345": "empty-nvme-path",
    "ZT346": "nvme-states-in-memory",
    "ZT347": "ignored-offload-option",
    "ZT348": "overruled-contiguous-gradients",
    "ZT349": "aio-without-nvme",
    "ZT350": "nvme-without-aio",
    "ZT351": "refused-offload-ratio",
    "ZT352": "refused-super-offload",
    "ZT353": "lamb-with-offload",
    "ZT354": "torch-optimizer-on-cpu",
    "ZT355": "zenflow-cannot-run",
    "ZT356": "zenflow-intervals",
    "ZT357": "zenflow-without-overlap",
    "ZT358": "zenflow-optimizer",
    "ZT359": "zenflow-accumulation",
    "ZT401": "unfilled-axes",
    "ZT403": "unknown-gpu",
    "ZT404": "undivided-heads",
    "ZT405": "indivisible-model",
    "ZT406": "whole-layers-needed",
    "ZT407": "tensor-parallel-over-machines",
    "ZT408": "undivided-sequence",
    "ZT409": "whole-sequences-needed",
    "ZT410": "pipeline-at-a-late-stage",
    "ZT411": "undividable-model",
    "ZT412": "too-many-stages",
    "ZT413": "undivided-model-needed",
    "ZT414": "idle-stages",
    "ZT415": "late-reduction",
    "ZT420": "tensor-ranks-do-not-divide",
    "ZT421": "tensor-parallel-size-is-no-size",
    "ZT422": "negative-tensor-parallel-size",
    "ZT423": "conflicting-tensor-parallel-sizes",
    "ZT424": "idle-tensor-parallel",
    "ZT425": "unknown-tensor-parallel-preset",
    "ZT426": "sequence-ranks-are-no-number",
    "ZT427": "batch-counts-tensor-ranks",
    "ZT428": "full-batch-triple-with-tensor-stage-3",
    "ZT429": "sequence-parallel-size-alone",
    "ZT430": "mesh-is-not-the-world",
    "ZT431": "overridden-communication-type",
    "ZT433": "pipeline-switch-kind",
    "ZT434": "pipeline-above-stage-1",
    "ZT435": "partition-type",
    "ZT436": "load-balance-coefficient",
    "ZT437": "expert-parallel-choice",
    "ZT438": "expert-parallel-number",
    "ZT439": "expert-parallel-kind",
    "ZT440": "expert-ranks-do-not-divide",
    "ZT441": "expert-kernels-do-not-combine",
    "ZT442": "experts-with-tensor-parallelism",
    "ZT443": "two-parallel-presets",
    "ZT444": "experts-at-stage-3",
    "ZT445": "idle-expert-parallel",
    "ZT446": "one-expert-rank",
    "ZT447": "tensor-parallel-at-stage-3",
    "ZT450": "cannot-be-tiled",
    "ZT451": "more-tiles-than-tokens",
    "ZT452": "computed-again-twice",
    "ZT453": "cannot-be-compiled",
    "ZT454": "idle-compile-option",
    "ZT470": "indivisible-experts",
    "ZT471": "unfilled-expert-groups",
    "ZT472": "experts-with-another-axis",
    "ZT473": "no-experts",
    "ZT474": "excluded-by-experts",
    "ZT475": "other-expert-function",
    "ZT476": "unused-router-loss",
    "ZT477": "moe-at-stage-3",
    "ZT478": "inexpert-model",
    "ZT479": "moe-with-another-axis",
    "ZT480": "unpublished-experts",
    "ZT481": "too-many-choices",
    "ZT482": "no-layer-with-experts",
    "ZT483": "excluded-by-moe",
    "ZT484": "idle-moe-setting",
    "ZT485": "upcycled-otherwise",
    "ZT486": "unfillable-capacity",
    "ZT487": "unexportable-experts",
    "ZT488": "some-of-the-experts",
    "ZT489": "unsaid-experts",
    "ZT601": "missing-data",
    "ZT602": "not-utf8",
    "ZT603": "empty-data",
    "ZT604": "unreadable-data",
    "ZT605": "unwritable-cache",
    "ZT606": "unreadable-tokenizer",
    "ZT607": "empty-document",
    "ZT608": "damaged-store",
    "ZT610": "overlong-sequence",
    "ZT611": "small-vocabulary",
    "ZT612": "tokenizer-without-path",
    "ZT613": "missing-column",
    "ZT614": "broken-line",
    "ZT615": "wrong-type",
    "ZT616": "unknown-label",
    "ZT617": "text-without-tokenizer",
    "ZT618": "tokens-of-images",
    "ZT630": "broken-image",
    "ZT631": "image-without-class",
    "ZT632": "unknown-column",
    "ZT633": "unknown-split",
    "ZT634": "unloadable-dataset",
    "ZT635": "weight-without-mixture",
    "ZT636": "budget-of-records",
    "ZT670": "no-room-for-text",
    "ZT671": "too-large-shares",
    "ZT672": "no-mask-token",
    "ZT673": "unmarked-words",
    "ZT674": "entangled-documents",
    "ZT675": "packed-flash-encoder",
    "ZT677": "images-without-size",
    "ZT678": "mismatched-image",
    "ZT679": "uneven-channels",
    "ZT680": "keys-of-another-task",
    "ZT650": "no-chat-template",
    "ZT651": "unrenderable-chat",
    "ZT652": "missing-answer",
    "ZT653": "wrong-message",
    "ZT654": "moving-template",
    "ZT655": "special-token",
    "ZT656": "overlong-record",
    "ZT657": "untrained-record",
    "ZT658": "concatenated-chats",
    "ZT660": "lost-reference",
    "ZT661": "unwritten-reference",
    "ZT662": "equal-answers",
    "ZT663": "unused-smoothing",
    "ZT664": "several-rewards",
    "ZT690": "small-teacher-vocabulary",
    "ZT691": "other-vocabulary",
    "ZT692": "unequal-widths",
    "ZT693": "unknown-layer",
    "ZT694": "unloadable-teacher",
    "ZT695": "unused-teacher",
    "ZT696": "short-teacher",
    "ZT701": "existing-run",
    "ZT702": "not-a-run",
    "ZT703": "damaged-record",
    "ZT704": "unwritable-run",
    "ZT705": "nothing-to-resume",
    "ZT706": "other-world-size",
    "ZT707": "unsaved-checkpoint",
    "ZT708": "wrong-export",
    "ZT709": "finished-run",
    "ZT710": "lost-data",
    "ZT711": "damaged-checkpoint",
    "ZT712": "foreign-directory",
    "ZT713": "busy-run",
    "ZT714": "another-run",
    "ZT715": "changed-run",
    "ZT716": "no-log",
    "ZT717": "unaccepted-change",
    "ZT718": "unshared-batch",
    "ZT719": "unshareable-checkpoint",
    "ZT720": "untrusted-checkpoint",
    "ZT722": "mock-checkpoint-writer",
    "ZT723": "checkpoint-writer-without-unit",
    "ZT724": "fast-writer-without-gpu",
    "ZT725": "tensor-shards-on-the-node",
    "ZT726": "universal-checkpoints-only",
    "ZT727": "datastates-switched-on-by-presence",
    "ZT728": "pipelined-loading-below-stage-3",
    "ZT780": "unopenable-place",
    "ZT781": "unreachable-place",
    "ZT782": "failed-errand",
    "ZT783": "no-archive",
    "ZT784": "relative-archive",
    "ZT785": "secret-in-archive",
    "ZT786": "name-that-leads-out",
    "ZT730": "blind-early-stopping",
    "ZT731": "blind-keep-best",
    "ZT732": "unknown-metric",
    "ZT733": "no-best-checkpoint",
    "ZT734": "unkept-best",
    "ZT735": "endless-patience",
    "ZT736": "averaged-nvme",
    "ZT737": "unevaluated-average",
    "ZT738": "unaveraged-export",
    "ZT739": "no-average",
    "ZT740": "unmatched-module",
    "ZT741": "nothing-to-adapt",
    "ZT742": "adapter-from-scratch",
    "ZT743": "baseless-adapter",
    "ZT744": "no-adapter",
    "ZT745": "changed-base",
    "ZT746": "tied-module",
    "ZT747": "no-dropout",
    "ZT748": "changed-teacher",
    "ZT749": "not-generative",
    "ZT760": "nonfinite-update",
    "ZT762": "loss-spike",
    "ZT763": "loss-scale-at-floor",
    "ZT764": "nonfinite-weights",
    "ZT766": "hung-rank",
    "ZT767": "rolled-back",
    "ZT768": "slow-rank",
    "ZT770": "rollback-to-the-start",
    "ZT771": "idle-spike-watch",
    "ZT772": "late-watchdog",
    "ZT801": "no-compiler",
    "ZT802": "missing-packages",
    "ZT803": "engine-differs",
    "ZT804": "unread-key",
    "ZT805": "failed-worker",
    "ZT806": "killed-worker",
    "ZT807": "leaking-documents",
    "ZT808": "named-devices",
    "ZT809": "other-deepspeed",
    "ZT810": "one-machine-launcher",
    "ZT811": "no-hostfile",
    "ZT812": "include-and-exclude",
    "ZT813": "unknown-deepspeed-version",
    "ZT814": "reserved-variable",
    "ZT815": "written-secret",
    "ZT816": "out-of-memory",
    "ZT817": "absent-ranks",
    "ZT818": "unmet-ranks",
    "ZT819": "unknown-compile-pass",
    "ZT820": "idle-activation-checkpointing",
    "ZT821": "contiguous-checkpoints-alone",
    "ZT822": "hybrid-engine-on-a-processor",
    "ZT823": "monitor-package",
    "ZT824": "breakdown-on",
    "ZT825": "profile-step-never-comes",
    "ZT826": "autotuning-ends-the-run",
    "ZT827": "gds-off-cuda",
    "ZT828": "aio-number",
    "ZT829": "weight-quantization-in-training",
    "ZT830": "hybrid-engine-graphs",
    "ZT831": "compile-must-be-called",
    "ZT832": "deepcompile-falls-back",
    "ZT833": "compile-options-do-not-combine",
    "ZT834": "compile-around-experts",
    "ZT835": "idle-compile-options",
    "ZT836": "data-efficiency-is-incomplete",
    "ZT837": "outer-switch-is-not-read",
    "ZT838": "nothing-is-switched-on-inside",
    "ZT839": "sampling-needs-deepspeeds-loader",
    "ZT840": "no-scheduler",
    "ZT841": "refused-job",
    "ZT842": "restarts-without-c10d",
    "ZT843": "runs-gone-with-pods",
    "ZT844": "fresh-elsewhere",
    "ZT845": "given-twice",
    "ZT850": "untested-version",
    "ZT851": "unusable-torch",
    "ZT852": "impossible-op",
    "ZT853": "no-cuda-toolkit",
    "ZT854": "left-lock",
    "ZT855": "torch-without-cuda",
    "ZT856": "old-driver",
    "ZT857": "too-few-gpus",
    "ZT858": "other-gpu",
    "ZT859": "busy-gpu",
    "ZT860": "sliced-gpu",
    "ZT861": "small-shared-memory",
    "ZT862": "too-little-memory",
    "ZT863": "unwritable-directory",
    "ZT864": "full-disk",
    "ZT865": "offload-to-memory",
    "ZT866": "few-open-files",
    "ZT867": "unknown-interface",
    "ZT868": "unknown-hostname",
    "ZT869": "no-loopback",
    "ZT870": "taken-port",
    "ZT871": "bad-hostfile",
    "ZT872": "too-few-hosts",
    "ZT873": "no-pdsh",
    "ZT874": "silent-host",
    "ZT875": "differing-host",
    "ZT876": "missing-path",
    "ZT877": "wrong-clock",
    "ZT878": "unshrinkable-model",
    "ZT901": "unknown-deepspeed-key",
    "ZT902": "removed-deepspeed-key",
    "ZT903": "unfilled-auto",
    "ZT904": "refused-deepspeed-key",
    "ZT905": "dropped-auto",
    "ZT906": "framework-key",
    "ZT907": "nested-config",
    "ZT908": "foreign-config",
    "ZT909": "unread-raw-key",
    "ZT910": "deprecated-deepspeed-key",
    "ZT911": "deprecated-and-new-key",
    "ZT912": "key-under-two-names",
    "ZT913": "shadowed-bfloat16",
    "ZT914": "on-by-presence",
    "ZT915": "section-without-enabled",
    "ZT916": "literal-auto",
    "ZT917": "auto-left-over",
    "ZT918": "missing-zero-section",
    "ZT930": "wrong-kind",
    "ZT931": "out-of-range",
    "ZT932": "unknown-choice",
    "ZT933": "number-as-text",
    "ZT934": "not-a-section",
    "ZT935": "old-zero-form",
    "ZT936": "switch-as-text",
    "ZT937": "unconverted-number",
    "ZT938": "unusable-value",
    "ZT939": "unfilled-template",
    "ZT940": "gradients-of-zero-2",
    "ZT941": "racing-communication",
    "ZT942": "writer-cannot-read-back",
    "ZT943": "profile-counts-twice",
    "ZT944": "latency-is-maximized",
    "ZT945": "hpz-with-offload",
    "ZT946": "deepcompile-at-stage-3",
    "ZT947": "experts-and-transformers",
    "ZT948": "overflow-check-moved",
    "ZT949": "clipping-default-moved",
    "ZT950": "tensor-parallel-needs-the-script",
    "ZT951": "adagrad-cannot-save",
    "ZT952": "division-by-no-predivision",
    "ZT960": "profile-step-is-no-number",
    "ZT961": "moe-layers-at-stage-3",
    "ZT962": "muon-with-stacked-experts",
    "ZT963": "experts-reduce-otherwise",
    "ZT964": "experts-in-own-optimizer",
}
"""Written out once more: a code is never used again for something else, and a name is never changed."""

LOOKING = [rule for rule in RULES if rule.look or rule.look_at_config]
"""Rules that look at a spec or at a DeepSpeed config."""

_SEVERITIES = {"refused_key": "error", "wrong_key": "error", "ignored_key": "warning"}

FAMILIES = "012346789"
"""Reading · batch · precision · ZeRO · parallel · data · runs · launch · versions; ZT5 is kept for memory."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "zerotrain").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@cache
def sources() -> list[str]:
    return [path.read_text() for path in (ROOT / "zerotrain").rglob("*.py")]


@cache
def named_codes() -> list[tuple[str, str, str]]:
    """Returns every code that stands beside a name in the source, with where it stands."""
    found = []
    for path, tree in trees():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call | ast.Tuple)):
            parts = node.args if isinstance(node, ast.Call) else node.elts
            texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            found += [(str(code), str(name), where) for code, name in pairwise(texts) if is_name(code, name)]
    return found


def is_name(code: object, name: object) -> bool:
    return is_code(code) and isinstance(name, str) and not is_code(name)


def is_code(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"ZT[0-9]{3}", value) is not None


def test_codes_and_names_are_frozen() -> None:
    assert {rule.code: rule.name for rule in RULES} == CODES


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)


def test_codes_are_in_order() -> None:
    codes = [rule.code for rule in RULES]

    assert codes == sorted(codes)
    assert "".join(dict.fromkeys(code[2] for code in codes)) == FAMILIES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_name_is_a_few_lower_case_words(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)


def test_every_code_in_the_source_has_the_name_of_its_page() -> None:
    wrong = [(code, name, where) for code, name, where in named_codes() if CODES.get(code) != name]

    assert wrong == []
    assert {code for code, _, _ in named_codes()} == set(CODES)


def test_every_code_that_is_only_mentioned_exists() -> None:
    mentioned = {
        code
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for code in re.findall(r"\bZT[0-9]{3}\b", node.value)
    }

    assert mentioned <= set(CODES)


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if not rule.look and not rule.look_at_config], ids=lambda rule: rule.code
)
def test_a_code_that_no_rule_finds_is_reported_by_someone(rule: Rule) -> None:
    """Its page alone, in check/rules, is not enough."""
    reporters = [where for code, _, where in named_codes() if code == rule.code and "check/rules/" not in where]
    texts = [text for text in sources() if f"{rule.code} {rule.name}" in text]

    assert rule.raised_by != "check"
    assert reporters or texts


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_page_is_complete(rule: Rule) -> None:
    page = rule.page

    assert all((page.summary, page.why, page.wrong, page.right))
    assert page.summary.endswith(".")
    assert "\n" not in page.summary
    assert page.wrong != page.right
    assert not re.search(r"\b(Why|Wrong|Right):", page.summary + page.why + page.wrong + page.right)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_page_stands_in_the_documentation(rule: Rule) -> None:
    text = (ROOT / "docs" / "rules" / f"{rule.code}.md").read_text(encoding="utf-8")

    assert text.startswith(f"# {rule.code} {rule.name}\n\n{rule.page.summary}\n")
    assert rule.page.why in text


def test_the_documentation_has_no_page_too_many() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "rules").glob("*.md")} - {"README"}

    assert pages == set(CODES)


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.look or rule.look_at_config], ids=lambda rule: rule.code
)
def test_every_rule_has_one_severity_and_a_test(rule: Rule) -> None:
    source = inspect.getsource(rule.look or rule.look_at_config)  # type: ignore[arg-type]
    used = set(re.findall(r"\bcase\.(error|refused_key|wrong_key|warning|ignored_key|info)\(", source))
    severities = {_SEVERITIES.get(name, name) for name in used}
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "check").rglob("test_*.py"))

    assert len(severities) <= 1
    assert f"def test_{rule.code.lower()}" in tests

"""ZT7: run directories, checkpoints, resume, export."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.compile.model import HEADS
from zerotrain.diagnostic import Diagnostic


@reported_by("starting a run", "ZT701", "existing-run")
def existing_run() -> None:
    """The run directory is there already.

    Why: a run is never written over another one.
    Wrong: `zerotrain train run.yaml` a second time
    Right: `zerotrain resume runs/NAME`, another `name`, or `--fresh`, which keeps the old directory under another name
    """


@reported_by("opening a run", "ZT702", "not-a-run")
def not_a_run() -> None:
    """The directory holds no run.

    Why: a run directory has a `run.json`, which says what was started.
    Wrong: `zerotrain resume examples`
    Right: `zerotrain resume runs/quickstart`
    """


@reported_by("opening a run", "ZT703", "damaged-record")
def damaged_record() -> None:
    """`run.json` cannot be read.

    Why: without it nothing is known of the run's data and topology, and continuing would be a guess.
    Wrong: a `run.json` edited by hand
    Right: the file restored
    """


@reported_by("starting a run", "ZT704", "unwritable-run")
def unwritable_run() -> None:
    """The run directory cannot be written.

    Why: checkpoints and metrics have nowhere to go.
    Wrong: a full disk, or a directory without write permission
    Right: free space, or start in another directory
    """


@reported_by("continuing a run", "ZT705", "nothing-to-resume")
def nothing_to_resume() -> None:
    """The run has saved checkpoints, and none of them is good any more.

    Why: DeepSpeed would start from scratch without a word; zerotrain does not. Only a run that has not come to its
    first save begins again by itself.
    Wrong: `zerotrain resume` after all checkpoints were removed or damaged
    Right: `zerotrain train SPEC --fresh`, or the checkpoints brought back
    """


@reported_by("continuing a run", "ZT706", "other-world-size")
def other_world_size() -> None:
    """A run is started on another number of ranks than it is laid out for.

    Why: batch and DeepSpeed's config follow from the number of ranks, and have to be settled anew for another one.
    Wrong: `torchrun --nproc-per-node 4 -m zerotrain.worker RUN` for a run of 2 ranks
    Right: `zerotrain resume RUN --world-size 4`
    """


@reported_by("saving a checkpoint", "ZT707", "unsaved-checkpoint")
def unsaved_checkpoint() -> None:
    """A checkpoint could not be written.

    Why: the disk is full or the path is gone. The run keeps its last complete checkpoint and goes on; when the last
    checkpoint of a run cannot be written, the run fails.
    Wrong: a disk with less free space than one checkpoint
    Right: space freed, or a smaller `keep_last`
    """


@reported_by("exporting", "ZT708", "wrong-export")
def wrong_export() -> None:
    """What was exported is not the model.

    Why: names, shapes, dtypes and sizes are read back from the files and compared with the model.
    Wrong: weights saved empty, as stage 3 does when nobody gathers them
    Right: an export that zerotrain has verified
    """


@reported_by("continuing a run", "ZT709", "finished-run")
def finished_run() -> None:
    """The run has already made all its steps, or has ended at one of its `limits`.

    Why: there is nothing left to train.
    Wrong: `zerotrain resume` of a finished run
    Right: a new run that starts from its export, or `zerotrain resume RUN limits.hours=48`
    """


@reported_by("continuing a run", "ZT710", "lost-data")
def lost_data() -> None:
    """The prepared data of a run is gone, or is not the same any more.

    Why: a run continued on other data is another run.
    Wrong: the cache deleted and the files changed
    Right: the same files; the data is then prepared again and compared by its fingerprint
    """


@reported_by("opening a run", "ZT711", "damaged-checkpoint")
def damaged_checkpoint() -> None:
    """A checkpoint does not hold what its manifest says.

    Why: loading it would continue another state than the one that was saved.
    Wrong: files copied in part
    Right: an older complete checkpoint, which `resume` takes by itself
    """


@reported_by("exporting", "ZT712", "foreign-directory")
def foreign_directory() -> None:
    """The directory for an export holds something else.

    Why: an export replaces what is in its directory, and only an older export may be lost by that.
    Wrong: `zerotrain export runs/quickstart -o ~/models`, where other models are
    Right: `zerotrain export runs/quickstart -o ~/models/quickstart`
    """


@reported_by("continuing a run", "ZT713", "busy-run")
def busy_run() -> None:
    """The run is being trained by another process.

    Why: two that write the same checkpoints and metrics would damage both.
    Wrong: `zerotrain resume` in a second terminal
    Right: the first one ended, or left to finish
    """


@reported_by("continuing a run", "ZT714", "another-run")
def another_run() -> None:
    """The run directory holds another run than the one that is to go on.

    Why: `--continue` goes on with what is there; with other settings or data it would be neither the old run nor the
    new one.
    Wrong: `zerotrain train run.yaml --continue` after `seed` was changed
    Right: `zerotrain train run.yaml --continue name=second`
    """


@reported_by("continuing a run", "ZT715", "changed-run")
def changed_run() -> None:
    """Something is changed that belongs to the run itself.

    Why: a run goes on as if it had never been interrupted. How it is started may differ, and how its ranks share the
    model, for these change no loss; model, data, seed, global batch and precision are the run.
    Wrong: `zerotrain resume runs/tiny seed=2`
    Right: `zerotrain resume runs/tiny --world-size 4 zero.stage=3`
    """


@reported_by("`zerotrain logs`", "ZT716", "no-log")
def no_log() -> None:
    """There is no such log.

    Why: every rank of every attempt has a log of its own, and this one was never written.
    Wrong: `zerotrain logs runs/tiny --rank 7` of a run on two ranks
    Right: `zerotrain logs runs/tiny --rank 1`
    """


@reported_by("continuing a run", "ZT717", "unaccepted-change")
def unaccepted_change() -> None:
    """The horizon, the schedule or the optimizer is changed, and nobody has said that this is meant.

    Why: from there on the loss curve is no longer that of one run, and cannot be compared with others of its spec.
    Wrong: `zerotrain resume runs/tiny horizon="400 steps"`
    Right: `zerotrain resume runs/tiny horizon="400 steps" --accept`
    """


@reported_by("continuing a run", "ZT718", "unshared-batch")
def unshared_batch() -> None:
    """The ranks a run is to go on with cannot share its global batch.

    Why: the global batch belongs to the run. On any number of ranks that divides it, it stays what it is: the
    micro-batch becomes smaller where it must, and the accumulation follows.
    Wrong: `zerotrain resume runs/tiny --world-size 3`, with a global batch of 32
    Right: `zerotrain resume runs/tiny --world-size 4`
    """


@reported_by("continuing a run", "ZT719", "unshareable-checkpoint")
def unshareable_checkpoint() -> None:
    """A checkpoint is to be continued by ranks that share the model in a way it cannot be given out for.

    Why: each rank takes the elements it holds out of the files of those that saved them. Experts that are spread over
    ranks, Muon's updates and Adafactor's factors do not lie beside the weights element by element.
    Wrong: `zerotrain resume runs/mixtral --world-size 2`, after `parallel: {ep: 4}`
    Right: `zerotrain resume runs/mixtral` on the same ranks, or a new run from its export
    """


@reported_by("opening a checkpoint", "ZT720", "untrusted-checkpoint")
def untrusted_checkpoint() -> None:
    """A file of a checkpoint holds something besides tensors and plain values.

    Why: such files are pickles, which may name any function to be called when they are read. Only what DeepSpeed itself
    stores is read; DeepSpeed would read anything.
    Wrong: a checkpoint from somewhere else, with a call of `os.system` in it
    Right: a checkpoint that this run has saved
    """


@reported_by("continuing a run", "ZT748", "changed-teacher")
def changed_teacher() -> None:
    """The teacher's weights are no longer those the run began with.

    Why: checkpoints do not hold the teacher, which is loaded from `task.teacher` again. Taught by another one from some
    step on, the run is no longer the one that was started; so a checksum of the weights stands in the manifest.
    Wrong: an export written anew into the folder a student's teacher is in
    Right: a folder of its own for every export
    """


@rule("ZT749", "not-generative")
def not_generative(case: Case) -> Iterator[Diagnostic]:
    """Text is to be generated by a model that does not continue text.

    Why: only a causal language model predicts the next token; the export of another one cannot be loaded as such.
    Wrong: `{task: {type: sequence_classification}, export: {sample: {prompts: ["It was"]}}}`
    Right: `{task: {type: sequence_classification}, export: {}}`
    """
    export, task = case.spec.export, case.spec.task.type
    if export is not None and export.sample is not None and HEADS[task] != "causal_lm":
        message = f"the export of `{task}` does not continue text, so it has nothing to say to the prompts"
        yield case.error("export.sample", message, help="remove `sample`")


RULES: tuple[Rule, ...] = (
    existing_run,
    not_a_run,
    damaged_record,
    unwritable_run,
    nothing_to_resume,
    other_world_size,
    unsaved_checkpoint,
    wrong_export,
    finished_run,
    lost_data,
    damaged_checkpoint,
    foreign_directory,
    busy_run,
    another_run,
    changed_run,
    no_log,
    unaccepted_change,
    unshared_batch,
    unshareable_checkpoint,
    untrusted_checkpoint,
    changed_teacher,
    not_generative,
)

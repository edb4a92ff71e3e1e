"""Planning: read the corpora of a job, and see its steps before any is trained."""

from dataclasses import dataclass

from raycner.api.jobs import Job, Overrides, load_config
from raycner.api.progress import Progress, event_handler
from raycner.data.corpora import Corpus
from raycner.orchestration import run_steps
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import plan as plan_steps


@dataclass(frozen=True)
class StepPlan:
    """One step of a job."""

    number: int
    """From 1."""
    types: tuple[str, ...]
    """The types it learns."""
    sentences: int
    """Of its training split."""
    epochs: int
    """The most that it trains."""
    batch_size: int
    """Sentences per update."""
    method: str
    fingerprint: str
    stored: bool
    """Whether the store has it, so that it will not be trained again."""


def prepare(
    job: Job, overrides: Overrides = (), /, *, progress: Progress = True, **settings: object
) -> tuple[Corpus, ...]:
    """Read the corpora of a job into its store, and return them.

    Raises `InputError` at the first line that cannot be read.
    """
    with event_handler(progress) as handler:
        _, scenario = run_steps.prepare(load_config(job, overrides, settings), handler)
    return scenario.corpora


def export_form(job: Job, overrides: Overrides = (), /, **settings: object) -> str:
    """What will load an export of the job's steps: `pipeline` (of transformers) or `predictor` (raycner alone).

    Raises `InputError` where the pretrained encoder is missing.
    """
    from raycner.inference.export import export_form

    return export_form(load_config(job, overrides, settings).model)


def plan(
    job: Job, overrides: Overrides = (), /, *, progress: Progress = True, **settings: object
) -> tuple[StepPlan, ...]:
    """The steps of a job, and which of them are in its store. Nothing is trained."""
    config = load_config(job, overrides, settings)
    with event_handler(progress) as handler:
        store, scenario = run_steps.prepare(config, handler)
    return tuple(
        StepPlan(
            number=spec.index + 1,
            types=experience.inventory.new,
            sentences=len(experience.train),
            epochs=spec.optim.epochs,
            batch_size=spec.optim.batch_size,
            method=spec.method.label,
            fingerprint=spec.fingerprint,
            stored=StepCheckpoint.find(store, spec.fingerprint) is not None,
        )
        for spec, experience in zip(plan_steps(config, scenario), scenario, strict=True)
    )

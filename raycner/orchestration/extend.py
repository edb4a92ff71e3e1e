"""Extension: one more step for a finished run, with new types and the source in which they are annotated."""

from collections.abc import Sequence

from raycner.config import RunConfig
from raycner.data.scenarios.scenario import recorded
from raycner.data.type_synonyms import synonym
from raycner.errors import InputError
from raycner.events import EventHandler
from raycner.hashing import Plain
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.settings import merge
from raycner.storage.aliases import alias_names, find_alias
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan


def with_step(
    ledger: RunLedger,
    store: ObjectStore,
    types: Sequence[str],
    source: str | None,
    corpus: str | None,
    *,
    annotated: Sequence[str] = (),
    partly: Sequence[str] = (),
    allow_similar: bool = False,
) -> dict[str, Plain]:
    """The settings of a run with one more step, whose types are annotated in `source` (None: in the run's own source).

    `corpus` is the layout of the source, if not the run's own. `annotated` are old types that it annotates too,
    `partly` types of which it marks only some entities. Raises `InputError` for a type that is probably a learned one
    under another name, unless `allow_similar`.
    """
    settings = recorded(ledger.config)
    protocol = settings["scenario"]["protocol"]
    if protocol["name"] != "steps":
        line = f"its protocol is {protocol['name']}, whose steps are fixed"
        hint = f"make its last step the first of a new run: raycner adopt {ledger.run} --name NAME"
        raise InputError(line, location=ledger.run, hint=hint)
    if not allow_similar:
        _refuse_similar_types(types, [kind for planned in ledger.planned for kind in planned.new])
    layout = {key: value for key, value in {"path": source, "name": corpus}.items() if value is not None}
    given = {"annotated": list(annotated), "partly": list(partly), "corpus": layout}
    step: dict[str, Plain] = {"types": list(types), **{key: value for key, value in given.items() if value}}
    settings.pop("plugins", None)  # only the user names plugins, never a ledger
    longer = {"protocol": {"steps": [*protocol["steps"], step]}}
    return merge(settings, {"store": store.uri, "scenario": longer})


def undo(ledger: RunLedger, store: ObjectStore) -> None:
    """Remove a run that extends another one, or has other types; that one and all steps stay until `raycner store gc`.

    Raises `InputError` for a run that was made from no other, and for one whose last step an alias names.
    """
    protocol = recorded(ledger.config)["scenario"]["protocol"]
    first = protocol["steps"][0] if protocol["name"] == "steps" else {}
    was_retyped = bool(first.get("adopted") and first.get("origin"))
    if not first or (len(ledger.planned) < 2 and not was_retyped):
        raise InputError("it extends no other run", location=ledger.run, hint="name a run that `raycner extend` made")
    last = ledger.planned[-1].fingerprint
    for name in alias_names(store):
        current = find_alias(store, name)
        if current is not None and current.fingerprint == last:
            what = f"the alias {name} names its last step"
            raise InputError(what, location=ledger.run, hint=f"run `raycner rollback {name}` first")
    store.remove(f"runs/{ledger.run}")


def _refuse_similar_types(types: Sequence[str], learned: Sequence[str]) -> None:
    """Raise `InputError` for a new type that is a learned one under another name."""
    for kind in types:
        other = "" if kind in learned else synonym(kind, learned)
        if other:
            hint = f"write it as {other!r} in the source; if it is another type, add --allow-similar"
            raise InputError(f"{kind!r} is probably {other!r}, which is learned", location="--types", hint=hint)


def extend(ledger: RunLedger, config: RunConfig, emit: EventHandler) -> RunLedger:
    """Train the steps of `config` that a run does not have. Raises `InputError` if a finished step would change."""
    _, scenario = prepare(config, emit)
    for before, now in zip(ledger.planned, plan(config, scenario), strict=False):
        if before.fingerprint != now.fingerprint:
            line = f"step {before.index + 1} would be trained again: its data, its encoder or its settings have changed"
            hint = "restore them, or start a new run with `raycner run`"
            raise InputError(line, location=ledger.run, hint=hint)
    return run(config, emit)

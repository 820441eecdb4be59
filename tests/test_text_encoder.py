"""BERTScore with a language model made here, and the windows that long texts are read in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.core.errors import UsageError
from petct_cli.core.records import AnyRecord
from petct_cli.metrics.bertscore import BertScoreFamily
from petct_cli.metrics.families import Item
from petct_cli.model.text_encoder import TextEncoder, joined, load_text_encoder, window_starts
from petct_cli.report.normalise import DEFAULT
from petct_cli.stages.score import Score
from tests.samples import lines

WORDS = ["nốt", "phổi", "phải", "trái", "gan", "không", "thấy", "tăng", "chuyển", "hóa", "hạch", "12", "mm"]
LONGEST = 16


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers that reads 16 tokens, with random weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=LONGEST,
    ).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(names), max_position_embeddings=LONGEST, **sizes)).save_pretrained(folder)
    return folder


def items_of(pairs: list[tuple[str, str]]) -> list[Item]:
    return [Item(str(n), str(n), "all", None, wanted, given) for n, (given, wanted) in enumerate(pairs)]


def scores(family: BertScoreFamily, pairs: list[tuple[str, str]]) -> np.ndarray[Any, Any]:
    rows = family.rows(items_of(pairs), [given for given, _ in pairs])
    return np.stack([family.value(metric, rows) for metric in family.wanted], axis=1)


@pytest.fixture(scope="module")
def family(model_folder: Path) -> BertScoreFamily:
    wanted = ("bertscore_p", "bertscore_r", "bertscore_f1")
    return BertScoreFamily(wanted, load_text_encoder(str(model_folder), 2), DEFAULT)


def by_definition(folder: Path, layer: int, given: str, wanted: str) -> list[float]:
    """The bert_score package's greedy matching, a text at a time: specials can be matched and have weight 0."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in (given, wanted):
        with torch.no_grad():
            output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        state = output.hidden_states[layer][0]
        vectors.append(state / state.norm(dim=-1, keepdim=True))
    similarity = vectors[0] @ vectors[1].T
    precision = float(similarity.max(1).values[1:-1].mean())
    recall = float(similarity.max(0).values[1:-1].mean())
    return [precision, recall, 2 * precision * recall / (precision + recall)]


@pytest.mark.parametrize("layer", [1, 2])
def test_bertscore_is_the_definition(model_folder: Path, layer: int) -> None:
    rng = np.random.default_rng(layer)
    pairs = [tuple(" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(2)) for _ in range(40)]
    family = BertScoreFamily(
        ("bertscore_p", "bertscore_r", "bertscore_f1"), load_text_encoder(str(model_folder), layer), DEFAULT
    )
    expected = [by_definition(model_folder, layer, *pair) for pair in pairs]
    assert scores(family, pairs) == pytest.approx(100 * np.array(expected), abs=1e-4)


def test_a_text_against_itself_is_100_however_long(family: BertScoreFamily) -> None:
    texts = [" ".join((WORDS * 9)[:count]) for count in (1, 2, 13, 14, 15, 16, 40, 99)]
    assert scores(family, [(text, text) for text in texts]) == pytest.approx(np.full((len(texts), 3), 100.0), abs=1e-9)
    rows = family.rows(items_of([(text, text) for text in texts]), texts)
    assert family.counts("bertscore_f1", rows.sum(0)) == {"windowed_texts": 2 * 4}


@pytest.mark.real
def test_each_real_reference_against_itself_is_100(family: BertScoreFamily, real_data: Path) -> None:
    rows = [orjson.loads(line) for line in (real_data / "vimed" / "reports.jsonl").read_bytes().splitlines()]
    found = scores(family, [(row["reference"], row["reference"]) for row in rows])
    assert found == pytest.approx(np.full((len(rows), 3), 100.0), abs=1e-9)


def test_an_empty_hypothesis_is_0(family: BertScoreFamily) -> None:
    found = scores(family, [("", "nốt phổi"), (" \n", "gan"), ("x", "nốt phổi")])
    assert found[:2].tolist() == [[0, 0, 0]] * 2
    assert found[2, 2] > 0


def test_the_batch_makes_no_difference(family: BertScoreFamily) -> None:
    texts = [" ".join((WORDS * 4)[start : start + 3 * start]) for start in range(1, 12)]
    together = family.encoder(texts)
    for text, (vectors, windows) in zip(texts, together, strict=True):
        [(alone, number)] = family.encoder([text])
        assert number == windows
        assert alone == pytest.approx(vectors, abs=1e-5)


@given(st.integers(0, 200), st.integers(1, 30))
def test_windows_hold_every_token_once_far_from_edges(tokens: int, room: int) -> None:
    starts = window_starts(tokens, room)
    states = []
    for start in starts:
        held = np.arange(start, min(start + room, tokens))
        states.append(np.concatenate([[-1], held, [-2]]).astype(np.float32)[:, None])
    assert joined(states, starts)[:, 0].tolist() == [-1, *range(tokens), -2]
    assert starts == sorted(set(starts))


def test_the_signature_knows_the_weights(model_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    one = load_text_encoder(str(model_folder), 2)
    model, tokenizer = AutoModel.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    assert TextEncoder(model, tokenizer, 2, model_folder.name).signature == one.signature
    assert str(model_folder.parent) not in one.signature
    model.encoder.layer[0].output.dense.bias.data += 1
    assert TextEncoder(model, tokenizer, 2, model_folder.name).signature != one.signature


def test_nothing_is_fetched_in_silence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hf://"):
        load_text_encoder("petct-test/no-such-model", 1)
    with pytest.raises(UsageError, match="no text encoder"):
        load_text_encoder(str(tmp_path), 1)


def test_the_command_scores_with_a_given_model(petct: Any, model_folder: Path) -> None:
    records = [
        {"id": "1", "reference": "Nốt phổi phải.", "hypothesis": "nốt phổi trái"},
        {"id": "2", "reference": "Gan không thấy hạch.", "hypothesis": " ".join(WORDS * 3)},
    ]
    arguments = ["--metrics", "bertscore_f1", "--bert-model", model_folder, "--layer", "2"]
    done = petct("score", *arguments, stdin=lines(*records))
    assert done.code == 0, done.stderr
    by_control = {record.get("control"): record for record in done.records}
    assert 0 < by_control[None]["value"] < 100
    assert by_control["self"]["value"] == 100
    assert by_control[None]["counts"]["windowed_texts"] == 1
    assert f"model:{model_folder.name}|weights:" in by_control[None]["signature"]


@pytest.mark.parametrize("arguments", [[], ["--layer", "1"], ["--bert-model", "FOLDER"]])
def test_without_a_model_or_layer_the_command_says_what_is_missing(
    petct: Any, model_folder: Path, arguments: list[str]
) -> None:
    arguments = [str(model_folder) if argument == "FOLDER" else argument for argument in arguments]
    done = petct("score", "--metrics", "bertscore_f1", *arguments, stdin=b"")
    assert done.code == 2
    assert "--bert-model and --layer" in done.stderr


def test_a_model_that_is_not_there_is_told_before_records_are_read(model_folder: Path, tmp_path: Path) -> None:
    def records() -> Iterator[AnyRecord]:
        pytest.fail("read a record first")
        yield

    for model, layer, code in ((tmp_path, 1, "no_text_encoder"), (model_folder, 3, "bad_layer")):
        stage = Score(metrics=("bertscore_f1",), bert_model=str(model), layer=layer)
        with pytest.raises(UsageError) as caught:
            list(stage.collect(records()))
        assert caught.value.code == code

"""The text side: tokens, targets taken from reports, prompts."""

from __future__ import annotations

import math

import pytest

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Message, Sample
from petct_cli.model.inputs import image_key, prompt_messages
from petct_cli.model.processor import FeatureExtractor, PetctProcessor, SaliencySettings
from petct_cli.model.targets import FactWeights, WordGroups, measurements
from petct_cli.model.tokenizer import IMAGE, train_tokenizer

REPORTS = [
    "Hình ảnh hạch cổ trái, kích thước 12 mm, tăng chuyển hóa FDG (SUVmax: 5,3). Các xoang cạnh mũi thông thoáng.",
    "Nốt mờ phổi phải 8x6 mm, SUVmax 3.4; nốt phổi trái 1,5 cm.",
    "Không thấy hạch cổ hai bên tăng chuyển hóa FDG.",
] * 4


@pytest.fixture(scope="module")
def processor() -> PetctProcessor:
    return PetctProcessor(FeatureExtractor({}, SaliencySettings(tokens=3)), train_tokenizer(REPORTS, 420))


def sample_with(messages: list[Message]) -> Sample:
    return Sample.model_validate({"id": "a", "study": "s", "patient": "p"}).with_fields(messages=messages)


def user(*parts: dict[str, str]) -> Message:
    return Message(role="user", content=list(parts))


@pytest.mark.parametrize("text", [*REPORTS[:3], "Chữ lạ: 漢字 😀 \t 100,5 mm", "<s> và <image> trong văn bản"])
def test_any_text_comes_back_from_tokens(processor: PetctProcessor, text: str) -> None:
    target = processor.target(text, FactWeights())
    assert len(target.ids) == len(target.weights)
    assert processor.decode(target.ids) == text.replace("<s>", "< s>").replace("<image>", "< image>")


def test_whole_numbers_are_tokens(processor: PetctProcessor) -> None:
    for number in range(100):
        assert len(processor.tokenizer(f"{number}", add_special_tokens=False)["input_ids"]) == 1


def test_a_pair_of_images_becomes_one_run_of_image_tokens(processor: PetctProcessor) -> None:
    ids = processor.prompt_ids([user({"type": "image"}, {"type": "image"}, {"type": "text", "text": "Mô tả <image>."})])
    assert ids.count(processor.image_id) == 3
    with pytest.raises(RecordError, match="no turn"):
        processor.prompt_ids([user({"type": "text", "text": "Mô tả."})])
    assert IMAGE not in processor.decode(ids)


def test_measures_are_read_with_comma_point_mm_and_cm() -> None:
    first, second = measurements(REPORTS[1])
    assert math.exp(first.log_size + 3) == pytest.approx(8)
    assert math.exp(first.log_suv + 2) == pytest.approx(3.4)
    assert math.exp(second.log_size + 3) == pytest.approx(15)
    assert math.isnan(second.log_suv)
    (only,) = measurements(REPORTS[0])
    assert math.exp(only.log_suv + 2) == pytest.approx(5.3)
    assert measurements(REPORTS[2]) == []


def test_words_of_a_finding_tell_findings_apart() -> None:
    groups = WordGroups.learn(found.clause for report in REPORTS for found in measurements(report))
    assert ("phổi", "phải") in groups.groups
    assert ("xoang",) not in groups.groups
    encoded = dict(zip(groups.groups, groups.encode("Nốt phổi trái"), strict=True))
    assert encoded["phổi", "trái"] == 1
    assert encoded["phổi", "phải"] == 0


def test_facts_count_more_but_not_the_first_words_of_a_finding() -> None:
    text = "Tim bình thường. Nốt phổi phải 8 mm."
    words = [(0, 3), (3, 15), (15, 16), (16, 20), (20, 25), (25, 30), (30, 32), (32, 35), (35, 36)]
    weights = FactWeights(fact=4, lead=2, lead_tokens=2).of(text, words)
    assert weights == [1, 1, 1, 2, 2, 4, 4, 4, 1]


def test_the_assistants_last_turn_is_not_in_the_prompt(processor: PetctProcessor) -> None:
    answer = Message(role="assistant", content=[{"type": "text", "text": "BÍ MẬT"}])
    earlier = Message(role="assistant", content=[{"type": "text", "text": "Có hai phổi."}])
    asked = user({"type": "image"}, {"type": "text", "text": "Mô tả."})
    sample = sample_with([asked, earlier, user({"type": "text", "text": "Còn gan?"}), answer])
    shown = processor.tokenizer.decode(processor.prompt_ids(prompt_messages(sample)))
    assert "BÍ MẬT" not in shown
    assert "Có hai phổi." in shown
    with pytest.raises(RecordError, match="user's turn"):
        prompt_messages(sample.with_fields(messages=[answer]))


def test_samples_of_the_same_images_share_a_key() -> None:
    sample = sample_with([])
    assert image_key(sample) == image_key(sample.with_fields(reference="khác", id="b"))
    assert image_key(sample) != image_key(sample.with_fields(image_recipe={"blank": "CT"}))


def test_the_tokens_of_each_finding_are_known(processor: PetctProcessor) -> None:
    (told,) = processor.target(REPORTS[0], FactWeights()).clauses
    assert "trái" in processor.decode(told.words)
    assert "xoang" not in processor.decode(told.words)
    assert processor.decode(told.numbers) == "1253"
    assert processor.target(REPORTS[2], FactWeights()).clauses == ()

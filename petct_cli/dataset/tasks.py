"""Which tasks a region of a study is asked for, and the samples that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.records import Lesion, Record, Sample, Study, Task
from petct_cli.dataset.compare import half
from petct_cli.dataset.facts import Facts, stated_facts, true_facts
from petct_cli.dataset.samples import SUV_UNIT, identity, make_report_sample, region_lesions, region_text, shown
from petct_cli.dataset.vqa import vqa_samples
from petct_cli.volume.regions import RegionBounds

TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True)
class TaskRule:
    """The tasks asked for, and with how many other studies each is compared."""

    names: tuple[Task, ...] = ("report",)
    pairs: int = 1

    @classmethod
    def parse(cls, text: str, pairs: int = 1) -> TaskRule:
        """Read ``report,vqa,compare`` in any order.

        Raises
        ------
        UsageError
            ``bad_task``.
        """
        wanted = [name.strip() for name in text.split(",") if name.strip()]
        if not wanted or not set(wanted) <= set(TASKS):
            raise UsageError("bad_task", f"--task takes one or more of {', '.join(TASKS)}, with commas between")
        return cls(tuple(name for name in TASKS if name in wanted), pairs)

    @property
    def waits(self) -> bool:
        """Whether some samples come only after the last study."""
        return self.names != ("report",)

    def describe(self, task: Task) -> dict[str, object]:
        """Return what belongs into the options hash of a sample of `task`."""
        return {"task": task, **({"pairs": self.pairs} if task == "compare" else {})}


def region_facts(region: str, text: str, lesions: Sequence[Lesion] | None) -> Facts:
    """Return what is known of `region`: of the true lesions where they are known, else of the text."""
    return stated_facts(region, text) if lesions is None else true_facts(region, region_lesions(region, lesions))


def make_samples(
    task: Task,
    study: Study,
    bounds: RegionBounds,
    split: str | None,
    sections: dict[str, str],
    lesions: Sequence[Lesion] | None,
) -> Iterator[Record]:
    """Yield what `task` asks of one region: samples, and halves of comparisons.

    Of a PET that is not in SUVbw no SUVmax is asked and none compared: nobody can read it there.

    Raises
    ------
    RecordError
        ``no_findings`` when neither the report nor true lesions say anything of the region.
    """
    if task == "report":
        yield make_report_sample(study, bounds, split, sections, lesions)
        return
    text = region_text(bounds.name, sections)
    if not text and lesions is None:
        raise RecordError("no_findings", f"the report has no findings for region {bounds.name}")
    base = Sample.model_validate({**identity(study, bounds.name, split, task), **shown(study, bounds)})
    facts = region_facts(bounds.name, text, lesions)
    if study.pet is not None and study.pet.unit != SUV_UNIT:
        facts = facts.without_suv()
    if task == "vqa":
        yield from vqa_samples(base, facts, text)
    else:
        yield half(base, facts, study.study_date or study.period)

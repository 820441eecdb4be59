"""The splits that need more than a patient's name: the paper's months, a list, equal shares of each stratum."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Self

from petct_cli.core.errors import InputError, RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.records import Split, Study
from petct_cli.dataset.splits import SPLITS, SplitRule, parse_shares
from petct_cli.dataset.tables import table_rows

STRATA = ("site", "scanner", "sex")
_MONTH = re.compile(r"(\d{4})-?(\d{2})(?:-?\d{2})?")
_NAMES = {"patient": "patient", "study": "study", "id": "study", "split": "split"}


@cache
def paper_months() -> Mapping[tuple[int, int], Split]:
    """Return the split of each (year, month) that the paper lists (``data/paper_months.toml``)."""
    table = tomllib.loads(files("petct_cli.dataset").joinpath("data/paper_months.toml").read_text("utf-8"))
    return {(int(year), month): name for year, row in table.items() for name in SPLITS for month in row[name]}


@dataclass(frozen=True)
class TimeRule:
    """The paper's split by month (arXiv 2509.24739): needs ``period`` as YYYY-MM, or real dates.

    A patient whose studies lie in several months comes to the split that is held out most.
    """

    needs_all: ClassVar[bool] = True
    is_one: ClassVar[bool] = False

    @property
    def for_workers(self) -> Self:
        """The rule itself."""
        return self

    def own(self, study: Study) -> Split:
        """Return the split of a study by itself.

        Raises
        ------
        RecordError
            ``period_unknown``: dates are shifted, removed or missing, and no month was kept. ``month_unlisted``: the
            paper's table does not have it.
        """
        real = study.study_date if study.dates == "full" else None
        found = _MONTH.fullmatch((study.period or real or "").strip())
        if found is None:
            raise RecordError(
                "period_unknown",
                "--split time needs a month: the study has neither real dates nor period as YYYY-MM",
                "anonymize --keep-period month",
            )
        split = paper_months().get((int(found[1]), int(found[2])))
        if split is None:
            raise RecordError(
                "month_unlisted", "the paper's split lists no such month", "give --split file:PATH for other years"
            )
        return split

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        months = sorted((f"{year}-{month:02d}", split) for (year, month), split in paper_months().items())
        return {"time": [list(month) for month in months]}


@dataclass(frozen=True)
class FileRule:
    """A split that someone made before: patients or studies by name.

    Attributes
    ----------
    patients, studies
        The split of each name in the list.
    sha256
        Of the list's bytes.
    """

    patients: Mapping[str, Split] = field(repr=False)
    studies: Mapping[str, Split] = field(repr=False)
    sha256: str = ""

    needs_all: ClassVar[bool] = True
    is_one: ClassVar[bool] = False

    @property
    def for_workers(self) -> FileRule:
        """The rule without its names, which may be many."""
        return FileRule({}, {}, self.sha256)

    @classmethod
    def read(cls, path: Path) -> FileRule:
        """Read a CSV with a header, or JSONL, of ``patient`` or ``study`` (or ``id``) and ``split``.

        Other columns do not matter: the samples that `petct pair` wrote are such a list.

        Raises
        ------
        UsageError
            ``no_such_file``.
        InputError
            ``split_file``: a row without a name or without one of train, val, test. ``split_conflict``: one name with
            two splits. Both by row, not by name.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError("no_such_file", f"--split file:{path}: {error.strerror}") from None
        found: dict[str, dict[str, tuple[Split, int]]] = {"patient": {}, "study": {}}
        for number, raw in table_rows(path, data, "split_file"):
            row = {key.strip().lower(): value for key, value in raw.items()}
            # A record that petct wrote has a `study`; its `id` then is the sample's.
            given = {_NAMES[key]: row[key] for key in ("id", "study", "patient", "split") if row.get(key)}
            if "split" not in given and row.get("error"):
                continue  # a sample that failed for want of a split
            split = next((name for name in SPLITS if name == given.get("split")), None)
            names = [(kind, given[kind]) for kind in found if given.get(kind)]
            if split is None or not names:
                raise InputError("split_file", f"{path}:{number}: needs patient or study, and split train, val or test")
            for kind, name in names:
                before, where = found[kind].setdefault(str(name).strip(), (split, number))
                if before != split:
                    raise InputError("split_conflict", f"{path}: rows {where} and {number} give one {kind} two splits")
        patients, studies = ({name: split for name, (split, _) in found[kind].items()} for kind in found)
        return cls(patients, studies, sha256_bytes(data))

    def own(self, study: Study) -> Split:
        """Return the split of a study by itself.

        Raises
        ------
        RecordError
            ``split_unlisted``; ``split_conflict`` when its patient is listed with another split.
        """
        found = {self.studies.get(study.id), self.patients.get(study.patient or study.id)} - {None}
        if len(found) > 1:
            raise RecordError("split_conflict", "the list of splits has this study and its patient in different ones")
        for split in found:
            assert split is not None
            return split
        raise RecordError("split_unlisted", "the list of splits has neither this study nor its patient")

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        return {"file": self.sha256}


@dataclass(frozen=True)
class StratifiedRule:
    """Shares as asked of each value of a field: ``site``, ``scanner`` or ``sex`` of the study records.

    Studies without the field are a stratum of their own; a patient with several values is, too.
    """

    by: str
    random: SplitRule

    needs_all: ClassVar[bool] = True
    is_one: ClassVar[bool] = False

    @property
    def for_workers(self) -> Self:
        """The rule itself."""
        return self

    def own(self, study: Study) -> None:
        """Return nothing: no study has a split by itself."""

    def stratum(self, study: Study) -> str:
        """Return the value by which a study is counted, empty when it has none."""
        value = getattr(study, self.by, None)
        return value.strip() if isinstance(value, str) else ""

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        return {"stratified": self.by, **self.random.describe()}


AnyRule = SplitRule | TimeRule | FileRule | StratifiedRule


def parse_split(text: str) -> AnyRule:
    """Read ``--split``: what `SplitRule.parse` reads, ``time``, ``file:PATH``, ``stratified:FIELD[:SEED[:A/B/C]]``.

    Raises
    ------
    UsageError
        ``bad_split``, ``no_such_file``.
    InputError
        ``split_file``, ``split_conflict``.
    """
    kind, colon, rest = text.partition(":")
    if text == "time":
        return TimeRule()
    if kind == "file" and rest:
        return FileRule.read(Path(rest))
    if kind == "stratified" and colon:
        by, _, numbers = rest.partition(":")
        try:
            if by not in STRATA:
                raise ValueError
            return StratifiedRule(by, SplitRule(*parse_shares(numbers)))
        except ValueError:
            raise UsageError(
                "bad_split", "--split stratified takes site, scanner or sex, such as stratified:sex:0"
            ) from None
    return SplitRule.parse(text)

"""The dataset card: Markdown with a YAML head in the habit of Hugging Face, and a few plots beside it.

It tells numbers only: no identifier, and of patients by year, sex, age and site no cell of fewer than five
(`suppression.hidden`). Numbers of studies by split and by exclusion, of lesions and of samples are told as they are.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from petct_cli import __version__
from petct_cli.core.errors import OutputError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.records import Record, Sample, Study
from petct_cli.core.store import write_atomically
from petct_cli.dataset.card_counts import UNKNOWN, CardCounts, quantile
from petct_cli.dataset.card_plots import Series, bar_chart
from petct_cli.dataset.splits import SPLITS
from petct_cli.dataset.suppression import SMALLEST, hidden
from petct_cli.report.sites import load_sites

REGIONS = ("head_neck", "chest", "abdomen_pelvis", "whole", "unknown")
TASK_CATEGORIES = {"report": "image-to-text", "vqa": "visual-question-answering", "compare": "image-text-to-text"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGEST_SIZE = "1M<n<10M"


@cache
def _reasons() -> dict[str, str]:
    return tomllib.loads(files("petct_cli.dataset").joinpath("data/reasons.toml").read_text("utf-8"))


def card_paths(target: Path) -> tuple[Path, Path]:
    """Return where card and plots go: ``FILE.md`` and ``FILE_plots``, or ``README.md`` and ``plots`` in a folder."""
    if target.suffix.lower() in (".md", ".markdown") and not target.is_dir():
        return target, target.with_name(f"{target.stem}_plots")
    return target / "README.md", target / "plots"


class Card:
    """Counts what goes by, and writes the card after the last record.

    Parameters
    ----------
    target
        As `card_paths`.
    scratch
        A folder that goes away with the run.
    about
        How the samples were made: by option, in words.
    duplicates
        Asked at the end for numbers of duplicate reports by what they are; None where nobody looked.
    """

    def __init__(
        self,
        target: Path,
        scratch: Path,
        about: Mapping[str, Any],
        duplicates: Callable[[], Mapping[str, int] | None] = lambda: None,
    ) -> None:
        self._target = target
        self._about = dict(about)
        self._counts = CardCounts(scratch / "card.sqlite")
        self._duplicates = duplicates

    def see_study(self, study: Study) -> None:
        """Count a study that is read."""
        self._counts.see_study(study)

    def take(self, record: Record) -> Iterable[Record]:
        """Count `record` and pass it on."""
        if isinstance(record, Sample):
            self._counts.see_sample(record)
        return (record,)

    def rest(self) -> Iterator[Record]:
        """Write the card; there are no records to follow."""
        card, folder = card_paths(self._target)
        plots = draw_plots(self._counts)
        for name, data in plots.items():
            write_atomically(folder / f"{name}.png", data)
        text = card_text(self._counts, self._about, self._duplicates(), folder.name, list(plots))
        write_atomically(card, text.encode())
        try:
            for name in set(_PLOTS) - set(plots):
                (folder / f"{name}.png").unlink(missing_ok=True)
        except OSError as error:
            raise OutputError("output_failed", f"cannot write below {folder}: {error.strerror}") from None
        return iter(())

    def notes(self) -> Iterator[str]:
        """Say where the card is."""
        yield f"dataset card: {card_paths(self._target)[0]}"


def card_text(
    counts: CardCounts,
    about: Mapping[str, Any],
    duplicates: Mapping[str, int] | None,
    plot_folder: str,
    plots: Sequence[str],
) -> str:
    """Return the card as Markdown."""
    studies, patients = counts.totals()
    finished = counts.samples.total()
    tasks = [task for task in TASK_CATEGORIES if any(key[2] == task for key in counts.samples)]
    parts = [
        _head(tasks, finished),
        "# Paired PET/CT images and Vietnamese reports",
        f"{_number(studies)} FDG PET/CT studies of {_number(patients)} patients as {_number(finished)} samples: CT in "
        f"Hounsfield units and PET in {_units(counts)} on one grid, cut into regions, each with the text that speaks "
        "of it. Splits are by patient.",
        "## Splits, regions and tasks",
        _split_table(counts),
        _region_table(counts),
        "## Patients",
        f"Fewer than {SMALLEST} patients are shown as <{SMALLEST}; where such a number could be worked out from the "
        "others, one more is left out (…).",
        *_patient_tables(counts),
        "## Lesions",
        _lesion_text(counts),
        "## Text",
        _length_table(counts),
        *_task_tables(counts),
        "## Duplicate reports",
        _duplicate_text(duplicates),
        "## Exclusions",
        _exclusion_text(counts),
        "## Plots",
        "\n".join(f"![{_PLOTS[name]}]({plot_folder}/{name}.png)" for name in plots) or "Nothing to plot.",
        "## How it was made",
        f"By `petct pair` {__version__} with "
        + ", ".join(f"{name} `{value}`" for name, value in about.items())
        + f" (options sha256 `{sha256_json(dict(about))[:16]}`). Records name the hashes of what they were made from.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(tasks: Sequence[str], samples: int) -> str:
    size = next((name for limit, name in _SIZES if samples < limit), _LARGEST_SIZE)
    categories = [f"- {TASK_CATEGORIES[task]}" for task in tasks]
    lines = [
        "---",
        "language:",
        "- vi",
        "# license: for whoever publishes the data to choose, such as cc-by-nc-sa-4.0",
        "pretty_name: Paired PET/CT images and Vietnamese reports",
        *(["task_categories:", *categories] if categories else []),
        "size_categories:",
        f"- {size}",
        "tags:",
        "- medical",
        "- radiology",
        "- pet-ct",
        "- fdg",
        "---",
    ]
    return "\n".join(lines)


def _units(counts: CardCounts) -> str:
    """Return what the PET is in; the most frequent first."""
    named = {"stored": "stored values that are no SUV", "Bq/ml": "Bq/ml, not SUV"}
    found = sorted(counts.units.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(found) < 2:
        return named.get(found[0][0], found[0][0]) if found else "SUVbw"
    return ", ".join(f"{named.get(unit, unit)} ({_number(number)} studies)" for unit, number in found)


def _split_table(counts: CardCounts) -> str:
    by_split = counts.by_split()
    tasks = [task for task in TASK_CATEGORIES if any(key[2] == task for key in counts.samples)]
    rows = []
    for split in (*SPLITS, "None"):
        if split not in by_split:
            continue
        studies, patients = by_split[split]
        samples = [sum(n for key, n in counts.samples.items() if (key[0], key[2]) == (split, task)) for task in tasks]
        rows.append([split if split != "None" else UNKNOWN, studies, patients, *samples])
    return _table(["split", "studies", "patients", *tasks], rows)


def _region_table(counts: CardCounts) -> str:
    regions = [name for name in REGIONS if any(key[1] == name for key in counts.samples)]
    regions += sorted({key[1] for key in counts.samples} - set(REGIONS))
    splits = [split for split in SPLITS if any(key[0] == split for key in counts.samples)]
    rows = [
        [region, *(sum(n for key, n in counts.samples.items() if key[:2] == (split, region)) for split in splits)]
        for region in regions
    ]
    return _table(["samples of region", *splits], rows)


def _patient_tables(counts: CardCounts) -> Iterator[str]:
    for column in ("year", "sex", "age", "site"):
        table = counts.patients_by(column)
        if set(table) <= {(UNKNOWN,)}:
            continue
        not_told = hidden(table)
        yield _table([column, "patients"], [[key[0], _told(key, table, not_told)] for key in sorted(table)])
    table, sexes, ages = age_by_sex(counts)
    if sexes and ages:
        not_told = hidden(table)
        yield _table(["age", *sexes], [[age, *(_told((age, sex), table, not_told) for sex in sexes)] for age in ages])


def age_by_sex(counts: CardCounts) -> tuple[dict[tuple[str, ...], int], list[str], list[str]]:
    """Return the patients by (age band, sex), every cell of the table, and the sexes and bands there are."""
    found = counts.patients_by("age", "sex")
    ages = sorted({key[0] for key in found})
    sexes = sorted({key[1] for key in found})
    if ages == [UNKNOWN] or sexes == [UNKNOWN]:
        return {}, [], []
    return {(age, sex): found.get((age, sex), 0) for age in ages for sex in sexes}, sexes, ages


def _told(key: tuple[str, ...], table: Mapping[tuple[str, ...], int], not_told: set[tuple[str, ...]]) -> str:
    if key not in not_told:
        return _number(table[key])
    return f"<{SMALLEST}" if table[key] < SMALLEST else "…"


def _lesion_text(counts: CardCounts) -> str:
    if not counts.lesions:
        return "None were counted (report samples tell them)."
    sources = {"truth": "known true lesions", "report": "FDG-avid lesions that reports state, found by rules"}
    told = " and ".join(f"{_number(number)} {sources[name]}" for name, number in sorted(counts.lesion_sources.items()))
    order = [*load_sites(), UNKNOWN]
    rows = [[site, counts.lesions[site]] for site in order if counts.lesions[site]]
    measures = [
        [name, values.total(), *(_decimal(quantile(values, share), scale) for share in (0, 0.25, 0.5, 0.75, 0.95, 1))]
        for name, values, scale in (("SUVmax", counts.suv_tenths, 10), ("size, mm", counts.millimetres, 1))
        if values
    ]
    branches = [[branch, number] for branch, number in sorted(counts.branches.items())]
    return "\n\n".join(
        part
        for part in (
            f"{told}. One on both sides counts at both.",
            _table(["site of lesion", "lesions"], rows),
            _table(["measure", "n", "min", "25 %", "median", "75 %", "95 %", "max"], measures) if measures else "",
            _table(["SUV by", "studies"], branches) if branches else "",
        )
        if part
    )


def _length_table(counts: CardCounts) -> str:
    if not counts.words:
        return "No reports were counted."
    rows = [
        [region, lengths.total(), *(quantile(lengths, share) for share in (0, 0.25, 0.5, 0.75, 0.95, 1))]
        for region, lengths in sorted(counts.words.items(), key=lambda item: _place(item[0]))
    ]
    return "Length of the reports in syllables and numbers:\n\n" + _table(
        ["region", "n", "min", "25 %", "median", "75 %", "95 %", "max"], rows
    )


def _place(region: str) -> tuple[int, str]:
    return (REGIONS.index(region) if region in REGIONS else len(REGIONS)), region


def _task_tables(counts: CardCounts) -> Iterator[str]:
    if counts.kinds:
        rows = [[kind + (f": {answer}" if answer else ""), n] for (kind, answer), n in sorted(counts.kinds.items())]
        yield _table(["kind of question", "samples"], rows)
    if counts.manners:
        names = {"follow_up": "two studies of one patient", "patients": "two patients"}
        yield _table(["comparison of", "samples"], [[names[name], n] for name, n in sorted(counts.manners.items())])


def _duplicate_text(duplicates: Mapping[str, int] | None) -> str:
    if duplicates is None:
        return "They were not looked for."
    return _table(["what", "number"], [[name, number] for name, number in sorted(duplicates.items())])


def _exclusion_text(counts: CardCounts) -> str:
    rows = []
    for stage, code, studies in counts.excluded():
        samples = sum(number for key, number in counts.failed.items() if key[:2] == (stage, code))
        rows.append([stage, f"`{code}`", _reasons().get(code, ""), studies, samples])
    return _table(["stage", "code", "reason", "studies", "samples"], rows) if rows else "None."


_PLOTS = {
    "years": "Patients by year",
    "age_sex": "Patients by age and sex",
    "sites": "Lesions by site",
    "suv_max": "SUVmax of lesions",
    "sizes": "Sizes of lesions",
    "lengths": "Lengths of reports",
}


def draw_plots(counts: CardCounts) -> dict[str, bytes]:
    """Return the plots that there are numbers for, by name; what the tables do not tell they do not, either."""
    drawn: dict[str, bytes] = {}
    years = counts.patients_by("year")
    if not set(years) <= {(UNKNOWN,)}:
        not_told = hidden(years)
        values = [None if key in not_told else years[key] for key in sorted(years)]
        drawn["years"] = bar_chart(_PLOTS["years"], [key[0] for key in sorted(years)], [Series("", values)])
    table, sexes, ages = age_by_sex(counts)
    if table:
        not_told = hidden(table)
        series = [Series(sex, [None if (age, sex) in not_told else table[age, sex] for age in ages]) for sex in sexes]
        drawn["age_sex"] = bar_chart(_PLOTS["age_sex"], ages, series, "age, years")
    if counts.lesions:
        sites = [site for site in (*load_sites(), UNKNOWN) if counts.lesions[site]]
        drawn["sites"] = bar_chart(
            _PLOTS["sites"],
            [site.replace("_", "\n") for site in sites],
            [Series("", [counts.lesions[s] for s in sites])],
        )
    lengths = sum((counts.words[region] for region in sorted(counts.words)), Counter[int]())
    for name, values_of, width, scale, axis in (
        ("suv_max", counts.suv_tenths, 10, 10, "SUVmax"),
        ("sizes", counts.millimetres, 5, 1, "mm"),
        ("lengths", lengths, 10, 1, "syllables and numbers"),
    ):
        if values_of:
            labels, bins = _binned(values_of, width, scale)
            drawn[name] = bar_chart(_PLOTS[name], labels, [Series("", bins)], axis)
    return {name: drawn[name] for name in _PLOTS if name in drawn}


def _binned(counts: Counter[int], width: int, scale: int) -> tuple[list[str], list[int]]:
    """Return equal bins from 0 to the 99.5th percentile, named by where they begin; the last holds what is above."""
    last = quantile(counts, 0.995) // width
    bins = [0] * (last + 1)
    for value, number in counts.items():
        bins[min(value // width, last)] += number
    return [f"{place * width / scale:g}" for place in range(last + 1)], bins


def _decimal(value: int, scale: int) -> str:
    return f"{value / scale:.1f}" if scale > 1 else str(value)


def _number(value: int) -> str:
    return f"{value:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---" if not place else "---:" for place in range(len(head))]]
    lines += [[_number(cell) if isinstance(cell, int) else _cell(str(cell)) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

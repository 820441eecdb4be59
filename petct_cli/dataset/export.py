"""Samples in the form of other trainers: one manifest a split, with pictures in place of volumes.

- ``trl``: ``prompt``, ``completion`` and ``images``; TRL puts its own placeholders before the first question and takes
  a literal ``<image>`` for text.
- ``swift``: ``messages`` whose first question begins with one ``<image>`` per picture, and ``images``.
- ``llamafactory``: the same, with paths relative to the folder (its ``media_dir``), and ``dataset_info.json``.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from petct_cli.core.errors import OutputError, UsageError
from petct_cli.core.records import Message, Record, Sample
from petct_cli.core.store import write_atomically
from petct_cli.dataset.pictures import PICTURES, picture_path
from petct_cli.dataset.splits import SPLITS

FORMS = ("trl", "swift", "llamafactory")
PLACEHOLDER = "<image>"
DATASET_INFO = "dataset_info.json"
# What swift and LLaMA-Factory count in texts.
_COUNTED = re.compile(r"<(image|video|audio)>")


def pictures_of(sample: Sample) -> list[str]:
    """Return the paths, below the folder of the export, of the pictures of `sample`: those of each study in turn."""
    region = sample.region.name if sample.region is not None else "unknown"
    studies = [sample.study, *([str(sample.other["study"])] if sample.other else [])]
    return [picture_path(study, region, picture) for study in studies for picture in PICTURES]


def exported(sample: Sample, form: str, folder: str) -> dict[str, Any]:
    """Return `sample` as the trainer of `form` reads it.

    Parameters
    ----------
    folder
        Folder of the export as typed, which paths begin with where the trainer has no folder of its own.
    """
    pictures = pictures_of(sample)
    if form != "llamafactory":
        pictures = [os.path.join(folder, picture) for picture in pictures]
    if form == "trl":
        turns = [{"role": turn.role, "content": _text(turn)} for turn in sample.messages]
        return {"id": sample.id, "prompt": turns[:-1], "completion": turns[-1:], "images": pictures}
    first = next((number for number, turn in enumerate(sample.messages) if turn.role == "user"), 0)
    turns = [
        {"role": turn.role, "content": PLACEHOLDER * (len(pictures) * (number == first)) + _uncounted(_text(turn))}
        for number, turn in enumerate(sample.messages)
    ]
    return {"id": sample.id, "messages": turns, "images": pictures}


def dataset_info(splits: Iterable[str]) -> dict[str, Any]:
    """Return what LLaMA-Factory must know of the manifests of `splits`."""
    return {
        f"petct_{split}": {
            "file_name": f"{split}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
        for split in splits
    }


def _text(turn: Message) -> str:
    return " ".join(str(part["text"]) for part in turn.content if part.get("type") == "text")


def _uncounted(text: str) -> str:
    return _COUNTED.sub(r"< \1>", text)


class Export:
    """Writes each finished sample that goes by into the manifest of its split; nothing is taken out of the stream.

    Parameters
    ----------
    folder
        Where the pictures are drawn (`petct_cli.dataset.pictures.draw_pictures`) and the manifests will be.
    form
        Of `FORMS`.
    scratch
        A folder that goes away with the run: the manifests appear in `folder` when they are whole, after the last
        record; those of splits that have no samples now are removed.

    Raises
    ------
    UsageError
        ``bad_export`` for another form.
    """

    def __init__(self, folder: Path, form: str, scratch: Path) -> None:
        if form not in FORMS:
            raise UsageError("bad_export", f"--export takes {', '.join(FORMS)}")
        self._folder = folder
        self._form = form
        self._scratch = scratch
        self._files: dict[str, BinaryIO] = {}
        self._counts: Counter[str] = Counter()

    def take(self, record: Record) -> Iterable[Record]:
        """Note `record` and pass it on."""
        if isinstance(record, Sample) and record.error is None and record.split is not None and record.messages:
            if record.split not in self._files:
                self._files[record.split] = (self._scratch / f"{record.split}.jsonl").open("wb")
            line = orjson.dumps(exported(record, self._form, str(self._folder)))
            self._files[record.split].write(line + b"\n")
            self._counts[record.split] += 1
        elif isinstance(record, Sample):
            self._counts["failed"] += 1
        return (record,)

    def rest(self) -> Iterator[Record]:
        """Publish the manifests; there are no records to follow."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for split in SPLITS:
                target = self._folder / f"{split}.jsonl"
                file = self._files.get(split)
                if file is None:
                    target.unlink(missing_ok=True)
                    continue
                file.close()
                _publish(self._scratch / f"{split}.jsonl", target)
        except OSError as error:
            raise OutputError("output_failed", f"cannot write below {self._folder}: {error.strerror}") from None
        info = self._folder / DATASET_INFO
        if self._form == "llamafactory":
            present = [split for split in SPLITS if split in self._files]
            write_atomically(info, orjson.dumps(dataset_info(present), option=orjson.OPT_INDENT_2) + b"\n")
        return iter(())

    def notes(self) -> Iterator[str]:
        """Say how many samples each manifest has."""
        counted = ", ".join(f"{self._counts[split]} {split}" for split in SPLITS)
        failed = f"; {self._counts['failed']} failed samples are not in it" if self._counts["failed"] else ""
        yield f"{self._form} export: {counted}{failed}"


def _publish(source: Path, target: Path) -> None:
    """Bring a finished file to its place, whole or not at all, and synced."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.tmp-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as new, source.open("rb") as old:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

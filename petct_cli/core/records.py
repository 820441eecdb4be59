"""The records that travel through a petct pipe: one frozen pydantic model per ``type``.

Optional fields are absent rather than null. Keys that a model does not know pass through. Build a record with every
field you mean to write given explicitly (``type`` and ``schema`` are filled in), change one with `with_fields`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

SCHEMA = 1

Side = Literal["left", "right", "bilateral"]
Task = Literal["report", "vqa", "compare"]
Split = Literal["train", "val", "test"]


class Part(BaseModel):
    """A piece of a record: frozen, strict, unknown keys kept."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", populate_by_name=True, serialize_by_alias=True)


class ErrorInfo(Part):
    """Why a record failed, and in which stage."""

    stage: str
    code: str
    message: str


class ProvenanceEntry(Part):
    """One stage that a record went through: what it was told and what it read, as hashes."""

    stage: str
    version: str
    options_sha256: str
    inputs_sha256: str


class Record(Part):
    """What all records share."""

    TYPE: ClassVar[str] = ""

    type: str
    schema_version: int = Field(alias="schema")
    id: str
    provenance: list[ProvenanceEntry] = []
    error: ErrorInfo | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_constants(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.TYPE:
            data = {"type": cls.TYPE, "schema": SCHEMA, **data}
        return data

    def with_fields(self, **fields: Any) -> Self:
        """Return a copy with `fields` replaced (values are trusted, not validated again)."""
        return self.model_copy(update=fields)

    def failed(self, stage: str, code: str, message: str) -> Self:
        """Return this record marked as failed in `stage`; its identity and everything else stay."""
        return self.with_fields(error=ErrorInfo(stage=stage, code=code, message=message))

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values, without the fields that were never set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Series(Part):
    """One DICOM series of a study."""

    modality: str
    dir: str | None = None
    files: list[str] | None = None
    role: str | None = None
    set_aside: str | None = None


class Translation(Part):
    """A report in another language: where it lies, if anywhere, and its text by section."""

    path: str | None = None
    sha256: str | None = None
    sections: dict[str, str] = {}


class ReportRef(Part):
    """The report of a study: where it lies and its text by section (section name -> text).

    Attributes
    ----------
    translations
        The same report in other languages, by language (``en``).
    """

    path: str | None = None
    sha256: str | None = None
    lang: str = "vi"
    sections: dict[str, str] = {}
    translations: dict[str, Translation] | None = None


class Lesion(Part):
    """One lesion as a fact, not as text. `site` is a key of ``report/data/sites.toml``."""

    site: str
    side: Side | None = None
    size_mm: float | None = None
    suv_max: float | None = None
    centre_mm: list[float] | None = None


class Truth(Part):
    """Where the true lesions of a phantom lie."""

    lesions: str


class Geometry(Part):
    """Verdict on the slice positions of a series."""

    verdict: str
    deviation_mm: float | None = None


class Suv(Part):
    """How stored PET values became SUV; `inputs` holds no identifiers."""

    type: str
    branch: str
    factor: float | None = None
    per_slice: list[float] | None = None
    inputs: dict[str, Any] = {}
    assumed: list[str] = []


class Volume(Part):
    """A volume on disk: axes (z, y, x), z towards the head; `affine` maps index (z, y, x, 1) to LPS mm.

    Data without geometry have null for `spacing_mm` and `affine`.
    """

    path: str
    sha256: str
    shape: list[int]
    spacing_mm: list[float] | None
    affine: list[list[float]] | None = None
    unit: str
    dtype: str
    geometry: Geometry | None = None
    suv: Suv | None = None


class Preview(Part):
    """The small picture of a study's volumes; `sha256` is of its pixels, as a volume's is of its voxels."""

    path: str
    sha256: str


class ReviewSpan(Part):
    """Characters of a clean section that a person should look at, and the code of why; never the text."""

    section: str
    start: int
    end: int
    reason: str


class ReportSource(Part):
    """Which report a study got: by what evidence, and its fingerprint under the key."""

    by: str
    fingerprint: str


class Deid(Part):
    """What de-identification did to a study: counts and places, no values."""

    profile: str
    edition: str
    key_id: str
    counts: dict[str, int] = {}
    quarantined: list[dict[str, Any]] = []
    face: str | None = None
    review: list[ReviewSpan] | None = None
    report_source: ReportSource | None = None


@dataclass(frozen=True)
class Placement:
    """What was decided of a study when all studies were seen: in memory only, never written.

    Attributes
    ----------
    group
        Name of the group of patients whose reports say the same, None for a patient without such company.
    across
        The splits that the group stands in, when it was left where it is.
    fault
        Code and message of why there is no split.
    report_fault
        Code and message of why the report that matches this study is not its own.
    """

    split: Split | None = None
    group: str | None = None
    across: list[str] | None = None
    fault: tuple[str, str] | None = None
    report_fault: tuple[str, str] | None = None


class Study(Record):
    """One PET/CT study.

    Attributes
    ----------
    accession
        Pseudonym of its accession number under the key of `deid`; petct itself never writes the number.
    scanner
        Manufacturer and model. There is no such field for the institution, which identifies: ``site`` is the user's.
    """

    TYPE: ClassVar[str] = "study"

    patient: str | None = None
    accession: str | None = None
    study_date: str | None = None
    dates: Literal["full", "shifted", "none"] | None = None
    period: str | None = None
    sex: str | None = None
    age: str | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    scanner: str | None = None
    series: list[Series] = []
    report: ReportRef | None = None
    deid: Deid | None = None
    ct: Volume | None = None
    pet: Volume | None = None
    preview: Preview | None = None
    truth: Truth | None = None
    _placement: Placement | None = PrivateAttr(default=None)

    @property
    def placement(self) -> Placement | None:
        """What was decided of this study when all were seen, None when each goes by itself."""
        return self._placement

    def placed(self, placement: Placement) -> Study:
        """Return a copy of which `placement` was decided."""
        copy = self.model_copy()
        copy._placement = placement
        return copy


class Region(Part):
    """The part of the body that a sample covers; `z` is a half-open slice range."""

    name: str
    method: str
    z: list[int]
    z_mm: list[float] | None
    partial: bool
    warning: str | None = None


class Image(Part):
    """One volume that a sample shows to the model, and the slices of it that are meant."""

    path: str
    modality: str
    sha256: str
    z: list[int] | None = None


class Message(Part):
    """One chat turn; content is a list of ``{"type": "image"}`` and ``{"type": "text", "text": ...}`` parts."""

    role: Literal["system", "user", "assistant"]
    content: list[dict[str, Any]]


class Sample(Record):
    """One image-text pair: a study, a region and a task.

    `question` says what is asked in a VQA sample and what is right, `other` which study is compared with this one.
    """

    TYPE: ClassVar[str] = "sample"

    study: str
    patient: str
    region: Region | None = None
    split: Split | None = None
    task: Task = "report"
    images: list[Image] = []
    messages: list[Message] = []
    reference: str | None = None
    lesions: list[Lesion] | None = None
    question: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    duplicate_group: str | None = None
    duplicate_across: list[str] | None = None
    parent: str | None = None
    methods: list[str] | None = None
    image_recipe: dict[str, Any] | None = None
    hypothesis: str | None = None
    decoding: dict[str, Any] | None = None


class SliceRegion(Part):
    """A region that a slice lies in, and how it was found."""

    name: str
    method: str
    partial: bool


class SlicePair(Record):
    """A CT slice and the PET slice in the same place: number `z` of the volumes, `z_mm` along the body in LPS mm.

    `z_mm` is None where the volumes have no geometry.
    """

    TYPE: ClassVar[str] = "slice"

    study: str
    patient: str
    split: Split | None = None
    z: int
    z_mm: float | None
    regions: list[SliceRegion] = []
    images: list[Image] = []


class Checkpoint(Record):
    """A trained model folder."""

    TYPE: ClassVar[str] = "checkpoint"

    id: str = ""
    path: str
    sha256: str
    stage: str
    recipe: str
    metrics: dict[str, float] = {}


class Crosswalk(Record):
    """A line of the re-identification table: sealed, or opened again by who holds the key file."""

    TYPE: ClassVar[str] = "crosswalk"

    patient: str
    key_id: str
    sealed: str | None = None
    patient_id: str | None = None
    issuer: str | None = None
    study_instance_uid: str | None = None
    accession_number: str | None = None
    study_date: str | None = None
    day_offset: int | None = None
    source: str | None = None


class AnyRecord(Record):
    """A JSON object of unknown make (``petct score`` reads files that petct never wrote)."""

    type: str = ""
    schema_version: int = Field(default=SCHEMA, alias="schema")
    id: str = ""

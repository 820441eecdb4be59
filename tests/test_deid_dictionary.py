"""The tables read without pydicom say what pydicom says."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, dictionary_has_tag, dictionary_VR, repeater_has_tag
from pydicom.uid import UID_dictionary

from petct_cli.dicom.deid.dictionary import dictionary_vr
from petct_cli.dicom.deid.vrs import is_known, is_standard_uid

TAGS = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from(sorted(DicomDictionary)),
    st.builds(
        lambda group, place, element: group << 24 | place << 16 | element,
        st.sampled_from([0x50, 0x60, 0x70, 0x7F, 0x10, 0x20, 0x28]),
        st.integers(0, 255),
        st.integers(0, 0x3000),
    ),
)


@given(TAGS)
@example(0x60000010)
@example(0x60220010)
@example(0x50010005)
@example(0x60010010)
@example(0x00203101)
def test_a_tag_has_the_vr_that_pydicom_gives_it(tag: int) -> None:
    try:
        expected = dictionary_VR(tag)
    except KeyError:
        expected = None
    assert dictionary_vr(tag) == expected
    assert is_known(tag) == (dictionary_has_tag(tag) or repeater_has_tag(tag))


def test_every_registered_uid_is_known() -> None:
    assert all(map(is_standard_uid, UID_dictionary))
    assert not is_standard_uid("1.2.840.10008.9.9.9.9")


def test_the_tables_need_no_pydicom() -> None:
    script = (
        "import sys; from petct_cli.dicom.deid.dictionary import dictionary_vr, standard_uids\n"
        "found = dictionary_vr(0x60020010), dictionary_vr(0x00100010), '1.2.840.10008.1.2' in standard_uids()\n"
        "print(*found, 'pydicom' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["US", "PN", "True", "False"]

"""What a package may be, and what is refused before anything is unpacked."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regatta.rayjobs.packages import MIB, BadPackage, Facts, Flaw, Limits, check_zip, pack_script
from regatta.storage.objects import FolderStore, TooLarge


def a_zip(*members, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def a_member(name, kind=stat.S_IFREG):
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = (kind | 0o644) << 16
    return info


def check(packed, **limits):
    return check_zip(io.BytesIO(packed), limits=Limits(**limits))


def refused(packed, **limits):
    with pytest.raises(BadPackage) as refusal:
        check(packed, **limits)
    return refusal.value.flaw


def test_an_ordinary_package_is_accepted():
    packed = a_zip(("main.py", "print(1)"), ("lib/", ""), ("lib/数据.py", "x = 1"))
    assert check(packed) == Facts(members=3, unpacked_bytes=13)


def test_an_empty_package_is_accepted():
    assert check(a_zip()) == Facts(members=0, unpacked_bytes=0)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "..", "/etc/passwd", "//x", "C:/x", "c:x", "a/.."],
)
def test_a_name_that_leaves_its_folder_is_refused(name):
    assert refused(a_zip((a_member(name), b""))) is Flaw.TRAVERSAL


@pytest.mark.parametrize(
    "name",
    [
        "..\\x",
        "a\\b",
        "a\nb",
        "a\x7f",
        "a\x00.py",
        "\u202egpj.py",
        "a\u2066b",
        "cafe\u0301.py",  # not composed
        "n" * 256,
        "/".join(["d" * 100] * 11),
        ".",
    ],
)
def test_a_name_that_misleads_is_refused(name):
    assert refused(a_zip((a_member(name), b""))) is Flaw.BAD_NAME


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_links_and_devices_are_refused(kind):
    assert refused(a_zip((a_member("x", kind), b"/etc/passwd"))) is Flaw.LINK


@pytest.mark.parametrize(
    "names",
    [("a.py", "a.py"), ("A.py", "a.py"), ("ß", "ss"), ("a", "a/b"), ("a/b", "a"), ("a", "A/")],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_names_for_one_place_are_refused(names):
    assert refused(a_zip(*((a_member(name), b"") for name in names))) is Flaw.TWICE


def test_more_members_than_allowed_are_refused():
    packed = a_zip(*((f"{number}", b"") for number in range(4)))
    assert refused(packed, members=3) is Flaw.TOO_MANY_MEMBERS
    assert check(packed, members=4).members == 4


def test_a_directory_that_hides_its_members_is_refused_before_it_is_read():
    packed = bytearray(a_zip(*((f"{number}", b"") for number in range(4))))
    at = packed.rfind(b"PK\x05\x06")
    packed[at + 8 : at + 12] = struct.pack("<HH", 1, 1)  # it says one, and holds four
    assert refused(bytes(packed), members=3) is Flaw.TOO_MANY_MEMBERS


def test_a_zip64_directory_is_refused_before_it_is_read():
    packed = a_zip(("a", b""))
    at = packed.rfind(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 1 << 40, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    assert refused(packed[:at] + record + locator + packed[at:]) is Flaw.TOO_MANY_MEMBERS


def zeros(size_bytes, **limits):
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros", "w") as member,
    ):
        for _ in range(size_bytes // MIB):
            member.write(bytes(MIB))
    return packed.getvalue()


def declaring(size_bytes):
    """A zip of a little content whose headers say that it is `size_bytes` long."""
    packed = bytearray(a_zip(("zeros", b"0" * 1000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = packed.rfind(signature) + offset
        packed[at : at + 4] = struct.pack("<I", size_bytes)
    return bytes(packed)


def test_fifty_mebibytes_of_zeros_are_refused():
    assert refused(zeros(50 * MIB)) is Flaw.BOMB


def test_a_bomb_is_refused_by_its_headers_and_not_read():
    assert refused(declaring((2 << 30) + 1)) is Flaw.TOO_LARGE
    assert refused(declaring(2 << 30)) is Flaw.BOMB
    assert refused(declaring(2 * MIB)) is Flaw.BOMB


@pytest.mark.parametrize("size_bytes", [999, 1001])
def test_headers_that_lie_about_the_length_are_found_by_reading(size_bytes):
    assert refused(declaring(size_bytes)) is Flaw.DAMAGED


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_follows_the_said_length_is_found_and_not_inflated(monkeypatch, method):
    packed = a_zip(("zeros", bytes(8 * MIB)), method=method)
    size = struct.pack("<L", 8 * MIB)
    said = (
        packed.replace(size, struct.pack("<L", 1))
        if method
        else packed.replace(
            size + struct.pack("<H", 5), struct.pack("<L", 1) + struct.pack("<H", 5)
        )
    )
    said = said.replace(
        struct.pack("<L", zlib.crc32(bytes(8 * MIB))), struct.pack("<L", zlib.crc32(b"\0"))
    )
    most = 0
    read = zipfile.ZipExtFile.read

    def watched(self, n=-1):
        nonlocal most
        most = max(most, n)
        return read(self, n)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    assert refused(said) == Flaw.DAMAGED
    assert most < MIB


def test_a_small_file_of_one_letter_is_not_called_a_bomb():
    assert check(a_zip(("a.txt", b"0" * 900_000))).unpacked_bytes == 900_000


def test_what_is_encrypted_is_refused():
    packed = bytearray(a_zip(("a", b"x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.rfind(signature) + offset] |= 1
    assert refused(bytes(packed)) is Flaw.ENCRYPTED


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_is_not_usual_is_refused(method):
    assert refused(a_zip(("a", b"x"), method=method)) is Flaw.METHOD


def test_a_damaged_member_is_found_by_reading():
    packed = bytearray(a_zip(("a", b"some content"), method=zipfile.ZIP_STORED))
    packed[packed.find(b"some")] ^= 1
    assert refused(bytes(packed)) is Flaw.DAMAGED


def a_tar():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("main.py"))
    return packed.getvalue()


@pytest.mark.parametrize("packed", [b"", b"PK", b"PK\x05\x06", b"print(1)" * 9999, a_tar()])
def test_what_is_no_zip_is_refused(packed):
    assert refused(packed) is Flaw.NOT_A_ZIP


@given(st.binary(max_size=400), st.data())
def test_no_bytes_raise_anything_else(noise, data):
    packed = bytearray(a_zip(("main.py", b"print(1)"), ("lib/a.py", b"x" * 50)))
    at = data.draw(st.integers(0, len(packed)))
    packed[at : at + len(noise)] = noise
    with suppress(BadPackage):
        check(bytes(packed))


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_accepted_stays_in_its_folder(first, second):
    try:
        check(a_zip((a_member(f"{first}/{second}"), b"")))
    except (BadPackage, UnicodeEncodeError):
        return
    parts = f"{first}/{second}".split("/")
    assert ".." not in parts
    assert not f"{first}/{second}".startswith("/")


def test_a_script_is_packed_the_same_every_time():
    packed = pack_script("print('数')")
    assert packed == pack_script("print('数')")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.read("main.py").decode() == "print('数')"
    assert check(packed).members == 1


def files_under(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_an_object_is_kept_by_what_it_is_and_once(tmp_path):
    store = FolderStore(tmp_path)
    for _ in range(2):
        with store.receive([b"ab", b"c"], max_bytes=3) as draft:
            assert (draft.file.read(), draft.size_bytes) == (b"abc", 3)
            address = store.keep(draft)
    assert address == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert store.local_path(address).read_bytes() == b"abc"
    assert files_under(tmp_path) == [address]


def test_what_a_file_system_leaves_beside_an_object_is_none(tmp_path):
    store = FolderStore(tmp_path)
    with store.receive([b"abc"], max_bytes=3) as draft:
        address = store.keep(draft)
    store.local_path(address).with_name(".nfs00000001").touch()
    assert list(store.addresses()) == [address]


def test_a_draft_that_was_not_kept_leaves_nothing(tmp_path):
    with FolderStore(tmp_path).receive([b"abc"], max_bytes=3):
        pass
    assert files_under(tmp_path) == []


def test_too_many_bytes_are_refused_as_they_come_and_leave_nothing(tmp_path):
    came = []

    def endless():
        while True:
            came.append(1)
            yield b"abc"

    with pytest.raises(TooLarge), FolderStore(tmp_path).receive(endless(), max_bytes=8):
        pass
    assert len(came) == 3
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "a" * 63, "A" * 64])
def test_an_address_is_nothing_but_an_address(tmp_path, address):
    with pytest.raises(ValueError, match="not an address"):
        FolderStore(tmp_path).local_path(address)


def test_an_object_that_is_not_there_is_not_found_and_may_be_deleted(tmp_path):
    store = FolderStore(tmp_path)
    store.delete("a" * 64)
    with pytest.raises(FileNotFoundError):
        store.local_path("a" * 64)

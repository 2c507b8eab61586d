"""Looks through an uploaded package before anything is unpacked, and packs a single script.

A package is a zip file. Nothing of it is ever written to disk here or run.
"""

from __future__ import annotations

import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import IO

from regatta.rayjobs.names import plain

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a package may be. The ratio counts only above `ratio_from_bytes` of content."""

    packed_bytes: int = 512 * MIB
    unpacked_bytes: int = 2048 * MIB
    members: int = 10_000
    ratio: int = 100
    ratio_from_bytes: int = MIB
    name_bytes: int = 1024
    part_bytes: int = 255


class Flaw(StrEnum):
    NOT_A_ZIP = "not_a_zip"
    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    METHOD = "unknown_compression"
    TOO_MANY_MEMBERS = "too_many_members"
    TOO_LARGE = "too_large_unpacked"
    BOMB = "compressed_too_much"
    BAD_NAME = "bad_name"
    TRAVERSAL = "leaves_its_folder"
    LINK = "link_or_device"
    TWICE = "name_twice"


class BadPackage(Exception):
    """The package is not accepted; `member` is the name at fault, if one is."""

    def __init__(self, flaw: Flaw, member: str = "") -> None:
        super().__init__(f"{flaw}: {member!a}" if member else str(flaw))
        self.flaw, self.member = flaw, member


@dataclass(frozen=True, slots=True)
class Facts:
    members: int
    unpacked_bytes: int


def check_zip(file: IO[bytes], *, limits: Limits = Limits()) -> Facts:  # frozen
    """Look through a zip file, headers first, then every byte of its content.

    Raises: BadPackage.
    """
    packed_bytes = _size(file)
    _check_end_record(file, packed_bytes, limits)
    try:
        with zipfile.ZipFile(file) as archive:
            facts = _check_headers(archive.infolist(), packed_bytes, limits)
            for info in archive.infolist():
                _read_through(archive, info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as trouble:
        raise BadPackage(Flaw.DAMAGED) from trouble
    except NotImplementedError as trouble:
        raise BadPackage(Flaw.METHOD) from trouble
    return facts


def pack_script(source: str, *, name: str = "main.py") -> bytes:
    """A package of one file; the same source gives the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        info.external_attr = (stat.S_IFREG | 0o644) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, source)
    return packed.getvalue()


def _size(file: IO[bytes]) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


_END, _END_BYTES, _LOCATOR64 = b"PK\x05\x06", 22, b"PK\x06\x07"
_HEADER_BYTES = 46 + 2048  # of one member in the directory, with room for its name and extras


def _check_end_record(file: IO[bytes], packed_bytes: int, limits: Limits) -> None:
    """Read the record at the end, so that a huge directory is refused before it is parsed."""
    tail_bytes = min(packed_bytes, _END_BYTES + 65_535)
    file.seek(packed_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES or not tail:
        raise BadPackage(Flaw.NOT_A_ZIP)
    members = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
    large = tail[at - 20 : at - 16] == _LOCATOR64  # only beyond what is allowed anyway
    if large or members > limits.members or directory_bytes > limits.members * _HEADER_BYTES:
        raise BadPackage(Flaw.TOO_MANY_MEMBERS)


def _check_headers(infos: list[zipfile.ZipInfo], packed_bytes: int, limits: Limits) -> Facts:
    if len(infos) > limits.members:
        raise BadPackage(Flaw.TOO_MANY_MEMBERS)
    files: set[str] = set()
    folders: set[str] = set()
    total = 0
    for info in infos:
        _check_kind(info)
        name = info.orig_filename
        _check_name(name, limits)
        _check_once(name, files, folders)
        total += info.file_size
        if total > limits.unpacked_bytes:
            raise BadPackage(Flaw.TOO_LARGE)
    if total > limits.ratio_from_bytes and total > limits.ratio * packed_bytes:
        raise BadPackage(Flaw.BOMB)
    return Facts(len(infos), total)


def _check_kind(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadPackage(Flaw.LINK, name)
    if info.flag_bits & 0x1:
        raise BadPackage(Flaw.ENCRYPTED, name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadPackage(Flaw.METHOD, name)


def _check_name(name: str, limits: Limits) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or name[1:2] == ":":
        raise BadPackage(Flaw.TRAVERSAL, name)
    odd = plain(name) != name
    encoded = name.encode("utf-8", "surrogatepass")
    long = len(encoded) > limits.name_bytes or any(
        len(part.encode("utf-8", "surrogatepass")) > limits.part_bytes for part in parts
    )
    if not parts or odd or long or "\\" in name or not unicodedata.is_normalized("NFC", name):
        raise BadPackage(Flaw.BAD_NAME, name)


def _check_once(name: str, files: set[str], folders: set[str]) -> None:
    """No two names that some file system takes for one, and no file that is also a folder."""
    path = PurePosixPath(unicodedata.normalize("NFC", name.casefold()))
    own, parents = str(path), {str(parent) for parent in path.parents} - {"."}
    is_folder = name.endswith("/")
    if own in files or (own in folders and not is_folder) or files & parents:
        raise BadPackage(Flaw.TWICE, name)
    (folders if is_folder else files).add(own)
    folders |= parents


def _read_through(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Count what really comes out; the length and checksum of the header must be true.

    zipfile gives no more than the header says, whatever follows: it is told of one byte more, and
    asked for no more at once, for it inflates all that it is asked for.
    """
    said = info.file_size
    info.file_size += 1
    with archive.open(info) as member:
        if sum(map(len, _chunks(member, most=said + 1))) != said:
            raise BadPackage(Flaw.DAMAGED, info.orig_filename)


def _chunks(file: IO[bytes], *, most: int) -> Iterator[bytes]:
    while most and (chunk := file.read(min(MIB, most))):
        most -= len(chunk)
        yield chunk

"""The bytes of a checkpoint: a digest over all of them, and what is looked at before it is loaded.

A checkpoint is what ``torch.save`` writes, a zip archive, so ``torch.load`` reads it without this
program. The digest stands in the archive's comment, the one part of a zip archive that comes after
everything else: it covers every byte before it, the length of the comment included.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickletools
import re
import zipfile
from typing import Any, BinaryIO

_MAGIC = b"moco-tui blake2b "
_DIGEST = 64  # characters; hexadecimal, so that no "PK" of the archive's end can be among them
_END = b"PK\x05\x06"
_END_BYTES = 22  # of the record at the end of an archive without its comment
_BLOCK = 1 << 22
_LARGEST_PICKLE = 1 << 25  # bytes; that of a ResNet-50 has 100,000

# Rebuilding tensors, and the builtin values that torch's own unpickler makes by name.
_GLOBALS = re.compile(
    r"torch \w+Storage|torch\.storage (Typed|Untyped)Storage|torch(\._utils)? _rebuild_parameter"
    r"|torch\._utils _rebuild_tensor_v[23]|torch (Size|device|[a-z]+\d+\w*)|collections OrderedDict"
)
# All that pickle writes in protocol 2 for such values.
_OPCODES = re.compile(
    "PROTO|STOP|MARK|GLOBAL|BINPERSID|REDUCE|BUILD|NONE|NEWTRUE|NEWFALSE|BININT[12]?|LONG1|BINFLOAT"
    "|BINUNICODE|EMPTY_(DICT|LIST|TUPLE)|TUPLE[123]?|SETITEMS?|APPENDS?|(LONG_)?BIN(PUT|GET)"
)
_KEYS = frozenset(("BINUNICODE", "BININT", "BININT1", "BININT2"))


class DamagedArchiveError(Exception):
    """Bytes that are no whole checkpoint."""


class ForeignArchiveError(Exception):
    """A whole archive that holds what no checkpoint does."""


def seal(archive: memoryview) -> bytes:
    """The comment to append to an archive; its length is put into the archive.

    Args:
        archive: what ``torch.save`` wrote, writable.

    Raises:
        ValueError: when it does not end as an archive without a comment does.
    """
    if not _ends_plainly(archive):
        raise ValueError("it is no zip archive, or one with a comment")
    archive[-2:] = (len(_MAGIC) + _DIGEST).to_bytes(2, "little")
    digest = hashlib.blake2b(archive, digest_size=_DIGEST // 2)
    digest.update(_MAGIC)
    return _MAGIC + digest.hexdigest().encode()


def holds_seal(file: int, seal_: bytes) -> bool:
    """Whether the bytes of a file have the digest that stands at their end, and it is this one.

    Args:
        file: descriptor, read from its start; the system is asked to take the bytes from the disk.
        seal_: what ``seal`` gave.

    Raises:
        OSError: when it cannot be read.
    """
    if hasattr(os, "posix_fadvise"):  # a hint: some file systems have no other place than memory
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    left = os.fstat(file).st_size - _DIGEST
    digest = hashlib.blake2b(digest_size=_DIGEST // 2)
    os.lseek(file, 0, os.SEEK_SET)
    while left > 0 and (block := os.read(file, min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    ours = digest.hexdigest().encode()
    return left == 0 and os.read(file, _DIGEST + 1) == ours == seal_[-_DIGEST:]


def check_archive(data: bytes) -> bool:
    """Looks at everything before any of it is unpickled.

    Returns:
        Whether the bytes have a digest. Without one (version 0.1 wrote none) they are at least an
        archive that ends as such a one does, whose members have the checksums that zip gives them.

    Raises:
        DamagedArchiveError: when the digest or a checksum is wrong, or it is no archive.
        ForeignArchiveError: when the bytes are whole and no checkpoint.
    """
    sealed = _is_sealed(data)
    # What has a comment had a digest: a damaged one must not make it pass for an older file.
    if not sealed and not _ends_plainly(memoryview(data)):
        raise DamagedArchiveError("the digest is wrong")
    try:
        # BytesIO shares the memory of bytes.
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if not sealed and archive.testzip() is not None:  # torch looks at no checksum
                raise DamagedArchiveError("a checksum is wrong")
            check_pickle(_pickle_in(archive, len(data)))
    except (ForeignArchiveError, DamagedArchiveError):
        raise
    except Exception as error:  # zipfile raises nearly anything for malformed bytes
        raise DamagedArchiveError("it is no zip archive") from error
    return sealed


def check_members(archive: BinaryIO) -> None:
    """Looks at what ``torch.save`` has just written.

    Raises:
        ForeignArchiveError: when it holds what ``check_archive`` refuses.
    """
    size = archive.seek(0, os.SEEK_END)
    with zipfile.ZipFile(archive) as members:
        check_pickle(_pickle_in(members, size))


def _is_sealed(data: bytes) -> bool:
    view = memoryview(data)
    if view[-_DIGEST - len(_MAGIC) : -_DIGEST] != _MAGIC:
        return False
    digest = hashlib.blake2b(view[:-_DIGEST], digest_size=_DIGEST // 2).hexdigest()
    return view[-_DIGEST:] == digest.encode()


def _ends_plainly(archive: memoryview) -> bool:
    """Whether the archive's end is that of one without a comment."""
    end = archive[-_END_BYTES:]
    return len(end) == _END_BYTES and end[:4] == _END and bytes(end[-2:]) == bytes(2)


def _pickle_in(archive: zipfile.ZipFile, size: int) -> bytes:
    """The pickle in an archive of ``size`` bytes.

    Raises:
        ForeignArchiveError: it is not such an archive as ``torch.save`` writes.
    """
    members = archive.infolist()
    names = {member.filename for member in members}
    top = members[0].filename.partition("/")[0] if members else ""
    name = f"{top}/data.pkl"
    if (
        len(names) < len(members)  # which of two of a name is read differs from reader to reader
        or any(member.compress_type or member.flag_bits & 1 for member in members)
        or not all(member.startswith(f"{top}/") for member in names)
        # Members that share bytes would be more together than the file.
        or sum(member.file_size for member in members) > size
        or name not in names
        or f"{top}/constants.pkl" in names  # of TorchScript
        or archive.getinfo(name).file_size > _LARGEST_PICKLE
    ):
        raise ForeignArchiveError("its members are not those of a checkpoint")
    return archive.read(name)


def check_pickle(pickled: bytes) -> None:
    """Refuses a pickle of anything but tensors, numbers, texts, and lists and dicts of these.

    Nothing is unpickled. torch's own unpickler runs no code either, but it makes what it is told
    to: a ``bytearray`` of any length, or a dict whose key is a tuple that takes years to hash.

    Raises:
        ForeignArchiveError: when it has something else, or is no pickle.
    """
    stack: list[str] = []  # for each thing that would lie there, by what it was made
    memo: dict[Any, str] = {}
    try:
        last = 0
        for opcode, argument, position in pickletools.genops(pickled):
            name, last = opcode.name, position or 0
            known = _GLOBALS.fullmatch(str(argument)) if name == "GLOBAL" else True
            if not known or not _OPCODES.fullmatch(name) or (name == "PROTO" and argument != 2):
                raise ForeignArchiveError("it holds other things than a checkpoint does")
            if name.endswith("BINPUT"):
                if stack[-1] == "MARK":
                    raise ValueError("a mark is no value")
                memo[argument] = stack[-1]
            elif name.endswith("BINGET"):
                stack.append(memo[argument])
            elif name == "GLOBAL":
                stack.append(str(argument))
            else:
                _apply(opcode, stack)
        if last != len(pickled) - 1:
            raise ForeignArchiveError("something stands behind its pickle")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError) as error:
        raise ForeignArchiveError("it is no pickle") from error


def _apply(opcode: pickletools.OpcodeInfo, stack: list[str]) -> None:
    """Does to the stack what an opcode does.

    Raises:
        ForeignArchiveError: when it would make a dict with other keys than texts and numbers.
        ValueError: when the stack does not hold what the opcode takes.
    """
    name = opcode.name
    if name in ("SETITEMS", "APPENDS", "TUPLE"):
        mark = len(stack) - 1 - stack[::-1].index("MARK")
        items = stack[mark + 1 :]
        del stack[mark:]
        keys = items[::2] if name == "SETITEMS" else []
        if name == "TUPLE":
            stack.append("BUILT")
    else:
        taken = len(opcode.stack_before)
        items = stack[len(stack) - taken :] if taken else []
        if len(items) < taken or "MARK" in items:
            raise ValueError("too little on the stack")
        del stack[len(stack) - len(items) :]
        keys = items[1:2] if name == "SETITEM" else []
        if name == "REDUCE" and items[0].startswith("collections") and items[1] != "EMPTY_TUPLE":
            raise ForeignArchiveError("it makes a dict of other things")
        if opcode.stack_after:
            stack.append("BUILT" if taken else name)
    if not _KEYS.issuperset(keys):
        raise ForeignArchiveError("a key in it is neither a text nor a number")

"""The history: all runs of a folder, listed, searched, annotated, deleted and restored.

The run folders are the source of truth. Beside them a TinyDB index (``history.json``) keeps one
small document a run, so that a list of thousands of runs need not read thousands of records.
Whatever happens to the index, the next list is right: it compares the stamp of every folder with
that of its entry and reads what differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from tinydb.queries import QueryLike
from tinydb.table import Document

from engine.errors import RunBusyError, RunError
from engine.files import is_gone, reason
from engine.history.entry import Entry, counted, read_counted, to_document
from engine.history.keys import metric_names, sort_entries
from engine.history.reconciled_index import ReconciledIndex
from engine.history.storage import KeyedTable
from engine.history.trash import Trash
from engine.runs.folder import NOTES_SECONDS, RunFolder
from engine.runs.folder_size import size_of
from engine.runs.record import ACTIVE, UserNotes
from engine.runs.run_lock import RunLock
from engine.text import clean_text

Entries = list[Entry]
Documents = list[Document]


class History:
    """The runs of one folder. One thread at a time may use an object.

    Args:
        root: the folder of the run folders; it need not exist.
        read_only: write nothing, not even the index.
        timeout: seconds that a change of the index waits for other processes.
    """

    def __init__(self, root: Path, *, read_only: bool = False, timeout: float = 10.0) -> None:
        self.root = root
        self.trashed = Trash(root)
        """The trash: since when what lies in it, how large it is, what is left of removals."""
        self._index = ReconciledIndex(root, read_only=read_only, timeout=timeout)

    @property
    def read_only(self) -> bool:
        """True when nothing is written, by the argument."""
        return self._index.read_only

    @property
    def notices(self) -> list[str]:
        """Lines for the person (an index that was rebuilt, or could not be written).

        The caller that shows them clears the list.
        """
        return self._index.notices

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for each entry of the folder that the last list could not look at."""
        return self._index.left_out

    @property
    def table(self) -> KeyedTable:
        """The TinyDB table of the index: one document a run, under the run's id."""
        return self._index.table

    # -------------------------------------------------------------------------------- reading

    def list(self, query: str = "", *, sort: str = "-created") -> Entries:
        """The runs that a filter lets through, as they are now.

        Args:
            query: see ``engine.history.filters``; empty for all.
            sort: a column, a config key or a metric; with ``-`` before it the largest first. Runs
                without the value come last.

        Raises:
            ConfigError: when the filter or the sort key cannot be understood.
            RunError: when the folder cannot be read.
        """
        entries = self._index.refresh()
        shown = [self._shown(entry) for entry in entries.values()]
        if query.strip():
            # The first screen filters nothing, and every import delays it.
            from engine.history.filters import parse_filter

            matches = parse_filter(query, metrics=metric_names(shown))
            shown = [entry for entry in shown if matches(entry)]
        return sort_entries(shown, sort)

    def count_sizes(self, *, again: bool = False) -> None:
        """Count the files of the runs whose size is not known, or was that of an earlier state.

        A list never does it by itself: it would look at every file of ten thousand runs.

        Args:
            again: count all of them.

        Raises:
            RunError: when the folder cannot be read.
        """
        entries = self._index.refresh()
        wanted = [entry for entry in entries.values() if again or needs_count(entry)]
        self.note_sizes(counted(entry, size_of(self.root / entry.id)) for entry in wanted)

    def note_sizes(self, found: Iterable[Entry]) -> None:
        """Keep the sizes of entries that were counted; the next list writes them into the index."""
        self._index.note_sizes({entry.id: entry for entry in found})

    def check_readable(self) -> None:
        """Refuse to go on where the last list may lack a run that is there.

        For those who compute what the history lacks: a run that cannot be read now (the network,
        another user's rights) is not missing.

        Raises:
            RunError: when a record could not be read, or the folder of a run not looked into.
        """
        self._index.check_readable()

    def get(self, id_: str) -> Entry:
        """The entry of one run.

        Raises:
            RunError: when there is no run of that id.
        """
        return self._shown(self._read(id_))

    def _read(self, id_: str) -> Entry:
        entry = read_counted(self.folder(id_))
        if entry is None:
            raise RunError(f"There is no run {id_} in {self.root}.")
        return entry

    def search(self, condition: QueryLike) -> Documents:
        """Documents of the index that a TinyDB query matches, after bringing it up to date.

        Documents hold recorded states; ``lost`` is derived by ``list`` and ``get`` only.

        Args:
            condition: such as ``where("kind") == "probe"``.
        """
        entries = self._index.refresh()
        if not self._index.is_saved:  # it could not be written: answer from memory
            found = ((e.id, to_document(e)) for e in entries.values())
            # TinyDB's annotations know whole numbers as ids only, see ``KeyedTable``.
            return [Document(d, doc_id=i) for i, d in found if condition(d)]  # type: ignore[arg-type]
        return self.table.search(condition)

    def folder(self, id_: str) -> RunFolder:
        """The folder of a run of this history.

        Raises:
            RunError: when the text cannot be an id.
        """
        # An id comes from a person or another program: it must not lead out of the root, nor into
        # the trash.
        if not id_ or id_.startswith(".") or "/" in id_ or "\0" in id_:
            raise RunError(f"There is no run {clean_text(id_, 60)} in {self.root}.")
        return RunFolder(self.root / id_)

    def _shown(self, entry: Entry) -> Entry:
        """The entry with the state to show: ``lost`` is derived, never recorded."""
        if entry.status not in ACTIVE:
            return entry
        folder = self.folder(entry.id)
        # alive() first: it reads no record, and is the answer for most active runs. A folder that
        # vanishes meanwhile leaves the entry as it is.
        with contextlib.suppress(RunError):
            if not folder.alive():
                return msgspec.structs.replace(entry, status=folder.status())
        return entry

    # ------------------------------------------------------------------------------- changing

    def upsert(self, id_: str) -> Entry:
        """Write the document of a run anew from its folder.

        Raises:
            RunError: when there is no such run, or the index cannot be written in time.
        """
        entry = self._read(id_)
        self._index.put(entry)
        return self._shown(entry)

    @contextlib.contextmanager
    def _index_may_fail(self) -> Iterator[None]:
        """Bring the index up to date after a change of a folder that is done, and stays so.

        Where that fails, the next list does it; what will not pass by itself is a notice.
        """
        try:
            yield
        except RunBusyError:
            pass
        except RunError as error:
            self.notices.append(f"The index is not kept up to date: {error}")

    def annotate(
        self,
        id_: str,
        *,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> Entry:
        """Change name, tags or note of a run; what is None stays.

        Raises:
            RunError: when there is no such run, or ``user.json`` cannot be written.
        """
        self._index.check_writable()
        return self._annotated(id_, self.folder(id_).set_user(name=name, tags=tags, note=note))

    def change_notes(
        self, id_: str, update: Callable[[UserNotes], None], *, timeout: float = NOTES_SECONDS
    ) -> Entry:
        """Change what people say of a run by a function; see ``RunFolder.change_user``.

        Raises:
            RunError: see there; nothing is written then.
        """
        self._index.check_writable()
        return self._annotated(id_, self.folder(id_).change_user(update, timeout=timeout))

    def _annotated(self, id_: str, notes: UserNotes) -> Entry:
        """The entry of a run whose notes were written."""
        try:
            return self._indexed(id_)
        except RunError:
            if not is_gone(self.root / id_):
                raise
            # Deleted since, and the notes with it: they are written, so this is no failure.
            return Entry(id=id_, name=notes.name, tags=notes.tags, note=notes.note)

    def _indexed(self, id_: str) -> Entry:
        """The entry of a run that was changed, written into the index where that can be."""
        # By itself: a run that another process has moved is no failure of the index.
        entry = self._read(id_)
        with self._index_may_fail():
            self._index.put(entry)
        return self._shown(entry)

    def delete(self, id_: str) -> None:
        """Move a run to the trash.

        Raises:
            RunBusyError: when a process works on it.
            RunError: when there is no such run, or it cannot be moved.
        """
        self._index.check_writable()
        folder = self.folder(id_)
        if is_gone(folder.record_path):
            raise RunError(f"There is no run {id_} in {self.root}.")
        # Held until it is moved: no process can take the run over meanwhile. The lock file moves
        # along and is released under its new name.
        lock = RunLock(folder.lock_path)
        if not lock.acquire() or _works_elsewhere(folder):
            lock.unlock()
            raise RunBusyError(f"The run {id_} is being worked on; stop it before deleting it.")
        try:
            with folder.notes_lock():  # a note that is being written goes with the run, whole
                self.trashed.put(folder)
        except OSError as error:
            raise RunError(f"The run {id_} cannot be deleted: {reason(error)}.") from error
        finally:
            lock.unlock()
        with self._index_may_fail():
            self._index.drop(id_)

    def trash(self) -> Entries:
        """The deleted runs, the one that was deleted last first.

        Raises:
            RunError: when the trash cannot be read.
        """
        return [run.entry for run in self.trashed.runs()]

    def restore(self, id_: str) -> Entry:
        """Move a run back from the trash.

        Raises:
            RunError: when it is not there, its place is taken, or it cannot be moved.
        """
        self._index.check_writable()
        target = self.folder(id_).path
        if not self.trashed.has(id_):
            raise RunError(f"There is no run {clean_text(id_, 60)} in the trash of {self.root}.")
        source = self.trashed.path / id_
        with RunFolder(source).notes_lock():
            if not is_gone(target):  # rename would replace an empty folder without a word
                raise RunError(f"There is a run {id_} already; the one in the trash stays there.")
            try:
                source.rename(target)
            except OSError as error:
                raise RunError(f"The run {id_} cannot be restored: {reason(error)}.") from error
        return self._indexed(id_)

    def purge(self, id_: str) -> None:
        """Remove a run from the trash for good, or what is left of one.

        Raises:
            RunBusyError: when a process holds it; it stays then.
            RunError: when it is not there or cannot be removed; calling it again goes on.
        """
        self._index.check_writable()
        self.trashed.purge(self.folder(id_).id)

    def reindex(self) -> int:
        """Make the index anew from the run folders; returns how many runs it holds.

        A damaged index, or one of another schema, is set aside beside it.

        Raises:
            RunError: when the folder cannot be read or the index cannot be written.
        """
        return self._index.rebuild()


def needs_count(entry: Entry) -> bool:
    """Whether the size of a run is unknown, or may be another by now."""
    return entry.size is None or entry.size_stamp != entry.stamp or entry.status in ACTIVE


def _works_elsewhere(folder: RunFolder) -> bool:
    """``RunFolder.works_elsewhere``, also of a run whose record cannot be read."""
    try:
        return folder.works_elsewhere(folder.record())
    except RunError:
        return folder.alive_elsewhere()

"""Op: what an author overrides: columns from the rows of a shard, or from all rows together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, field_validator

from curate.arrays.rows import Rows as Rows  # noqa: PLC0414 - an author takes all from here
from curate.arrays.rows import captions_of
from curate.library.op_class import OpClass
from curate.library.op_names import op_name, snake
from curate.library.op_source import code_of
from curate.pictures.decoded import DECODING, Decoded
from curate.pictures.decoded import PACKAGES as DECODING_PACKAGES
from curate.pictures.upright import upright

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from PIL import Image

T = TypeVar("T")


class Op(BaseModel, metaclass=OpClass):
    """Adds columns, drops nothing. The fields of a subclass are its YAML options, checked at load."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), validate_default=True)

    #: Raise it when results change: tables made by another version are not reused.
    version: ClassVar[int] = 1
    #: Where the method is published.
    cite: ClassVar[str] = ""
    #: Options that say how to compute, not what: they are no part of a table's identity.
    how: ClassVar[frozenset[str]] = frozenset({"name", "batch_size", "device"})
    #: True where its columns are named after the table: the name is then part of the table's identity.
    columns_by_name: ClassVar[bool] = False
    #: True when null in a column it reads is for the op to judge.
    reads_null: ClassVar[bool] = False
    cpus: ClassVar[float] = 1

    #: Name of the table; a default fits unless one op is used twice.
    name: str = ""
    batch_size: int = 256

    @field_validator("batch_size")
    @classmethod
    def _some_rows(cls, batch_size: int) -> int:
        # Of a subclass too, whatever default it gives: batches of no rows would leave every row without a value.
        if batch_size < 1:
            raise ValueError("a batch has 1 row or more")
        return batch_size

    def table(self) -> str:
        """The name its table has in the store."""
        if self.name:
            return self.name
        name = op_name(type(self))
        # A module of a user may hold several ops: each has a table of its own.
        return snake(name.rpartition(":")[2]) if ":" in name else name.rpartition(".")[2]

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """The columns it reads; `image` means the decoded pixels."""

    @abstractmethod
    def makes(self) -> dict[str, pa.DataType]:
        """The columns it adds."""

    def gpus(self) -> float:
        """GPUs that one worker takes where the cluster has some."""
        return 0

    def weights(self) -> str:
        """Identity of the model's weights; empty for an op without a model. Loads no model."""
        return ""

    def packages(self) -> tuple[str, ...]:
        """Modules outside the base install that it works with: a missing one is told before any work, with its extra.
        By default what decoding takes, for an op that reads images."""
        return DECODING_PACKAGES if "image" in self.reads() else ()

    def check(self) -> None:
        """Raise CurateError for options that can be seen to be wrong before any work."""

    def check_reads(self, made_by: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise CurateError for columns of the right type that something else made: another model, another rule.

        made_by: for each column it reads, the `spec` of the op that makes it; empty for a column of the input.
        """

    def decision(self) -> dict[str, Any]:
        """The filter that a `dedupe:` or `balance:` step puts behind the op, as a `filter:` step has it: `keep` over
        columns that the op makes; `name` is the step's, by default the op's table. Empty: the op decides nothing."""
        return {}

    def replaces(self) -> tuple[str, ...]:
        """Columns by which no step before may have dropped rows: the op's decision takes the place of that one."""
        return ()

    def setup(self) -> None:
        """Load what it needs, once per worker, never on the driver."""

    def spec(self) -> dict[str, Any]:
        """What decides its results, as it goes into a table's identity."""
        options = self.model_dump(mode="json", exclude=set(self.how))
        if self.columns_by_name:
            options["name"] = self.table()
        name = op_name(type(self))
        more: dict[str, Any] = {"code": code_of(type(self))} if ":" in name else {}
        if "image" in self.reads():
            more["decoding"] = DECODING
        return {"op": name, "options": options, "version": self.version, "weights": self.weights(), **more}


class Score(Op):
    """An op that looks at one record at a time."""

    def prepare_image(self, decoded: Decoded) -> Any:
        """The part of `batch` that one image needs and no model: done in threads, while ops work on the rows before.

        `batch` finds the result in `rows.images`. By default that is the RGB image itself: all images of a batch are
        then in memory at their full size.
        """
        return decoded.image

    def prepare_texts(self, texts: Sequence[str]) -> Sequence[Any]:
        """The same for captions, all of a batch at once: one value per caption, which `batch` finds in `rows.texts`.

        By default the captions as they are. A null caption, which only an op with `reads_null` gets, is an empty text.
        """
        return texts

    def prepares(self) -> frozenset[str]:
        """Which of `image` and `text` it reads and prepares in its own way: what else is no work to be done ahead."""
        hooks = {"image": "prepare_image", "text": "prepare_texts"}
        own = (column for column, hook in hooks.items() if getattr(type(self), hook) is not getattr(Score, hook))
        return frozenset(own) & frozenset(self.reads())

    def rows_at_a_time(self) -> int:
        """Rows of one call of `batch`; asked once `setup` is done, so that a model can say what fits."""
        return self.batch_size

    @abstractmethod
    def batch(self, rows: Rows) -> Mapping[str, Any]:
        """One value per row for every column of `makes`: Arrow arrays, numpy arrays or lists; null where there is
        none. The extra key `status` may say why, a word per row (default `ok`)."""

    def begin(self, rows: Rows) -> Callable[[], Mapping[str, Any]] | None:
        """Begin `batch` on a device that works on its own; returns what waits for the result. The next batch is begun
        before that is called, so that the device is never without work. None, the default: `batch` is called."""
        return None

    def summary(self, table: pl.LazyFrame) -> dict[str, Any]:
        """What of the finished table goes into the manifest and is shown; most have nothing to say."""
        return {}

    def apply(self, columns: Mapping[str, Any], images: Sequence[Image.Image] | None = None) -> Mapping[str, Any]:
        """`batch` of rows at hand, prepared first: to try an op in a notebook, after `setup`.

        columns: by name, lists or Arrow arrays, one value per row.
        """
        arrays = {name: v if isinstance(v, pa.Array) else pa.array(v) for name, v in columns.items()}
        seen = None if images is None else [self.prepare_image(Decoded(image=upright(image))) for image in images]
        texts = self.prepare_texts(captions_of(arrays["text"])) if "text" in self.prepares() else None
        return self.batch(Rows(arrays, seen, texts=texts))


class Summed(Protocol):
    """One pass over all rows of the pool: `part` is called with the rows of each shard that have every column that the
    op reads, on the workers, and what it returns is added up with `+`, in any order."""

    def __call__(self, part: Callable[[Rows], T]) -> T: ...


class OutsideRows(Protocol):
    """Rows of a place outside of the store, in pieces that are read whole."""

    @property
    def sizes(self) -> Sequence[int]:
        """Rows of each piece."""

    @property
    def schema(self) -> Mapping[str, pa.DataType]:
        """Columns that the store does not have: its rows have null there."""

    def read(self, number: int, names: Sequence[str]) -> pa.Table:
        """Columns of a piece, under the names that the op has for them."""


class Grouped(Op):
    """An op that judges together all rows that share a key."""

    #: Copies that a worker holds, at its peak, of each row's key, place and carried columns: they set how many rows are
    #: judged at a time. Measured by benchmarks/memory.py, with a margin.
    copies: ClassVar[float] = 8

    def bands(self) -> int:
        """Number of keys that a row has; with several, a row is judged in several groups, and `merge` joins that."""
        return 1

    @abstractmethod
    def keys(self, rows: Rows) -> pa.Array | Sequence[pa.Array]:
        """16 bytes per row, equal for rows of one group; null for a row in no group. As many such arrays as there are
        `bands`."""

    def ready(self, summed: Summed) -> Grouped:
        """The op with what it has to know of all rows before it gives keys and judges, on the driver; by default it has
        to know nothing. `summed` is that of `report`. Asked again after a kill, it must know the same."""
        return self

    def outside(self) -> OutsideRows | None:
        """Rows from elsewhere that take part in the groups, before those of the store: they have negative numbers of
        shards, and what `judge` says of them is not kept. By default there are none."""
        return None

    def tally(self, rows: pl.DataFrame) -> Mapping[str, int]:
        """Counts of whole groups, as `judge` gets them; those of all partitions add up for `tallied`."""
        return {}

    def tallied(self, tally: Mapping[str, int]) -> dict[str, Any]:
        """What of the counts goes into the manifest, beside `report`."""
        return {}

    def merge(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        """One row for each `shard` and `row` of what `judge` said in the several groups of a row."""
        return verdicts

    def report(self, summed: Summed) -> dict[str, Any]:
        """What goes into the manifest once all groups are judged; `summed` is a pass over all rows, those of old stores
        too, whose `rows` have `report_reads`, `shard`, `row` and, with `against`, `old_store`."""
        return {}

    def report_reads(self) -> tuple[str, ...]:
        """The columns that a pass of `report` reads; without `against`, those that the op made may be among them."""
        return self.reads()

    def carries(self) -> tuple[str, ...]:
        """Columns that `judge` needs beside the key."""
        return ("uid",)

    @abstractmethod
    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Whole groups: `key`, `shard`, `row` and the carried columns in; `shard`, `row` and the columns of `makes`
        out, one row per row in, and a `status` where there is something to say. Must not depend on the order of its
        rows."""


#: Places of two rows in a frame, and how close they are: 1 for rows that are the same to the rule, less for others.
Links = tuple["np.ndarray", "np.ndarray", "np.ndarray"]


class Linked(Op):
    """An op that links rows which are alike, and judges together all that are linked, directly or through others."""

    #: As Grouped.copies, while groups are judged; and the same of key, node and compared columns while `links` runs.
    copies: ClassVar[float] = 8
    link_copies: ClassVar[float] = 8

    #: Rows that a group has at most: a larger one falls apart at its weakest links, see curate.alike.forest.
    cap: int = 10_000

    def packages(self) -> tuple[str, ...]:
        return (*super().packages(), "numba")

    @abstractmethod
    def bands(self) -> int:
        """Number of keys that a row has."""

    @abstractmethod
    def keys(self, rows: Rows) -> Sequence[pa.Array]:
        """One uint64 array per band, null for a row that has no key. Rows that share a band's key are compared, so
        equality by chance costs time and changes nothing."""

    @abstractmethod
    def compares(self) -> tuple[str, ...]:
        """Columns that `links` needs."""

    @abstractmethod
    def links(self, rows: pl.DataFrame) -> Links:
        """Rows that are alike, of `key`, `node` and the columns of `compares`, sorted by key and node. Only rows of one
        key are compared. Needs not give all pairs: a maximum spanning forest of them is enough. Which rows come out
        linked, and how close, must not depend on the order of the rows or on other keys."""

    def carries(self) -> tuple[str, ...]:
        """Columns that `judge` needs beside the key."""
        return ("uid",)

    @abstractmethod
    def judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """As Grouped.judge; a row without a link is a group of one."""


class Fitted(Op):
    """An op that learns something from all rows before it judges a single one."""

    @abstractmethod
    def fit(self, summed: Summed) -> Any:
        """What is learned, on the driver: `total = summed(self.count)` is a numpy array, or anything that adds up.

        A further pass may know what the passes before it gave: `summed(partial(self.sizes, total))`. `part` is pickled:
        a method of the op or a `functools.partial` of one. All of a step's passes are done again after a kill.
        """

    @abstractmethod
    def batch(self, rows: Rows, fitted: Any) -> Mapping[str, Any]:
        """As Score.batch, given what `fit` returned, for all rows of a shard at once."""

    def learned(self, fitted: Any) -> pa.Table | None:
        """What of it is kept beside the table, in the file `learned.parquet`, for ops that go on with it."""
        return None

    def export(self, learned: pa.Table) -> None:
        """Write what `learned` gave to a place of the user's, too: on the driver, at the end of the step, also where
        the table was there already."""

    def report(self, fitted: Any, made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """What of it goes into the manifest; under `remarks` a `Remarks.to_json()`, said at the end.

        made_by: for each column that it reads, the manifest's entry of the table.
        """
        return {}


class Counted(Op):
    """The name that Fitted had: kept to say so."""

    def __init_subclass__(cls, **more: Any) -> None:
        raise TypeError(
            "Counted is now Fitted: `fit(self, summed)` returns what `batch` and `report` get, "
            "with `total = summed(self.count)` in place of the old sum"
        )

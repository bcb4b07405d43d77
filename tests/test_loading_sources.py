"""rushlight.data: every source gives each row once, whoever shares it, and goes on where it stood."""

import datetime
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import rushlight
from rushlight import data
from rushlight.utils.data import DataLoader, default_collate

N = 2500
MAKE = {
    "parquet": lambda at, **o: data.Parquet(at / "t.parquet", **o),
    "arrow": lambda at, **o: data.Arrow(at / "t.arrow", **o),
    "arrow stream": lambda at, **o: data.Arrow(at / "t.arrows", **o),
    "csv": lambda at, **o: data.CSV(at / "t.csv", **o),
    "csv with newlines": lambda at, **o: data.CSV(at / "t.csv", newlines_in_values=True, **o),
    "text": lambda at, **o: data.TextLines(at / "t.txt", **o),
    "sqlite": lambda at, **o: data.SQL(at / "t.db", "SELECT * FROM t", key="id", rows=200, **o),
}


def pyarrow():
    """The library with the parts that the tests write files by."""
    for part in ("csv", "parquet", "ipc"):
        pytest.importorskip(f"pyarrow.{part}")
    return sys.modules["pyarrow"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    at = tmp_path_factory.mktemp("sources")
    numbers = np.random.RandomState(0)
    columns = {
        "id": np.arange(N),
        "x": numbers.rand(N).astype(np.float32),
        "city": [f"city {i % 7}" for i in range(N)],
        "ok": [i % 3 == 0 for i in range(N)],
    }
    pa = pyarrow()

    table = pa.table(columns)
    pa.parquet.write_table(table, at / "t.parquet", row_group_size=400)
    pa.csv.write_csv(table, at / "t.csv")
    for name, writer in (("t.arrow", pa.ipc.new_file), ("t.arrows", pa.ipc.new_stream)):
        with pa.OSFile(str(at / name), "wb") as file, writer(file, table.schema) as out:
            out.write_table(table, max_chunksize=300)
    (at / "t.txt").write_text("".join(f"{i}\n" for i in range(N)))
    base = sqlite3.connect(at / "t.db")
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL, city TEXT, ok INTEGER)")
    base.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", zip(*(list(map(_plain, c)) for c in columns.values())))
    base.commit()
    base.close()
    return at


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def loader(source, workers=0, kind="thread"):
    size = None if source.batch_size else 16
    options = {"num_workers": workers, "worker_type": kind} if workers else {}
    return DataLoader(source, size, **options)


def batches(source_or_loader, workers=0):
    """Each batch as a list of ids."""
    if isinstance(source_or_loader, data.Source):
        source_or_loader = loader(source_or_loader, workers)
    return [
        [int(i) for i in b] if isinstance(b, list) else b["id"].tolist() for b in source_or_loader
    ]


def ids(*args):
    return sum(batches(*args), [])


@pytest.mark.parametrize("name", MAKE)
def test_each_row_once(files, name):
    make = MAKE[name]
    assert ids(make(files)) == list(range(N))
    assert ids(make(files, batch_size=100)) == list(range(N))
    for workers in (2, 3):
        assert sorted(ids(make(files), workers)) == list(range(N))
    shares = [
        ids(make(files, shuffle=True, window=300, batch_size=7, rank=rank, world_size=3), 2)
        for rank in range(3)
    ]
    assert sorted(sum(shares, [])) == list(range(N))
    if name not in ("csv", "csv with newlines", "text", "arrow stream"):
        assert max(map(len, shares)) - min(map(len, shares)) <= 2
    assert len(ids(make(files, batch_size=64, drop_last=True))) == N // 64 * 64


@pytest.mark.parametrize("name", MAKE)
def test_shuffled_by_seed_and_epoch(files, name):
    source = MAKE[name](files, shuffle=True, window=300, batch_size=50)
    first, second = ids(source), ids(source)
    assert first != second and sorted(first) == sorted(second) == list(range(N))
    again = MAKE[name](files, shuffle=True, window=300, batch_size=50)
    assert ids(again) == first
    source.set_epoch(1)
    assert ids(source) == second
    other = MAKE[name](files, shuffle=True, window=300, batch_size=50, seed=9)
    assert ids(other) != first
    with_processes = loader(MAKE[name](files, shuffle=True, batch_size=50), 2, "process")
    epochs = [ids(with_processes) for _ in range(2)]
    assert epochs[0] != epochs[1] and sorted(epochs[1]) == list(range(N))


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on(files, name, workers):
    def make(size):
        return loader(MAKE[name](files, shuffle=True, window=300, batch_size=size), workers)

    for size in (None, 50):
        one = make(size)
        whole, later = batches(one), batches(one)
        for k in (1, 20, len(whole)):
            one = make(size)
            iterator = iter(one)
            given = [b if isinstance(b, list) else b["id"] for b in (next(iterator) for _ in range(k))]
            state = json.loads(json.dumps(one.state_dict()))
            del iterator
            two = make(size)
            two.load_state_dict(state)
            given = [[int(i) for i in b] for b in given]
            assert given + batches(two) == whole, (size, k)
            assert batches(two) == later, (size, k)


def test_a_source_by_itself_goes_on(files):
    source = data.Parquet(files / "t.parquet", shuffle=True, window=100)
    iterator = iter(source)
    given = [int(next(iterator)["id"]) for _ in range(777)]
    state = source.state_dict()
    rest = [int(row["id"]) for row in iterator]
    other = data.Parquet(files / "t.parquet", shuffle=True, window=100)
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert [int(row["id"]) for row in other] == rest and sorted(given + rest) == list(range(N))


def test_columns_as_stated(files):
    columns = {
        "x": rushlight.float64,
        "city": [f"city {i}" for i in range(7)],
        "ok": lambda values: values.astype(np.int8) * 2,
        "id": None,
    }
    for name in ("parquet", "arrow", "csv", "sqlite"):
        batch = next(iter(MAKE[name](files, columns=columns, batch_size=8)))
        assert list(batch) == list(columns)
        assert batch["x"].dtype == rushlight.float64 and batch["id"].dtype == rushlight.int64
        assert batch["city"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
        assert batch["ok"].tolist() == [2, 0, 0, 2, 0, 0, 2, 0]
        row = next(iter(MAKE[name](files, columns=["city"])))
        assert row == {"city": "city 0"}
        hashed = next(iter(MAKE[name](files, columns={"city": data.Hash(1000)}, batch_size=8)))
        assert hashed["city"][0] == hashed["city"][7] != hashed["city"][1]
        assert default_collate([row, row]) == {"city": ["city 0", "city 0"]}
        with pytest.raises(ValueError, match="'city 3', which is none of"):
            list(MAKE[name](files, columns={"city": ["city 0", "city 1", "city 2"]}))
        with pytest.raises(ValueError, match="no column 'town'"):
            list(MAKE[name](files, columns=["town"]))
    natural = next(iter(MAKE["parquet"](files, batch_size=4)))
    assert natural["x"].dtype == rushlight.float32 and natural["ok"].dtype == rushlight.bool


def test_missing_values(tmp_path):
    pa = pyarrow()

    table = pa.table({"n": [1, None, 3], "f": [0.5, None, 1.5], "s": ["a", None, "c"]})
    pa.parquet.write_table(table, tmp_path / "m.parquet")
    base = sqlite3.connect(tmp_path / "m.db")
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, f REAL, s TEXT)")
    base.executemany("INSERT INTO t VALUES (?,?,?,?)", [(1, 1, 0.5, "a"), (2, None, None, None), (3, 3, 1.5, "c")])
    base.commit()
    base.close()
    (tmp_path / "m.csv").write_text("n,f,s\n1,0.5,a\n,,\n3,1.5,c\n")

    def sources(**options):
        yield data.Parquet(tmp_path / "m.parquet", batch_size=3, **options)
        yield data.SQL(tmp_path / "m.db", "SELECT * FROM t", key="id", batch_size=3, **options)
        yield data.CSV(tmp_path / "m.csv", batch_size=3, **options)

    for source in sources(columns=["n"]):
        with pytest.raises(ValueError, match="column 'n' has missing values.*missing="):
            next(iter(source))
    for source in sources(columns=["n", "f"], missing={"n": -1}):
        batch = next(iter(source))
        assert batch["n"].tolist() == [1, -1, 3] and batch["f"].isnan().tolist() == [False, True, False]
    for source in sources(columns={"n": rushlight.float32}):
        assert next(iter(source))["n"].isnan().tolist() == [False, True, False]


def test_types_of_arrow(tmp_path):
    pa = pyarrow()
    import decimal


    day = datetime.datetime(2024, 2, 29, 12)
    table = pa.table(
        {
            "when": [day, day],
            "date": [day.date(), day.date()],
            "vector": [[1.0, 2.0], [3.0, 4.0]],
            "ragged": [[1], [2, 3]],
            "money": [decimal.Decimal("1.25"), decimal.Decimal("2.5")],
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "raw": [b"x", b"yz"],
            "small": pa.array([1, 2], pa.uint8()),
        }
    )
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    columns = [c for c in table.column_names if c != "ragged"]
    batch = next(iter(data.Parquet(tmp_path / "t.parquet", columns, batch_size=2)))
    seconds = int((day - datetime.datetime(1970, 1, 1)).total_seconds())
    assert batch["when"].tolist() == [seconds * 10**9] * 2
    assert batch["date"].tolist() == [(seconds - 12 * 3600) * 10**9] * 2
    assert batch["vector"].tolist() == [[1, 2], [3, 4]] and batch["money"].tolist() == [1.25, 2.5]
    assert batch["kind"] == ["a", "b"] and batch["raw"] == [b"x", b"yz"]
    assert batch["small"].dtype == rushlight.uint8
    rows = list(data.Parquet(tmp_path / "t.parquet", ["ragged"]))
    assert [r["ragged"].tolist() for r in rows] == [[1], [2, 3]]
    pa.parquet.write_table(pa.table({"s": [{"a": 1}]}), tmp_path / "s.parquet")
    with pytest.raises(NotImplementedError, match="column 's' is of type struct"):
        next(iter(data.Parquet(tmp_path / "s.parquet")))


def test_csv_with_line_breaks_in_values(tmp_path):
    pytest.importorskip("pyarrow")
    rows = [(i, f"line one\nline, two of {i}" if i % 5 == 0 else f'say "{i}"') for i in range(60000)]
    with open(tmp_path / "q.csv", "w") as file:
        file.write("id,text\n")
        for i, text in rows:
            quoted = text.replace('"', '""')
            file.write(f'{i},"{quoted}"\n')
    source = data.CSV(tmp_path / "q.csv", newlines_in_values=True)
    assert len(source._prepare()) > 1
    got = sorted((int(r["id"]), r["text"]) for r in loader(source, 2).dataset)
    assert got == rows
    assert sorted(ids(data.CSV(tmp_path / "q.csv", newlines_in_values=True, batch_size=100), 2)) == list(range(60000))
    with pytest.raises(ValueError, match="newlines_in_values=True"):
        list(data.CSV(tmp_path / "q.csv"))


def test_csv_types_hold_for_the_file(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "late.csv").write_text("a\n" + "1\n" * 300000 + "1.5\n")
    with pytest.raises(ValueError, match="state its type"):
        list(data.CSV(tmp_path / "late.csv", batch_size=10000))
    source = data.CSV(tmp_path / "late.csv", {"a": rushlight.float32}, batch_size=10000)
    assert sum(b["a"].sum().item() for b in source) == 300001.5
    (tmp_path / "bare.csv").write_text("1;2\n3;4\n")
    source = data.CSV(tmp_path / "bare.csv", names=["p", "q"], delimiter=";", batch_size=2)
    assert [b["q"].tolist() for b in source] == [[2, 4]]


def test_text_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes("erste\r\nzweite ü\n\nlast".encode("latin-1"))
    lines = data.TextLines(tmp_path, encoding="latin-1")
    assert list(lines) == ["erste", "zweite ü", "", "last"]
    assert list(data.TextLines(tmp_path, encoding="latin-1", skip_empty=True, batch_size=2)) == [
        ["erste", "zweite ü"],
        ["last"],
    ]
    with pytest.raises(ValueError, match="iconv"):
        data.TextLines(tmp_path, encoding="utf-16")
    with pytest.raises(FileNotFoundError, match="no file at"):
        data.TextLines(tmp_path / "missing*.txt")


def test_memory_maps(tmp_path):
    x, y = np.random.rand(50, 3, 4).astype(np.float32), np.arange(50)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    x.tofile(tmp_path / "x.raw")
    single = data.MemoryMap(tmp_path / "x.npy")
    raw = data.MemoryMap(tmp_path / "x.raw", dtype=rushlight.float32, shape=(-1, 3, 4))
    both = data.MemoryMap({"x": tmp_path / "x.npy", "y": tmp_path / "y.npy"})
    assert len(single) == len(raw) == len(both) == 50
    assert (single[7].numpy() == x[7]).all() and (raw[-1].numpy() == x[-1]).all()
    single[7].add_(1)  # a copy: the file stays
    got = {}
    for options in ({}, {"num_workers": 2}, {"num_workers": 1, "multiprocessing_context": "spawn"}):
        for batch in DataLoader(both, 8, shuffle=True, **options):
            for row, k in zip(batch["x"], batch["y"].tolist()):
                got[k] = row.numpy()
        assert all((got[k] == x[k]).all() for k in range(50))
    with pytest.raises(ValueError, match="numbers of rows"):
        np.save(tmp_path / "z.npy", y[:3])
        data.MemoryMap({"x": tmp_path / "x.npy", "z": tmp_path / "z.npy"})


def test_a_folder_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for kind, level in (("cat", 10), ("dog", 200)):
        (tmp_path / kind).mkdir()
        for k in range(3):
            pixels = np.full((20, 30, 3), level, np.uint8)
            image.fromarray(pixels).save(tmp_path / kind / f"{k}.png")
    folder = data.ImageFolder(tmp_path, size=(8, 10))
    assert folder.classes == ["cat", "dog"] and folder.targets == [0, 0, 0, 1, 1, 1]
    x, y = next(iter(DataLoader(folder, 6, num_workers=2)))
    assert x.shape == (6, 3, 8, 10) and x.dtype == rushlight.uint8
    assert y.tolist() == folder.targets and x[:, 0, 0, 0].tolist() == [10] * 3 + [200] * 3
    gray = data.ImageFolder(tmp_path, mode="L", dtype=rushlight.float32, transform=lambda t: t[:, :2])
    assert gray[0][0].shape == (1, 2, 30) and gray[5][0].max() == np.float32(200) / np.float32(255)
    with pytest.raises(FileNotFoundError, match="expected one for each class"):
        data.ImageFolder(tmp_path / "cat")


def test_pandas_frames_are_data_sets():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "x": np.arange(6, dtype=np.float32),
            "day": pandas.to_datetime(["2024-01-01"] * 6),
            "kind": pandas.Categorical(list("abcabc")),
            "text": list("uvwxyz"),
            "maybe": pandas.array([1, None, 3, 4, 5, 6], dtype="Int64"),
        },
        index=list("abcdef"),
    )
    for options in ({}, {"num_workers": 1}):
        batch = next(iter(DataLoader(frame, 4, **options)))
        assert batch["x"].dtype == rushlight.float32 and batch["x"].tolist() == [0, 1, 2, 3]
        assert batch["kind"].tolist() == [0, 1, 2, 0] and batch["text"] == list("uvwx")
        assert batch["day"].tolist() == [1704067200 * 10**9] * 4
        assert batch["maybe"].isnan().tolist() == [False, True, False, False]
    shuffled = DataLoader(frame, 2, shuffle=True)
    assert shuffled.dataset is frame and len(shuffled) == 3
    assert sorted(x for b in shuffled for x in b["x"].tolist()) == list(range(6))
    assert next(iter(DataLoader(frame["x"], 3))).tolist() == [0, 1, 2]


def test_hugging_face_data_sets_are_data_sets():
    hugging = pytest.importorskip("datasets")
    table = hugging.Dataset.from_dict({"x": list(range(10)), "s": [str(i) for i in range(10)]})
    batch = next(iter(DataLoader(table, 4)))
    assert batch["x"].tolist() == [0, 1, 2, 3] and batch["s"] == list("0123")
    stream = DataLoader(table.to_iterable_dataset(), 4)
    assert [b["x"].tolist() for b in stream] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_stream_of_another_library_is_a_stream():
    class Theirs:
        def __iter__(self):
            return iter(range(5))

    assert [b.tolist() for b in DataLoader(Theirs(), 2)] == [[0, 1], [2, 3], [4]]


# SQL


def test_sql_keys(tmp_path):
    path = tmp_path / "k.db"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE t (k INTEGER, v INTEGER)")
    rows = [(k // 9000, k) for k in range(30000)] + [(7 * 10**6, -1)]  # one key for many rows, and a gap
    base.executemany("INSERT INTO t VALUES (?, ?)", rows)
    base.execute("CREATE TABLE holes (k INTEGER, v INTEGER)")
    base.executemany("INSERT INTO holes VALUES (?, ?)", [(1, 1), (None, 2)])
    base.execute("CREATE TABLE words (k TEXT)")
    base.execute("INSERT INTO words VALUES ('a')")
    base.commit()
    base.close()
    source = data.SQL(path, "SELECT * FROM t", key="k", batch_size=1000)
    got = sum((b["v"].tolist() for b in loader(source, 2)), [])
    assert sorted(got) == sorted(v for _, v in rows)
    where = data.SQL(path, "SELECT v FROM t WHERE v < ?;", params=(5,), batch_size=10)
    assert [b["v"].tolist() for b in where] == [[0, 1, 2, 3, 4, -1]]
    with pytest.raises(ValueError, match="name an integer column: key='id'"):
        list(loader(where, 2))
    with pytest.raises(ValueError, match="1 rows have no 'k'"):
        list(data.SQL(path, "SELECT * FROM holes", key="k"))
    with pytest.raises(ValueError, match="has to be of integers"):
        list(data.SQL(path, "SELECT * FROM words", key="k"))
    with pytest.raises(ValueError, match="is no column of the query"):
        list(data.SQL(path, "SELECT * FROM words", key="id"))
    assert list(data.SQL(path, "SELECT * FROM t WHERE v = -5", key="k")) == []


def test_sql_types(tmp_path):
    path = tmp_path / "y.db"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    base.executemany("INSERT INTO t VALUES (?, ?)", [(k, k) for k in range(300)] + [(300, "word")])
    base.commit()
    base.close()
    with pytest.raises(ValueError, match="holds 'word', but its first values are integers"):
        list(data.SQL(path, "SELECT * FROM t", key="id"))

    def connect():
        return sqlite3.connect(path)

    cast = data.SQL(connect, "SELECT id, CAST(v AS REAL) AS v FROM t", key="id", batch_size=301)
    assert next(iter(cast))["v"].dtype == rushlight.float64


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A server of the system's PostgreSQL, on a socket in a folder of its own."""
    psycopg = pytest.importorskip("psycopg")
    tools = {n: shutil.which(n) for n in ("initdb", "pg_ctl")}
    if not all(tools.values()) or sys.platform == "win32":
        pytest.skip("PostgreSQL is not installed")
    at = tmp_path_factory.mktemp("pg")
    options = {}
    if os.getuid() == 0:  # it refuses to run as root
        import pwd

        try:
            who = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("no user to run PostgreSQL as")
        options = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        for folder in (at, *(p for p in at.parents if "pytest" in str(p))):  # those that pytest made
            os.chmod(folder, 0o755)
        os.chown(at, who.pw_uid, who.pw_gid)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": at, **options}
    base = at / "base"
    start = f"-k {at} -c listen_addresses='' -c fsync=off"
    subprocess.run([tools["initdb"], "-D", base, "-U", "tester", "-A", "trust"], check=True, **quiet)
    subprocess.run([tools["pg_ctl"], "-D", base, "-o", start, "-w", "start"], check=True, **quiet)
    try:
        url = f"postgresql:///postgres?host={at}&user=tester"
        with psycopg.connect(url) as connection:
            connection.execute('CREATE TABLE t (id serial PRIMARY KEY, x real, "when" timestamp, ok boolean)')
            connection.execute(
                "INSERT INTO t (x, \"when\", ok) SELECT i / 2.0, '2024-01-01', i % 2 = 0 "
                "FROM generate_series(1, 20000) AS i"
            )
        yield url
    finally:
        subprocess.run([tools["pg_ctl"], "-D", base, "-m", "immediate", "stop"], **quiet)


def test_postgresql(postgres):
    for kind in ("thread", "process"):
        source = data.SQL(postgres, "SELECT * FROM t", key="id", shuffle=True, batch_size=500)
        found = list(loader(source, 2, kind))
        assert sorted(i for b in found for i in b["id"].tolist()) == list(range(1, 20001))
        assert all((b["x"] * 2 == b["id"]).all() for b in found)
        assert found[0]["ok"].dtype == rushlight.bool
        assert found[0]["when"][0] == 1704067200 * 10**9
    few = data.SQL(postgres, "SELECT * FROM t WHERE id <= %s", params=(70,), key="id", batch_size=50)
    one = loader(few, 2)
    assert sorted(ids(one)) == list(range(1, 71))


def test_libraries_that_are_missing(monkeypatch, tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'rushlight\[data\]'"):
        data.CSV(tmp_path / "a.csv")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'rushlight\[sql\]'"):
        list(data.SQL("postgresql://nowhere", "SELECT 1"))


def test_options_of_sources(tmp_path):
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(ValueError, match="together"):
        data.TextLines(tmp_path, rank=1)
    with pytest.raises(ValueError, match="0 <= rank < world_size"):
        data.TextLines(tmp_path, rank=2, world_size=2)
    with pytest.raises(ValueError, match="should be positive"):
        data.TextLines(tmp_path, batch_size=0)

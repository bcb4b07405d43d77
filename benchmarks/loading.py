"""DataLoader beside torch's: samples a second with 0, 1 and 2 workers, time to the first batch, memory
of a worker.

Each figure comes from a process of its own, the two libraries in turn, the best of several rounds. The
data sets are the same code for both: what differs is the loader. `--only small` runs a part,
`--file 5` reads a CSV and a Parquet file of 5 GB and gives the peak memory of the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ROUNDS = 3


def small(lib, data):
    """Like MNIST: 28 x 28 bytes become a normalised float tensor, and a label."""
    pixels = lib.randint(0, 256, (20000, 1, 28, 28), dtype=lib.uint8)

    class Digits(data.Dataset):
        def __len__(self):
            return len(pixels)

        def __getitem__(self, i):
            return (pixels[i].float() / 255 - 0.13) / 0.31, i % 10

    return Digits(), 64


def rows(lib, data):
    """A TensorDataset of small rows."""
    return data.TensorDataset(lib.randn(100000, 100), lib.arange(100000)), 64


def arrays(lib, data):
    """10 MB a sample, as NumPy gives it."""
    import numpy

    source = numpy.random.rand(4, 2_500_000).astype(numpy.float32)

    class Arrays(data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, i):
            return source[i % 4]

    return Arrays(), 4


def images(lib, data):
    """JPEG of 500 x 400, decoded and resized to 224 x 224."""
    import io

    import numpy
    from PIL import Image

    noise = numpy.random.RandomState(0).rand(50, 40, 3) * 255
    picture = Image.fromarray(noise.astype(numpy.uint8)).resize((400, 500))
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=90)
    content = file.getvalue()

    class Pictures(data.Dataset):
        def __len__(self):
            return 512

        def __getitem__(self, i):
            with Image.open(io.BytesIO(content)) as image:
                pixels = numpy.array(image.resize((224, 224)))
            return lib.from_numpy(pixels.transpose(2, 0, 1).copy()), i % 10

    return Pictures(), 32


WORK = {"small": small, "rows": rows, "arrays": arrays, "images": images}


def proportional(pid):
    """The memory of a process in MB, what it shares with others counted by its part."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def measure(library, work, workers):
    """In a process of its own: a line of JSON."""
    if library == "torch":
        import torch as lib
        import torch.utils.data as data
    else:
        import rushlight as lib
        import rushlight.utils.data as data
    lib.set_num_threads(1)
    dataset, size = WORK[work](lib, data)
    loader = data.DataLoader(dataset, size, shuffle=True, num_workers=workers)
    first, rate, memory = [], 0.0, 0.0
    for _ in range(2):
        begin = time.perf_counter()
        iterator = iter(loader)
        next(iterator)
        first.append(time.perf_counter() - begin)
        begin, count, steps = time.perf_counter(), 0, 0
        for batch in iterator:
            count += len(batch[0] if isinstance(batch, (list, tuple)) else batch)
            steps += 1
            if steps == 5 and workers:
                path = f"/proc/self/task/{os.getpid()}/children"
                children = open(path).read().split()
                memory = max(map(proportional, children), default=0.0)
                begin, count = time.perf_counter(), 0
            if time.perf_counter() - begin > 3:
                break
        rate = max(rate, count / (time.perf_counter() - begin))
        del iterator
    print(json.dumps({"rate": rate, "first": min(first), "memory": memory}))


def side_by_side(names):
    """The table, best of the rounds."""
    print("| work | workers | rushlight samples/s | torch | ratio | first batch, ms | torch | worker MB | torch |")
    print("|---|---|---|---|---|---|---|---|---|")
    for work in names:
        for workers in (0, 1, 2):
            best = {}
            for _ in range(ROUNDS):
                for library in ("rushlight", "torch"):
                    done = subprocess.run(
                        [sys.executable, __file__, "--measure", library, work, str(workers)],
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    got = json.loads(done.stdout.splitlines()[-1])
                    old = best.setdefault(library, got)
                    old["rate"] = max(old["rate"], got["rate"])
                    old["first"] = min(old["first"], got["first"])
            ours, theirs = best["rushlight"], best["torch"]
            print(
                f"| {work} | {workers} | {ours['rate']:.0f} | {theirs['rate']:.0f} "
                f"| {ours['rate'] / theirs['rate']:.2f} | {ours['first'] * 1e3:.1f} | {theirs['first'] * 1e3:.1f} "
                f"| {ours['memory']:.0f} | {theirs['memory']:.0f} |",
                flush=True,
            )


READ = """
import resource, sys, time
import rushlight
from rushlight import data
begin, count = time.perf_counter(), 0
kind = {"csv": data.CSV, "parquet": data.Parquet}[sys.argv[1]]
for batch in kind(sys.argv[2], batch_size=1024, shuffle=True):
    count += len(batch["x0"])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{sys.argv[1]}: {count} rows in {time.perf_counter() - begin:.0f} s, peak memory {peak:.0f} MB")
"""


def larger_than_memory(gigabytes):
    """Write files of this size and read them, shuffled, in a process of its own."""
    import numpy
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    with tempfile.TemporaryDirectory() as folder:
        for kind in ("csv", "parquet"):
            path = os.path.join(folder, f"t.{kind}")
            write = None
            while write is None or os.path.getsize(path) < gigabytes * 2**30:
                block = {f"x{k}": numpy.random.rand(200_000) for k in range(12)}
                table = pyarrow.table(block)
                if write is None:
                    make = {"csv": pyarrow.csv.CSVWriter, "parquet": pyarrow.parquet.ParquetWriter}
                    write = make[kind](path, table.schema)
                write.write_table(table)
            write.close()
            subprocess.run([sys.executable, "-c", READ, kind, path], check=True)
            os.remove(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=3)
    parser.add_argument("--only", nargs="*", choices=list(WORK), default=list(WORK))
    parser.add_argument("--file", type=float)
    options = parser.parse_args()
    if options.measure:
        library, work, workers = options.measure
        measure(library, work, int(workers))
    elif options.file:
        larger_than_memory(options.file)
    else:
        side_by_side(options.only)

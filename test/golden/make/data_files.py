"""Writes test/golden/data: the same rows in every format that is read. Usage: python data_files.py
The .jsonl files are the reference; the others are made by pyarrow and datasets from the same Python objects."""
import gzip
import importlib.metadata
import json
import pathlib
import shutil
import sys

PINNED = {"pyarrow": "25.0.1", "datasets": "5.0.1"}
for name, wanted in PINNED.items():
    if importlib.metadata.version(name) != wanted:
        sys.exit(f"{name} {wanted} is needed: pip install {name}=={wanted}")

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, disable_progress_bars

OUT = pathlib.Path(__file__).resolve().parent.parent / "data"
ODD = ["", " leading", "trailing ", "a\r\nb", "\ttab", "naïve café", "日本語のテキスト", "🙂👩‍👩‍👧", '"quoted" \\ back', "{}[],", "x" * 300, "\u2028\u0000end"]

text = pa.string()
message = pa.struct([("role", text), ("content", text)])
SCHEMAS = {
    "pairs": pa.schema([("id", text), ("prompt", text), ("response", text), ("more", pa.float64())]),
    "chats": pa.schema([("id", text), ("messages", pa.list_(message))]),
    "ids": pa.schema([("id", pa.int64()), ("prompt_ids", pa.list_(pa.int32())), ("response_ids", pa.list_(pa.int64()))]),
    "preferences": pa.schema([("id", text), ("messages", pa.list_(message)), ("chosen", pa.list_(message)), ("rejected", pa.list_(message))]),
}


def chat(row: int) -> list[dict]:
    turns = [dict(role="system", content="Be brief.")] if row % 3 == 0 else []
    for turn in range(1 + row % 2):
        turns += [dict(role="user", content=f"question {row}.{turn} {ODD[row % len(ODD)]}"), dict(role="assistant", content=f"answer {row}.{turn}")]
    return turns


def rows_of(kind: str) -> list[dict]:
    rows = range(25)
    if kind == "pairs":
        return [dict(id=f"p{r}", prompt=f"prompt {r} {ODD[r % len(ODD)]}", response=ODD[(r * 5) % len(ODD)] + f" {r}", more=r / 2) for r in rows]
    if kind == "chats":
        return [dict(id=f"c{r}", messages=chat(r)) for r in rows]
    if kind == "ids":
        return [dict(id=r * 2**40, prompt_ids=list(range(1, 1 + r % 7)), response_ids=[r, 65535, 2**31 - 1][: r % 4]) for r in rows]
    answer = lambda word, r: [dict(role="assistant", content=f"{word} {r} {ODD[(r + 1) % len(ODD)]}")]
    return [dict(id=f"f{r}", messages=chat(r)[:-1], chosen=answer("good", r), rejected=answer("bad", r)) for r in rows]


def write_arrow(path: pathlib.Path, table: pa.Table, kind: str, compression: str | None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(str(path), table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=10):
            writer.write_batch(batch)


def write_texts(kind: str, rows: list[dict]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (OUT / f"{kind}.jsonl").write_bytes(("\n".join(lines) + "\n").encode())
    (OUT / f"{kind}.json").write_bytes(("[" + ",\n".join(lines) + "]").encode())
    half = len(lines) // 2
    members = [gzip.compress(("\n".join(part) + "\n").encode(), mtime=0) for part in (lines[:half], lines[half:])]
    (OUT / f"{kind}.jsonl.gz").write_bytes(b"".join(members))


def write_tables(kind: str, rows: list[dict]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMAS[kind])
    few = kind == "preferences"  # the largest; the others are enough for the rest
    for compression in (None,) if few else (None, "lz4", "zstd"):
        for form in ("file", "stream"):
            write_arrow(OUT / f"{kind}.{compression or 'plain'}.{form}.arrow", table, form, compression)
    for compression in ("snappy",) if few else ("none", "snappy", "zstd"):
        pq.write_table(table, OUT / f"{kind}.{compression}.parquet", compression=compression, row_group_size=10)
    Dataset(table).save_to_disk(OUT / f"{kind}.dataset", num_shards=2)


def write_rare() -> None:
    """Types and layouts that the same text may come in."""
    rows = rows_of("pairs")
    columns = {name: [row[name] for row in rows] for name in ("id", "prompt", "response")}
    for name, make in dict(large=pa.large_string(), view=pa.string_view(), dictionary=pa.dictionary(pa.int16(), pa.string())).items():
        table = pa.table({key: pa.array(values).cast(make) for key, values in columns.items()})
        write_arrow(OUT / f"rare.{name}.arrow", table.unify_dictionaries(), "stream", None)
    plain = pa.table({**columns, "messages": pa.nulls(len(rows), pa.list_(message)), "text": pa.nulls(len(rows))})
    for version, codec, dictionary in (("1.0", "gzip", False), ("2.0", "brotli", True), ("2.0", "lz4", True)):
        pq.write_table(plain, OUT / f"rare.{codec}.parquet", compression=codec, data_page_version=version, use_dictionary=dictionary, data_page_size=256)
    encodings = dict(id="DELTA_LENGTH_BYTE_ARRAY", prompt="PLAIN", response="DELTA_LENGTH_BYTE_ARRAY")
    pq.write_table(plain.select(list(encodings)), OUT / "rare.delta.parquet", column_encoding=encodings, use_dictionary=False)
    ids = rows_of("ids")
    lists = pa.table({"id": [row["id"] for row in ids], "prompt_ids": pa.array([row["prompt_ids"] for row in ids], pa.large_list(pa.uint16())),
                      "response_ids": pa.array([row["response_ids"] for row in ids], pa.list_(pa.uint32()))})
    write_arrow(OUT / "rare.lists.arrow", lists, "file", None)
    batches = [pa.table({"prompt": pa.array(["same"] * 3).dictionary_encode(), "response": pa.array([f"{part}a", f"{part}b", f"{part}a"]).dictionary_encode()})
               for part in range(3)]
    with pa.ipc.new_stream(str(OUT / "rare.replaced.arrow"), batches[0].schema) as writer:  # each batch brings its own dictionary
        for batch in batches:
            writer.write_table(batch)
    small = Dataset(pa.table({"text": ["a", "b"]}))
    DatasetDict(dict(train=small, test=small)).save_to_disk(OUT / "rare.splits")


if __name__ == "__main__":
    disable_progress_bars()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for each in SCHEMAS:
        write_texts(each, rows_of(each))
        write_tables(each, rows_of(each))
    write_rare()
    for note in OUT.rglob("dataset_info.json"):
        content = json.loads(note.read_text())
        note.write_text(json.dumps({key: content[key] for key in ("features",)}) + "\n")
    (OUT / "versions.json").write_text(json.dumps(PINNED) + "\n")

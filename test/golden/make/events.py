"""Writes test/golden/events.tfevents with TensorBoard's own record writer and messages: what gleaner's event file must be, byte for byte.
Usage: python test/golden/make/events.py
       python test/golden/make/events.py --read FOLDER    (prints what TensorBoard reads in FOLDER: {tag: [[step, wall_time, value], …]})"""
import importlib.metadata
import json
import pathlib
import sys

PINNED = {"tensorboard": "2.21.0"}
for name, wanted in PINNED.items():
    found = importlib.metadata.version(name)
    if found != wanted:
        sys.exit(f"made with {name} {wanted} only, found {found}: pip install {name}=={wanted}")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

GOLDEN = pathlib.Path(__file__).resolve().parent.parent

# As test/output/tensorboard.test.ts has them.
RECORDS = [
    (0, 1700000000.25, {"eval/loss": 2.5, "time/evaluation": 0.125}),
    (1, 1700000001.5, {"round": 0, "loss": 0.6931471805599453, "rewards/margins": -1e-7, "grad_norm": float("inf")}),
    (300, 1700000002.75, {"loss": float("nan"), "verlust/β": 1e30}),
    (2**40, 1700000003.0, {"num_tokens": 123456789}),
]


def make():
    with open(GOLDEN / "events.tfevents", "wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1700000000.0, file_version="brain.Event:2").SerializeToString())
        for step, wall_time, scalars in RECORDS:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
            writer.write(Event(wall_time=wall_time, step=step, summary=Summary(value=values)).SerializeToString())


def read(folder):
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    scalars = {tag: [[e.step, e.wall_time, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    print(json.dumps(scalars))


if sys.argv[1:2] == ["--read"]:
    read(sys.argv[2])
else:
    make()

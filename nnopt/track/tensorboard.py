"""TensorBoard: event files in `tensorboard/` of the run's folder, one a sitting.

Scalars are written as every other program writes them, in 32 bits. The records go straight to a file: TensorBoard's
own EventFileWriter would load TensorFlow wherever that is installed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from nnopt.track.tracker import Outcome, Point, Tracker

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

FOLDER = "tensorboard"
STATUS_TAG, TAGS_TAG, NOTES_TAG = "nnopt/status", "nnopt/tags", "nnopt/notes"


class TensorBoardTracker(Tracker):
    """Writes event files."""

    modules = ("tensorboard",)

    file: BinaryIO | None = None

    def begin(self, run_id: str | None) -> str:
        """As the base class says; each sitting has a file of its own, and TensorBoard joins them."""
        from tensorboard.compat.proto.event_pb2 import Event

        folder = self.subject.folder / FOLDER
        folder.mkdir(exist_ok=True)
        # The name ends in a number, as one process may sit at a run twice within a second.
        stem = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}"
        number = sum(1 for _ in folder.glob(f"{stem}.*"))
        self.file = (folder / f"{stem}.{number}").open("ab")
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._hparams(session_start_info=self._session_start())
        if self.subject.tags:
            self._text(TAGS_TAG, ", ".join(self.subject.tags), 0)
        if self.subject.notes:
            self._text(NOTES_TAG, self.subject.notes, 0)
        self._store()
        return FOLDER

    def send(self, points: Sequence[Point]) -> None:
        """As the base class says."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        now = time.time()
        for point in points:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
            self._write(Event(wall_time=now, step=point.step, summary=Summary(value=values)))
        self._store()

    def end(self, outcome: Outcome) -> None:
        """As the base class says."""
        from tensorboard.plugins.hparams.api_pb2 import Status
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

        if outcome.numbers:
            self.send([Point(outcome.step, outcome.numbers)])
        self._text(STATUS_TAG, f"{outcome.status}: {outcome.reason}", outcome.step)
        success = Status.STATUS_SUCCESS if outcome.status == "done" else Status.STATUS_FAILURE
        self._hparams(session_end_info=SessionEndInfo(status=success, end_time_secs=time.time()))
        self._store()
        self.close()

    def close(self) -> None:
        """As the base class says."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def _session_start(self) -> Any:
        from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

        info = SessionStartInfo(group_name=self.subject.variant, start_time_secs=time.time())
        for name, value in self.subject.hyperparameters().items():
            field = info.hparams[name]
            if isinstance(value, str):
                field.string_value = value
            elif isinstance(value, bool):
                field.bool_value = value
            else:
                field.number_value = value
        return info

    def _hparams(self, **content: Any) -> None:
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        data = HParamsPluginData(**content)
        # The tag that the hparams plugin looks for is its own name and the field's.
        self._plugin(f"_hparams_/{next(iter(content))}", "hparams", data.SerializeToString(), None, 0)

    def _text(self, tag: str, text: str, step: int) -> None:
        self._plugin(tag, "text", b"", text, step)

    def _plugin(self, tag: str, plugin: str, content: bytes, text: str | None, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING

        data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
        if text is None:
            tensor = TensorProto(dtype=DT_FLOAT, float_val=[0.0], tensor_shape=TensorShapeProto())
        else:
            tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto())
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=data), tensor=tensor)
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))

    def _write(self, event: Event) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        assert self.file is not None
        RecordWriter(self.file).write(event.SerializeToString())

    def _store(self) -> None:
        assert self.file is not None
        self.file.flush()
        os.fsync(self.file.fileno())

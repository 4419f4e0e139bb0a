"""What a run takes on a cluster, and how its jobs are asked for."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from nnopt.spec.base import Items, Spec, show

OPTION = re.compile(r"[a-z][a-z-]*")


class ClusterSpec(Spec):
    """What a run takes of the machines of `--on ray` and `--on slurm`; it is not part of what the run is."""

    cpus: int | None = Field(None, gt=0, description="CPU cores a run; its threads unless said")
    gpus: float | None = Field(
        None, ge=0, description="GPUs a run (Ray: also a part of one); 1 for each process that takes one unless said"
    )
    memory: float | None = Field(None, gt=0, description="gigabytes a run; not asked for unless said")
    hours: float = Field(1.0, gt=0, description="SLURM: time of a job; a run that takes longer goes on in the next")
    partition: str | None = Field(None, description="SLURM: where jobs wait")
    account: str | None = Field(None, description="SLURM: who pays")
    extra: dict[str, str | int | bool] = Field({}, description="SLURM: further options of sbatch, without --")
    setup: Items[str] = Field((), description="SLURM: lines of shell before the run, such as module load cuda")

    @field_validator("extra")
    @classmethod
    def _extra_are_options(cls, extra: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        for name in extra:
            if not OPTION.fullmatch(name):
                raise ValueError(f"{show(name)} is no long option of sbatch: write constraint for --constraint")
        return extra

    @field_validator("setup")
    @classmethod
    def _setup_is_lines(cls, setup: tuple[str, ...]) -> tuple[str, ...]:
        for line in setup:
            if "\n" in line:
                raise ValueError(f"should be a list of single lines, not {show(line)}")
        return setup

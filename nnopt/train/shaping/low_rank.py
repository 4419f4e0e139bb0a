"""Low rank: layers cut in two by their singular values."""

from __future__ import annotations

from nnopt.errors import UsageError
from nnopt.spec.structure.low_rank import LowRankSpec
from nnopt.structure.layers import chosen_layers, layers_within
from nnopt.structure.low_rank import (
    can_be_cut,
    cut_in_two,
    largest_saving_rank,
    matrix_shape,
    put_layer,
    rank_of_energy,
)
from nnopt.structure.network import count_parameters
from nnopt.train.shaping.operation import Bench, Operation

SHOWN = 6  # layers in a message


class Cutting(Operation):
    """Linear and convolution layers, each replaced by two thinner ones where that saves weights.

    The optimizer and the average begin anew, as their tensors have other shapes.
    """

    name = "low_rank"
    reshapes = True
    recompiles = True

    def __init__(self, spec: LowRankSpec, bench: Bench) -> None:
        self.spec, self.bench = spec, bench
        self.shares = (spec.at,)
        self.chosen = tuple(chosen_layers(bench.model, spec.layers, spec.leave_out, "structure.low_rank"))
        limits = {
            name: largest_saving_rank(layer)
            for name, layer in layers_within(bench.model, self.chosen).items()
            if can_be_cut(layer)
        }
        if max(limits.values(), default=0) < (spec.rank or 1):
            if not limits:
                raise UsageError("structure.low_rank: the layers it reaches are convolutions of several groups")
            name, limit = max(limits.items(), key=lambda item: item[1])
            rows, columns = matrix_shape(bench.model.get_submodule(name))
            into = f"to rank {spec.rank}" if spec.rank else "in two"
            raise UsageError(
                f"structure.low_rank{'.rank' if spec.rank else ''}: cutting {into} saves nothing in any layer it "
                f"reaches; the largest, {name!r}, is {rows} x {columns}"
                + (f", where ranks up to {limit} save" if limit else "")
            )

    def change(self, index: int) -> str:
        """As the base class says."""
        model = self.bench.model
        before = count_parameters(model)
        cut: list[str] = []
        for name, layer in layers_within(model, self.chosen).items():
            if not can_be_cut(layer):
                continue
            rank = self.spec.rank
            if rank is None:
                assert self.spec.energy is not None
                rank = rank_of_energy(layer, self.spec.energy)
            if rank <= largest_saving_rank(layer):
                model = put_layer(model, name, cut_in_two(layer, rank))
                cut.append(f"{name!r} to rank {rank}")
        if not cut:
            return "low rank: no layer is cut, as two would not save weights in any"
        self.bench.refit(model)
        more = f" and {len(cut) - SHOWN} more" if len(cut) > SHOWN else ""
        return f"low rank: {', '.join(cut[:SHOWN])}{more}; {before:,} parameters became {count_parameters(model):,}"

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from nnopt.spec.data.downloads import Mnist
from nnopt.spec.data.embedded import Diabetes, Digits
from nnopt.spec.data.union import DATA

# input shape, outputs, rows of train, validation and test
EXPECTED = {
    "digits": ((1, 8, 8), 10, (1222, 216, 359)),
    "breast_cancer": ((30,), 2, (387, 68, 114)),
    "diabetes": ((10,), 1, (301, 53, 88)),
    "wine": ((13,), 3, (121, 21, 36)),
    "mnist": ((1, 28, 28), 10, (55_000, 5_000, 10_000)),
    "fashion_mnist": ((1, 28, 28), 10, (55_000, 5_000, 10_000)),
    "cifar10": ((3, 32, 32), 10, (45_000, 5_000, 10_000)),
}
DOWNLOADED = {"mnist", "fashion_mnist", "cifar10"}


def test_every_data_set_has_a_row_in_this_table():
    """Those of files of one's own, and others that ask for more than their kind, have tests of their own."""
    asking = set()
    for kind, member in DATA.named().items():
        try:
            member.model_validate({"kind": kind})
        except ValidationError:
            asking.add(kind)
    assert set(DATA.named()) - asking == set(EXPECTED)


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_a_data_set_loads_with_its_defaults(kind):
    spec = DATA.find(kind)(kind=kind)
    reason = spec.available()
    assert kind in DOWNLOADED or reason is None
    if reason is not None:
        pytest.skip(reason)
    data = spec.load()
    shape, outputs, rows = EXPECTED[kind]
    assert (data.name, data.task, data.input_shape, data.outputs) == (kind, spec.asks, shape, outputs)
    assert (len(data.train), len(data.validation), len(data.test)) == rows
    assert len(data.content_hash) == 64
    for part in (data.train, data.validation, data.test):
        assert part.inputs.shape == (len(part), *shape)
        assert part.inputs.dtype == torch.float32
        assert part.inputs.is_contiguous()
        assert part.inputs.isfinite().all()
        if spec.asks == "classification":
            assert part.targets.dtype == torch.int64
            assert part.targets.unique().tolist() == list(range(outputs))
        else:
            assert part.targets.shape == (len(part), outputs)


def test_loading_twice_gives_the_same_bits_and_another_split_seed_other_rows():
    one, again, other = (Digits(kind="digits", split_seed=seed).load() for seed in (0, 0, 1))
    assert torch.equal(one.train.inputs, again.train.inputs)
    assert torch.equal(one.test.targets, again.test.targets)
    assert not torch.equal(one.test.targets, other.test.targets)
    assert one.content_hash == other.content_hash


def test_regression_errors_can_be_given_in_the_data_own_units():
    data = Diabetes(kind="diabetes").load()
    progression = data.test.targets * data.target_scale + data.target_mean
    assert torch.allclose(progression, progression.round(), atol=1e-3)  # whole numbers from 25 to 346
    assert progression.min() >= 25 - 1e-3
    assert progression.max() <= 346 + 1e-3


def test_keys_reach_the_split_and_the_scale():
    data = Digits(kind="digits", validation=100, test=97, normalise="none").load()
    assert (len(data.train), len(data.validation), len(data.test)) == (1600, 100, 97)
    assert data.train.inputs.max() == 16
    standard = Digits(kind="digits", normalise="standard").load()
    assert abs(standard.train.inputs.mean().item()) < 1e-5


@pytest.mark.parametrize("key", ["validation", "test"])
@pytest.mark.parametrize("value", [0, -3, 0.0, 1.0, 1.5, -0.1, True, "0.2", None, float("nan"), float("inf")])
def test_an_amount_is_a_share_or_a_count(key, value):
    with pytest.raises(ValidationError, match="should be a share above 0 and below 1, or a whole number of rows"):
        Digits(kind="digits", **{key: value})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split_seed": -1}, "greater than or equal to 0"),
        ({"split_seed": 2**32}, "less than 4294967296"),
        ({"normalise": "std"}, "'unit', 'standard' or 'none'"),
        ({"root": ""}, "pattern"),
        ({"root": "a\x00b"}, "pattern"),
        ({"test": 0.2}, "unknown key 'test'"),
        ({"validaton": 0.2}, "did you mean 'validation'"),
    ],
)
def test_a_wrong_value_is_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        Mnist(kind="mnist", **keys)


def test_where_the_data_lies_is_no_part_of_its_identity():
    extra = Mnist.model_fields["root"].json_schema_extra
    assert extra == {"identity": False}


def test_every_key_is_described():
    for member in DATA.members:
        described = {name: field.description for name, field in member.model_fields.items() if name != "kind"}
        assert all(described.values()), member
        assert member.source


def test_the_json_schema_takes_what_the_spec_takes():
    jsonschema = pytest.importorskip("jsonschema")
    schema = TypeAdapter(Digits).json_schema()
    for value, valid in [(0.3, True), (300, True), (0, False), (1.5, False), ("x", False)]:
        found = jsonschema.Draft202012Validator(schema).is_valid({"kind": "digits", "validation": value})
        assert found is valid, value


def test_the_variable_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NNOPT_DATA_DIR", str(tmp_path / "variable"))
    assert str(tmp_path / "variable" / "mnist") in (Mnist(kind="mnist").available() or "")
    elsewhere = Mnist(kind="mnist", root=str(tmp_path / "root"))
    assert str(tmp_path / "root" / "mnist") in (elsewhere.available() or "")
    assert list(tmp_path.iterdir()) == []


def test_the_spec_imports_neither_torch_nor_numpy_nor_scikit_learn():
    code = (
        "import sys; from nnopt.spec.data.embedded import Digits; Digits(kind='digits').available()\n"
        "print(sorted({'torch', 'numpy', 'sklearn', 'pandas', 'pooch'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"

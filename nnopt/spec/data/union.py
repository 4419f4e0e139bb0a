"""The data sets that a spec can name."""

from __future__ import annotations

from nnopt.spec.base import Kinds
from nnopt.spec.data.arrays import Npy, Npz
from nnopt.spec.data.base import DataSpec
from nnopt.spec.data.downloads import Cifar10, FashionMnist, Mnist
from nnopt.spec.data.embedded import BreastCancer, Diabetes, Digits, Wine
from nnopt.spec.data.hugging_face import HuggingFace
from nnopt.spec.data.images import Images
from nnopt.spec.data.synthetic import Function, Synthetic
from nnopt.spec.data.tables import Csv, Parquet, Sklearn
from nnopt.spec.data.text import Text

DATA = Kinds(
    "data set",
    DataSpec,
    (
        Digits,
        BreastCancer,
        Diabetes,
        Wine,
        Mnist,
        FashionMnist,
        Cifar10,
        Synthetic,
        Function,
        Text,
        Images,
        Npz,
        Npy,
        HuggingFace,
        Csv,
        Parquet,
        Sklearn,
    ),
)

"""Fashion-MNIST: 70000 pictures of clothes, 28x28 grey images, in MNIST's files.

H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, 2017. https://arxiv.org/abs/1708.07747
"""

from __future__ import annotations

from nnopt.data.sources import mnist
from nnopt.data.sources.idx import IdxSource

SOURCE = IdxSource(
    title="Fashion-MNIST",
    folder="fashion_mnist",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    gzip_hashes=(
        "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "md5:25c81989df183df01b3e8a0aad5dffbe",
        "md5:bef4ecab320f06d8554ea6380940ec79",
        "md5:bb300cfdad3c16e7a12a480ee83cd310",
    ),
    classes=(
        "t-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    mistaken_for=(mnist.SOURCE.title, mnist.SOURCE.content_hashes[0]),
)

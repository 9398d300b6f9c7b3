"""`softknee check` and `softknee rule`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from softknee.cli import app

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

def images():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))

def wrong():
    return nn.Sequential(*build(), nn.Softmax(dim=1))

def broken():
    raise RuntimeError("no weights")

class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("no such thing")

class Detached(nn.Sequential):
    def forward(self, x):
        return super().forward(x).detach()

def raises():
    return Raises()

def detached():
    return Detached(*build())

def frozen():
    return build().requires_grad_(False)

def linear():
    return nn.Linear(64, 10)

def narrow():
    return nn.Linear(8, 10)

def no_number(output, target):
    return output

def empty():
    return torch.zeros(0, 64), torch.zeros(0, dtype=torch.long)

def nothing():
    return []

def breaks():
    raise RuntimeError("the disk is gone")

def one_then_breaks():
    yield torch.zeros(4, 64), torch.zeros(4, dtype=torch.long)
    raise RuntimeError("the disk is gone")

def none(*given):
    return None

def leaves(*given):
    raise SystemExit(0)

class Talks(nn.Sequential):
    def forward(self, x):
        print("a layer talks")
        return super().forward(x)

def talks():
    print("the function talks")
    return Talks(*build())

number = 3
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    path = tmp_path / "mymodel.py"
    path.write_text(MODEL)
    return str(path)


def run(*words: str, code: int) -> Result:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "100", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result


def test_healthy_and_not(target: str) -> None:
    assert (
        "healthy"
        in run("check", f"{target}:build", "--data", "digits", "--loss", "cross_entropy", code=0).output
    )
    run("check", f"{target}:images", "--data", "digits", "--loss", "cross_entropy", code=0)
    run("check", f"{target}:build", code=0)
    wrong = ("check", f"{target}:wrong", "--data", "digits", "--loss", "cross_entropy")
    output = run(*wrong, code=1).output
    assert "SK401 softmax-before-cross-entropy  3" in output
    assert "1 error, 0 warnings" in output
    run(*wrong, "--ignore", "SK401", code=0)
    assert json.loads(run(*wrong, "--format", "json", code=1).output)["findings"][0]["code"] == "SK401"
    sarif = json.loads(run(*wrong, "--format", "sarif", code=1).output)
    (result,) = [r for r in sarif["runs"][0]["results"] if r["level"] != "note"]
    assert (result["ruleId"], result["level"]) == ("SK401", "error")
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "3"


TEXT = {"text!": str}
#: what the schema of SARIF 2.1.0 says of the objects that are used here: their properties (with !: required) and what
#: these are; it allows no others, but in a property bag
SARIF: dict[str, Any] = {
    "$schema": str,
    "version!": ("2.1.0",),
    "runs!": [{
        "tool!": {"driver!": {"name!": str, "version": str, "rules": [{
            "id!": str, "name": str, "shortDescription": TEXT, "fullDescription": TEXT, "help": TEXT,
        }]}},
        "results": [{
            "ruleId": str,
            "level": ("none", "note", "warning", "error"),
            "message!": TEXT,
            "locations": [{
                "physicalLocation": {"artifactLocation": {"uri": str}, "region": {"startLine": int}},
                "logicalLocations": [{"fullyQualifiedName": str, "kind": str}],
            }],
            "properties": dict,
        }],
    }],
}  # fmt: skip


def conforms(value: Any, schema: Any) -> None:
    if isinstance(schema, dict):
        known = {name.removesuffix("!"): s for name, s in schema.items()}
        assert value.keys() <= known.keys()
        assert value.keys() >= {name[:-1] for name in schema if name.endswith("!")}
        for name, inside in value.items():
            conforms(inside, known[name])
    elif isinstance(schema, list):
        assert isinstance(value, list)
        for inside in value:
            conforms(inside, schema[0])
    elif isinstance(schema, tuple):
        assert value in schema
    else:
        assert isinstance(value, schema)


def test_sarif_is_what_its_schema_asks_for(target: str) -> None:
    spaced = Path(target).with_name("my model.py")
    spaced.write_text(MODEL)
    words = ("check", f"{spaced}:wrong", "--data", "digits", "--loss", "cross_entropy", "--format", "sarif")
    made = json.loads(run(*words, code=1).output)
    conforms(made, SARIF)
    (one,) = made["runs"]
    assert one["results"]
    rules = [r["id"] for r in one["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    for result in one["results"]:
        assert result["ruleId"] in rules
        (place,) = result["locations"]
        assert place["physicalLocation"]["region"]["startLine"] > 0
        uri = place["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.endswith("my%20model.py")
        assert not set(uri) & set(' \\"<>^`{|}')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{}:missing",), "has no 'missing'"),
        (("{}",), "module:name or file.py:name"),
        (("nowhere.py:build",), "nowhere.py: no such file"),
        (("{}:broken",), "broken failed: RuntimeError: no weights"),
        (("{}:number",), "is of type int, not a function that returns a model"),
        (("{}:build", "--data", "digitz"), "digitz"),
        (("{}:build", "--format", "xml"), "--format is one of"),
        (("{}:build", "--select", "dead"), "nearest: dead-units"),
        (
            ("{}:raises", "--data", "digits"),
            "the model failed on input of shape (1797, 64): ValueError: no such thing",
        ),
        (("{}:narrow", "--data", "digits"), "the model failed on input of shape"),
        (
            ("{0}:build", "--data", "digits", "--loss", "{0}:no_number"),
            "the loss must be one number, got shape",
        ),
        (("{0}:build", "--data", "{0}:empty"), "the batch has no samples"),
        (("{0}:build", "--data", "{0}:nothing"), "the data have no batch"),
        (("{0}:build", "--data", "{0}:breaks"), "breaks failed: RuntimeError: the disk is gone"),
        (("{0}:build", "--data", "{0}:one_then_breaks"), "the data failed: RuntimeError: the disk is gone"),
        (("{0}:build", "--data", "{0}:none"), "none returned None, not data"),
        (("{0}:build", "--optimizer", "{0}:broken"), "broken failed: TypeError"),
        (("{0}:build", "--optimizer", "{0}:none"), "none returned None, not an optimiser"),
        (("{0}:build", "--device", "nowhere"), "moving the model to nowhere failed: RuntimeError"),
        (("{0}:leaves",), "leaves failed: SystemExit: 0"),
    ],
)
def test_what_the_user_can_mend_is_one_line(target: str, words: tuple[str, ...], message: str) -> None:
    output = run("check", *(w.format(target) for w in words), code=2).output
    assert message in output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frozen", "every parameter is frozen"),
        ("detached", "no gradient could be taken: nothing in it depends on a parameter that is trained"),
        ("linear", "not one known activation was called"),
    ],
)
def test_what_could_not_be_looked_at_is_said(target: str, name: str, message: str) -> None:
    command = ("check", f"{target}:{name}", "--data", "digits", "--loss", "cross_entropy")
    assert message in " ".join(run(*command, code=0).output.split())


def test_a_file_that_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("raise SystemExit(0)")
    output = run("check", f"{tmp_path}/script.py:build", code=2).output
    assert "script.py cannot be imported: SystemExit: 0" in output


def test_what_a_model_prints_is_no_part_of_the_report(target: str) -> None:
    result = run("check", f"{target}:talks", "--data", "digits", "--format", "json", code=0)
    assert json.loads(result.stdout)["healthy"]
    assert "the function talks\na layer talks" in result.stderr


def test_rule() -> None:
    assert "slope" in run("rule", "dead-units", code=0).output
    assert "SK401" in run("rule", code=0).output
    run("rule", "nothing", code=2)

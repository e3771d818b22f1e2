"""Who imports whom in one commit, and what can be reached that way."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentvine.impact.facts import FileFacts
from agentvine.impact.modules import ModuleIndex


@dataclass(frozen=True, slots=True)
class ImportGraph:
    """Files and the files that they import."""

    imports: dict[str, set[str]]
    importers: dict[str, set[str]] = field(default_factory=lambda: defaultdict[str, set[str]](set))

    def dependants(self, files: Iterable[str], max_depth: int) -> list[list[str]]:
        """Who depends on any of some files: first who imports one, then who imports those, ...

        Each file is named once, at its least depth; the files asked for are not.
        """
        seen = set(files)
        edge, levels = set(seen), list[list[str]]()
        while edge and len(levels) < max_depth:
            edge = {user for path in edge for user in self.importers.get(path, ())} - seen
            seen |= edge
            if edge:
                levels.append(sorted(edge))
        return levels


def build_graph(facts: Mapping[str, FileFacts], also: Iterable[str] = ()) -> ImportGraph:
    """The graph of a commit's files; ``also`` names files that are gone, but may be imported."""
    index = ModuleIndex(facts, also)
    graph = ImportGraph({path: index.targets(path) for path in facts})
    for path, targets in graph.imports.items():
        for target in targets:
            graph.importers[target].add(path)
    return graph

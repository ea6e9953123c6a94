"""Triples as RDF, in N-Triples or Turtle, each with its sources. Written by rdflib, which is the extra `mmre[graph]`.

A relation is a statement between two entities. Where it is from stands beside it, as a named statement
(`rdf:Statement`): rdflib 7 knows no RDF-star.

    <entity/PER/rafael%20nadal> <relation/per/per/couple> <entity/PER/mery%20perello> .
    <statement/...> a rdf:Statement ; rdf:subject ... ; rdf:predicate ... ; rdf:object ... ;
        prov:wasDerivedFrom <post/17> ; prov:wasAttributedTo <model/...> ;
        <vocabulary/score> 0.97 ; <vocabulary/head_start> 15 ; ... .
    <entity/PER/rafael%20nadal> a <type/PER> ; rdfs:label "Rafael Nadal", "@rafael nadal" .

Names begin with `--base_iri`; terms are from RDF, RDFS, PROV and Dublin Core, or in `{base_iri}vocabulary/`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TextIO

from .graph_nodes import Nodes, as_iri_part

RDF_FORMATS = {"nt": "nt", "ttl": "turtle"}
NODES_AT_ONCE = 1000
# Kinds of names that stand for themselves in Turtle, as `type:PER`; relations have prefixes by their place.
OWN_PREFIXES = ("relation", "type", "vocabulary", "field", "statement", "post")


class RdfWriter:
    """Writes triples as RDF, part by part, so that the memory stays the same.

    Args:
        file: where to write.
        format: `"nt"` or `"ttl"`.
        base_iri: what the names begin with.
        model: what the triples are from: `name`, `revision` and `files_sha256` of the model.
        is_symmetric: tells whether a relation means the same in both directions.
        keep: names of further fields of posts.

    Raises:
        ImportError: rdflib is not installed; the message has the command that installs it.
    """

    def __init__(
        self,
        file: TextIO,
        format: str,
        base_iri: str,
        model: Mapping[str, Any],
        is_symmetric: Callable[[str], bool] = lambda relation: False,
        keep: Sequence[str] = (),
    ):
        self.rdflib = load_rdflib()
        self.file, self.format, self.base_iri, self.keep = file, RDF_FORMATS[format], base_iri, keep
        self.is_symmetric, self.prefixes = is_symmetric, {}
        self.model = self.named("model", f"{model['name']}@{model['revision'] or model['files_sha256']}")
        graph = self.graph()
        graph.add((self.model, self.rdflib.RDF.type, self.rdflib.PROV.SoftwareAgent))
        graph.add((self.model, self.rdflib.RDFS.label, self.rdflib.Literal(model["name"])))
        for name in ("revision", "files_sha256"):
            if model[name] is not None:
                graph.add((self.model, self.named("vocabulary", name), self.rdflib.Literal(str(model[name]))))
        self.write(graph)

    def named(self, kind: str, name: str) -> Any:
        """Return the IRI of what is not an entity; the name of a relation may have several parts."""
        parts = name.split("/") if kind == "relation" else [name]
        return self.rdflib.URIRef(f"{self.base_iri}{kind}/{'/'.join(map(as_iri_part, parts))}")

    def graph(self) -> Any:
        """Return an empty graph with the prefixes of this file."""
        graph = self.rdflib.Graph(bind_namespaces="none")
        for prefix in ("rdf", "rdfs", "xsd", "prov", "dcterms"):
            graph.bind(prefix, getattr(self.rdflib, prefix.upper()))
        for kind in OWN_PREFIXES:
            graph.bind(kind, f"{self.base_iri}{kind}/")
        # Else rdflib makes prefixes up, and numbers them by the hashes of the process.
        names = graph.namespace_manager
        shorten = names.compute_qname
        names.compute_qname = lambda iri, generate=True: shorten(iri, generate=False)
        return graph

    def bind_relations(self, graph: Any) -> None:
        """Give relations prefixes that say where they stand, as `relation-per-per:couple` of `/per/per/couple`."""
        start = f"{self.base_iri}relation/"
        for predicate in set(graph.predicates()):
            folders = str(predicate).removeprefix(start).split("/")[:-1]
            # Two places never have one prefix, for no part of a place has a dash.
            if predicate.startswith(start) and all(re.fullmatch(r"\w+", part, re.ASCII) for part in folders):
                graph.bind("-".join(["relation", *folders]), start + "".join(f"{part}/" for part in folders))

    def write(self, graph: Any) -> None:
        """Write a graph, always in the same order; of Turtle each prefix once."""
        self.bind_relations(graph)
        lines = graph.serialize(format=self.format).split("\n")
        if self.format == "nt":  # its order hangs on hashes; a line break within a literal is escaped
            self.file.write("".join(f"{line}\n" for line in sorted(filter(None, lines))))
            return
        head = next((number for number, line in enumerate(lines) if not line.startswith("@prefix ")), len(lines))
        for line in lines[:head]:
            prefix = line.split()[1]
            if self.prefixes.get(prefix) != line:
                self.prefixes[prefix] = line
                self.file.write(f"{line}\n")
        self.file.write("\n".join(lines[head:]))

    def write_statements(self, triples: Iterable[dict], nodes: Nodes) -> None:
        """Write statements with their sources, part by part, and collect their nodes."""
        triples = iter(triples)
        while part := list(islice(triples, NODES_AT_ONCE)):
            graph = self.graph()
            for triple in part:
                self.add(graph, triple, nodes)
            self.write(graph)

    def write_nodes(self, nodes: Nodes) -> None:
        """Write the types and the labels of all nodes, part by part."""
        found = iter(nodes)
        while part := list(islice(found, NODES_AT_ONCE)):
            graph = self.graph()
            for node in part:
                for label in node.labels:
                    graph.add((self.rdflib.URIRef(node.iri), self.rdflib.RDFS.label, self.rdflib.Literal(label)))
                for kind in node.types:
                    graph.add((self.rdflib.URIRef(node.iri), self.rdflib.RDF.type, self.named("type", kind)))
            self.write(graph)

    def add(self, graph: Any, triple: dict, nodes: Nodes) -> None:
        """Add a statement and its source; a statement, and a post, that other parts have are not said again."""
        rdf, literal, term = self.rdflib.RDF, self.rdflib.Literal, self.named
        ends = [nodes.add(triple[entity]) for entity in ("head", "tail")]
        mentions = ["head", "tail"]
        # Two posts that say the same of A and B and of B and A say one thing.
        if self.is_symmetric(triple["label"]) and ends[0] > ends[1]:
            ends.reverse()
            mentions.reverse()
        subject, object = map(self.rdflib.URIRef, ends)
        relation = term("relation", triple["label"].removeprefix("/"))
        if nodes.is_new(f"{subject} {relation} {object}"):
            graph.add((subject, relation, object))
        spans = {
            f"{role}_{bound}": triple[entity][bound]
            for role, entity in zip(("head", "tail"), mentions)
            for bound in ("start", "end")
        }
        said = [str(self.model), triple["id"], triple["label"], *spans.values()]
        statement = term("statement", hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest())
        post = term("post", triple["id"])
        for predicate, value in (
            (rdf.type, rdf.Statement),
            (rdf.subject, subject),
            (rdf.predicate, relation),
            (rdf.object, object),
            (self.rdflib.PROV.wasDerivedFrom, post),
            (self.rdflib.PROV.wasAttributedTo, self.model),
            *((term("vocabulary", name), literal(triple[name])) for name in ("score", "ruled_out") if name in triple),
            *((term("vocabulary", name), literal(value)) for name, value in spans.items()),
        ):
            graph.add((statement, predicate, value))
        if nodes.is_new(str(post)):
            graph.add((post, self.rdflib.DCTERMS.identifier, literal(triple["id"])))
            for name in self.keep:
                if name in triple["kept"]:
                    graph.add((post, term("field", name), literal(as_scalar(triple["kept"][name]))))


def as_scalar(value: Any) -> Any:
    """Return what a literal, or a cell, holds: text, numbers and truth as they are, JSON of lists and objects."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def load_rdflib() -> Any:
    """Import rdflib.

    Raises:
        ImportError: it is not installed; the message has the command that installs it.
    """
    try:
        import rdflib
    except ModuleNotFoundError as error:
        if error.name != "rdflib":
            raise
        raise ImportError('N-Triples and Turtle need rdflib: pip install "mmre[graph]"') from error
    return rdflib


__all__ = ["RdfWriter", "load_rdflib"]

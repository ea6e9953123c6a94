"""Graphs: nodes, links, RDF with its sources, and the two files that Neo4j imports."""

import csv
import io
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from prediction_helpers import NADAL, PERELLO, TEXT, write
from rdflib import DCTERMS, PROV, RDF, RDFS, Graph, Literal, URIRef
from rdflib.compare import isomorphic

from mmre.inference import rdf
from mmre.inference.entity_links import EntityLinks, read_links
from mmre.inference.graph_nodes import Node, Nodes
from mmre.inference.neo4j import NODE_HEADER, RELATIONSHIP_HEADER, nodes_path, write_nodes, write_relationships
from mmre.inference.rdf import RdfWriter

BASE = "https://kg.example/x#"
MODEL = {"name": "org/model", "revision": "0a1b", "files_sha256": None}
NASTY = [
    'Bo "B" \\ <Cy>',
    "Zoë & 東京 🎾",
    "a\tb\nc",
    "../x?y#z%41",
    "{}|^`",
    "'\x07\x7f",
    "> <x:p> <x:q> .",
    "..",
    "PER/a",
]


def entity(text: str, start: int = 0, kind: str | None = "PER") -> dict:
    return {"start": start, "end": start + len(text), "text": text} | ({} if kind is None else {"type": kind})


def triple(head: dict, label: str, tail: dict, key: str = "1", score: float = 0.5, **kept) -> dict:
    return {"id": key, "head": head, "label": label, "tail": tail, "score": score, "kept": kept}


def nodes_in(tmp_path, links: EntityLinks | None = None) -> Nodes:
    return Nodes(tmp_path / "nodes", BASE, links)


def as_rdf(triples: list[dict], format: str, tmp_path, symmetric=(), keep=()) -> tuple[str, Graph]:
    file = io.StringIO()
    with nodes_in(tmp_path) as nodes:
        writer = RdfWriter(file, format, BASE, MODEL, symmetric.__contains__, keep)
        writer.write_statements(triples, nodes)
        writer.write_nodes(nodes)
    assert not list(tmp_path.iterdir())
    return file.getvalue(), Graph().parse(data=file.getvalue(), format=rdf.RDF_FORMATS[format])


def test_a_name_and_type_are_one_node_with_all_its_forms(tmp_path):
    with nodes_in(tmp_path) as nodes:
        first = nodes.add(entity("#Paris", kind="LOC"))
        assert nodes.add(entity("PARIS", kind="LOC")) == nodes.add(entity("#Paris", kind="LOC")) == first
        person, nobody = nodes.add(entity("Paris")), nodes.add(entity("Paris", kind=None))
        assert len({first, person, nobody}) == 3
        assert {node.iri: node for node in nodes} == {
            first: Node(f"{BASE}entity/LOC/paris", ["LOC"], ["#Paris", "PARIS"]),
            person: Node(f"{BASE}entity/PER/paris", ["PER"], ["Paris"]),
            nobody: Node(f"{BASE}entity/paris", [], ["Paris"]),
        }


def test_linked_names_share_the_node_of_their_identifier(tmp_path):
    path = write(
        tmp_path / "links.csv", [["name", "identifier", "type"], ["@NYC", "Q60", ""], ["new york", "Q60", "LOC"]]
    )
    with nodes_in(tmp_path, read_links(path)) as nodes:
        iris = [
            nodes.add(entity(*each)) for each in (("nyc", 0, "LOC"), ("New York", 0, "LOC"), ("New York", 0, "ORG"))
        ]
        assert iris == ["http://www.wikidata.org/entity/Q60"] * 2 + [f"{BASE}entity/ORG/new%20york"]
        assert next(iter(nodes)) == Node(iris[0], ["LOC"], ["nyc", "New York"])


@pytest.mark.parametrize(
    "row, message",
    [
        (["Ann", "Q1 x", ""], r"links.csv:2: identifier: 'Q1 x'; expected an IRI"),
        (["Ann", "x:a> <b", ""], "identifier: "),
        (["Ann", "", ""], "identifier: nothing; expected an IRI"),
        (["", "Q1", ""], "name: nothing; expected the name"),
    ],
)
def test_a_bad_table_of_links_is_told_by_place(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read_links(write(tmp_path / "links.csv", [["name", "identifier", "type"], row]))


def test_one_name_with_two_identifiers_and_a_table_that_is_not_there_are_refused(tmp_path):
    path = write(tmp_path / "links.csv", [["name", "identifier"], ["Ann", "Q1"], ["#ANN", "Q2"]])
    with pytest.raises(ValueError, match="csv:3: identifier: .*Q2'; expected .*Q1, as above for the same name"):
        read_links(path)
    with pytest.raises(ValueError, match="no identifier"):
        read_links(write(tmp_path / "other.csv", [["name", "iri"], ["Ann", "Q1"]]))
    with pytest.raises(FileNotFoundError, match="--link nowhere.csv: there is no such file"):
        read_links("nowhere.csv")


@pytest.mark.parametrize("format", ["nt", "ttl"])
@pytest.mark.parametrize("name", NASTY)
def test_rdf_holds_any_name(name, format, tmp_path):
    _, graph = as_rdf(
        [triple(entity(name), f"/r/{name}", entity("Cy"), f"id{name}", note=name)], format, tmp_path, keep=["note"]
    )
    statement = graph.value(predicate=RDF.type, object=RDF.Statement)
    subject = graph.value(statement, RDF.subject)
    assert (subject, graph.value(statement, RDF.predicate), graph.value(statement, RDF.object)) in graph
    assert str(subject).startswith(f"{BASE}entity/PER/") and "/" not in str(subject).removeprefix(f"{BASE}entity/PER/")
    assert graph.value(subject, RDFS.label) == Literal(" ".join(name.split()))
    post = graph.value(statement, PROV.wasDerivedFrom)
    assert unquote(str(post)) == f"{BASE}post/id{name}"
    assert graph.value(post, URIRef(f"{BASE}field/note")) == Literal(name)
    assert {str(predicate) for predicate in graph.predicates()} - {f"{BASE}field/note"} <= {
        *(str(term) for term in (RDF.type, RDF.subject, RDF.predicate, RDF.object, RDFS.label, DCTERMS.identifier)),
        *(str(term) for term in (PROV.wasDerivedFrom, PROV.wasAttributedTo)),
        *(
            f"{BASE}vocabulary/{term}"
            for term in ("score", "revision", *(f"{e}_{b}" for e in ("head", "tail") for b in ("start", "end")))
        ),
        str(graph.value(statement, RDF.predicate)),
    }


def test_relations_have_prefixes_by_their_place_in_turtle(tmp_path):
    names = ["/per/per/couple", "/per/loc/lives in", "peer", "/a-b/c", "東京", "//x", "/r/x~y"]
    triples = [triple(entity("Ann"), name, entity("Bob", 9), str(n), by="x") for n, name in enumerate(names)]
    text, graph = as_rdf(triples, "ttl", tmp_path, keep=["by"])
    assert f"@prefix relation-per-per: <{BASE}relation/per/per/> ." in text.splitlines()
    written = ["relation-per-per:couple", "relation-per-loc:lives%20in", "relation:peer"]
    # What has no short name is written whole.
    written += [f"<{BASE}relation/{name}>" for name in ("a-b/c", "%E6%9D%B1%E4%BA%AC", "/x", "r/x~y")]
    for name in written:
        assert f"rdf:predicate {name} ;" in text
    for name in ("a type:PER ;", "field:by ", "post:0 ", "statement:", "vocabulary:score "):
        assert name in text
    assert not re.search(r"\bns\d+:", text)
    assert isomorphic(graph, as_rdf(triples, "nt", tmp_path, keep=["by"])[1])


def test_no_name_is_a_step_up_in_an_iri(tmp_path):
    """A reader resolves `a/../b` to `b` (RFC 3986, 5.2.4); of a whole name, dots are the only ones that do so."""
    said = triple(entity("..", kind=".") | {"text": ".."}, "/../x", entity("a..b", 9, ".."), "..")
    _, graph = as_rdf([said], "nt", tmp_path)
    iris = {str(term) for row in graph for term in row if isinstance(term, URIRef)}
    assert not any(part in (".", "..") for iri in iris for part in iri.split("/"))
    assert f"{BASE}entity/%2E/%2E%2E" in iris and f"{BASE}entity/%2E%2E/a..b" in iris


def test_each_statement_has_its_post_its_spans_its_score_and_its_model(tmp_path):
    _, graph = as_rdf(
        [triple(entity("Ann"), "/per/per/peer", entity("Bob", 9), "p 1", 0.75, at=["x"])], "ttl", tmp_path, keep=["at"]
    )
    statement = graph.value(predicate=RDF.type, object=RDF.Statement)
    found = {str(predicate).rpartition("/")[2].rpartition("#")[2]: value for predicate, value in graph[statement]}
    assert float(found["score"]) == 0.75
    assert [found[name].value for name in ("head_start", "head_end", "tail_start", "tail_end")] == [0, 3, 9, 12]
    assert found["predicate"] == URIRef(f"{BASE}relation/per/per/peer")
    assert found["wasDerivedFrom"] == URIRef(f"{BASE}post/p%201")
    assert graph.value(found["wasDerivedFrom"], DCTERMS.identifier) == Literal("p 1")
    assert graph.value(found["wasDerivedFrom"], URIRef(f"{BASE}field/at")) == Literal('["x"]')
    model = found["wasAttributedTo"]
    assert graph.value(model, RDFS.label) == Literal("org/model") and model == URIRef(f"{BASE}model/org%2Fmodel%400a1b")
    assert graph.value(model, URIRef(f"{BASE}vocabulary/revision")) == Literal("0a1b")
    assert graph.value(URIRef(f"{BASE}entity/PER/ann"), RDF.type) == URIRef(f"{BASE}type/PER")


def test_what_several_posts_say_is_one_edge_with_several_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(rdf, "NODES_AT_ONCE", 1)  # in parts: what one part has said, another does not say again
    triples = [
        triple(entity("Ann"), "peer", entity("Bob", 9), "1"),
        triple(entity("#ann"), "peer", entity("Bob", 9), "2"),
        triple(entity("Bob"), "peer", entity("ANN", 9), "3"),
        triple(entity("Bob"), "parent", entity("Ann", 9), "3"),
    ]
    texts = {format: as_rdf(triples, format, tmp_path, ["peer"]) for format in ("nt", "ttl")}
    assert isomorphic(texts["nt"][1], texts["ttl"][1])
    text, graph = texts["nt"]
    ann, bob, peer = (URIRef(f"{BASE}{name}") for name in ("entity/PER/ann", "entity/PER/bob", "relation/peer"))
    assert list(graph[:peer:]) == [(ann, bob)]
    assert (bob, URIRef(f"{BASE}relation/parent"), ann) in graph
    assert len(list(graph[: RDF.type : RDF.Statement])) == 4
    assert len(text.splitlines()) == len(set(text.splitlines())) == len(graph)
    # The third post says it the other way round; its spans are of what the statement calls head and tail.
    third = [s for s in graph[: PROV.wasDerivedFrom : URIRef(f"{BASE}post/3")] if graph.value(s, RDF.predicate) == peer]
    assert graph.value(third[0], URIRef(f"{BASE}vocabulary/head_start")).value == 9
    assert sorted(map(str, graph[ann : RDFS.label])) == ["#ann", "ANN", "Ann"]
    assert texts["ttl"][0].count("@prefix rdf:") == 1
    _, graph = as_rdf(triples, "nt", tmp_path)
    assert len(list(graph[:peer:])) == 2


def read_csv_text(text: str) -> list[list[str]]:
    assert len(text.splitlines()) == len(list(csv.reader(io.StringIO(text))))  # no line break within a cell
    return list(csv.reader(io.StringIO(text)))


def test_neo4j_gets_nodes_and_relationships_that_fit_together(tmp_path):
    names = [*NASTY, "=1+1", "@user", "a;b"]
    triples = [triple(entity(name), "/per/per/peer", entity("Cy", 9, "ORG"), f"id {name}", note=name) for name in names]
    relationships, file = io.StringIO(), io.StringIO()
    with nodes_in(tmp_path) as nodes:
        write_relationships(triples, relationships, nodes, MODEL, {"/per/per/peer"}.__contains__, ["note"])
        write_nodes(nodes, file)
    (header, *edges), (node_header, *found) = read_csv_text(relationships.getvalue()), read_csv_text(file.getvalue())
    assert header == [*RELATIONSHIP_HEADER, "note"] and node_header == [*NODE_HEADER]
    ids = [row[0] for row in found]
    assert len(ids) == len(set(ids)) == len(names) + 1 and len(edges) == len(names)
    assert {end for row in edges for end in row[:2]} == set(ids)
    assert all(row[0] < row[1] and row[2] == "/per/per/peer" and float(row[3]) == 0.5 for row in edges)
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for row in edges + found for cell in row)
    by_id = {row[0]: row for row in found}
    assert by_id[f"{BASE}entity/PER/a%3Bb"][1:] == ["a;b", "a\uff1bb", "Entity;PER"]
    assert by_id[f"{BASE}entity/ORG/cy"][1:] == ["Cy", "Cy", "Entity;ORG"]
    # Of a symmetric relation, the spans go with the ends.
    (edge,) = [row for row in edges if row[5] == "id =1+1"]
    assert edge[:2] == [f"{BASE}entity/ORG/cy", f"{BASE}entity/PER/%3D1%2B1"] and edge[6:10] == ["9", "11", "0", "4"]
    assert edge[10:] == ["org/model", "0a1b", "'=1+1"]


@pytest.mark.parametrize(
    "name, reason", [("dc:date", "what follows a colon is a type"), ("model", "there is a property of that name")]
)
def test_a_kept_field_whose_name_means_something_to_neo4j_is_refused(arguments, name, reason):
    with pytest.raises(ValueError, match=f"--keep {name}: {reason} in Neo4j's import; expected another name"):
        arguments("graph.csv", format="neo4j", keep=[name])
    assert arguments("graph.csv", keep=[name]).keep == [name]
    with pytest.raises(ValueError, match="--keep head_type: it has a meaning of its own"):
        arguments("graph.csv", keep=["head_type"])


def test_the_file_of_nodes_stands_beside_that_of_relationships():
    assert str(nodes_path("a/graph.csv")).endswith("graph.nodes.csv")


def test_a_graph_without_rdflib_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rdflib", None)
    with pytest.raises(ImportError, match=r'pip install "mmre\[graph\]"'):
        rdf.load_rdflib()


def test_a_prediction_is_a_graph_with_links(mtb, folder, arguments, tmp_path):
    from mmre.inference.run import predict

    entities = [{"start": span[0], "end": span[1], "type": "PER"} for span in (NADAL, PERELLO)]
    posts = write(folder / "raw.jsonl", [{"id": "x", "text": TEXT, "entities": entities, "by": "Bo"}])
    links = write(tmp_path / "links.csv", [["name", "identifier"], ["rafael nadal", "Q10132"]])
    args = arguments("graph.ttl", link=links, base_iri=BASE, keep=["by"])
    report = predict(mtb, posts, args)
    graph = Graph().parse(args.out)
    statements = list(graph[: RDF.type : RDF.Statement])
    said = f"{len(statements)} triples between 2 entities (1 have an identifier of --link) of 1 posts"
    assert statements and said in report.text
    assert graph.value(graph.value(statements[0], PROV.wasAttributedTo), RDFS.label) == Literal("mtb")
    assert str(tmp_path) not in Path(args.out).read_text()  # no path of this machine
    nadal = URIRef("http://www.wikidata.org/entity/Q10132")
    assert {nadal, URIRef(f"{BASE}entity/PER/mery%20perello")} == {
        graph.value(statements[0], each) for each in (RDF.subject, RDF.object)
    }
    assert graph.value(URIRef(f"{BASE}post/x"), URIRef(f"{BASE}field/by")) == Literal("Bo")
    predict(mtb, posts, arguments("graph.csv", format="neo4j", keep=["by"]))
    assert (tmp_path / "graph.nodes.csv").read_text().count("\n") == 3
    edge = next(csv.DictReader((tmp_path / "graph.csv").open()))
    assert edge["model"] == "mtb" and re.fullmatch("[0-9a-f]{64}", edge["revision"]) and edge["by"] == "Bo"
    assert sorted(path.name for path in tmp_path.glob("graph*")) == ["graph.csv", "graph.nodes.csv", "graph.ttl"]
    (tmp_path / "graph.csv").unlink()
    with pytest.raises(FileExistsError, match="graph.nodes.csv is there already"):
        predict(mtb, posts, arguments("graph.csv", format="neo4j", keep=["by"]))
    with pytest.raises(FileNotFoundError, match="--link nowhere"):
        predict(mtb, posts, arguments("other.nt", link="nowhere", keep=["by"]))
    with pytest.raises(ValueError, match="--link; the format jsonl has no identifiers"):
        arguments("other.jsonl", link=links)

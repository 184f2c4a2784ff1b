from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.spec import Plain, read_text, read_yaml, resolve


def read(text: str):
    return read_yaml(text, file="pipelines/x.yaml")


def refused(text: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        read(text)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_scalars_keep_the_text_they_were_written_with():
    tree = read("a: 2.10\nb: 0123\nc: 2024-07-18\nd: yes\ne: on\nf: 1e3\n").tree
    assert tree == {"a": "2.10", "b": "0123", "c": "2024-07-18", "d": "yes", "e": "on", "f": "1e3"}
    assert all(isinstance(value, Plain) for value in tree.values())


def test_quoted_scalars_are_ordinary_text_and_nulls_are_null():
    tree = read("a: '1'\nb: ~\nc: null\nd:\ne: 'null'\nf: !!str 1\n").tree
    assert tree == {"a": "1", "b": None, "c": None, "d": None, "e": "null", "f": "1"}
    assert not isinstance(tree["a"], Plain)
    assert not isinstance(tree["f"], Plain)


def test_yaml_1_2_says_what_a_plain_scalar_means_where_anything_goes():
    tree = resolve(read("a: [1, 2.5, true, yes, 0123, 1.2.3, '4']\n").tree)
    assert tree == {"a": [1, 2.5, True, "yes", "0123", "1.2.3", "4"]}


def test_a_tab_is_named_with_its_line():
    assert (
        refused("extract:\n\tsource: x\n")
        == "pipelines/x.yaml:2: line 2 is indented with a tab; YAML wants spaces"
    )
    assert "line 3 is indented with a tab" in refused("a:\n  b: 1\n\tc: 2\n")


def test_a_tab_inside_a_block_text_is_fine():
    assert read("a: |\n  x\n  \ty\n").tree == {"a": "x\n\ty\n"}


def test_a_repeated_key_names_both_lines_and_the_rest_is_still_read():
    document = read("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n")
    assert [(f.line, f.what) for f in document.findings] == [
        (3, "`a` stands here and at line 1"),
        (4, "`d` stands here and at line 4"),
    ]
    assert document.tree == {"a": "1", "b": "2", "c": {"d": "1"}}


def test_anchors_aliases_and_merge_keys_work():
    tree = read("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\nlist: [*b]\nboth:\n  <<: [{z: 0}, *b]\n").tree
    assert tree["one"] == {"x": "1", "y": "3"}
    assert tree["list"] == [{"x": "1", "y": "2"}]
    assert tree["both"] == {"z": "0", "x": "1", "y": "2"}


def test_an_alias_bomb_is_refused():
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for n in range(1, 30):
        bomb += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    assert "aliases blow this file up to more than 50,000 values" in refused(bomb)


def test_an_alias_to_nothing_or_to_itself_is_refused():
    assert "`*x` is not defined above" in refused("a: *x\n")
    assert "`*x` is not defined above" in refused("a: &x [*x]\n")


@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000, "\n".join(" " * n + "a:" for n in range(3000))])
def test_endless_nesting_is_refused(text):
    assert "nested deeper than 100 levels" in refused(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "the file is a list, not a mapping"),
        ("hello\n", "the file is a text, not a mapping"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: a second document begins here"),
        ("a: [1\n", "not valid YAML"),
        ('a: "b\nc: d\n', "begun at line 1"),
        ("a: b: c\n", "x.yaml:1: not valid YAML"),
        ("a: 1\nb: \x01", "x.yaml:2: holds a control character"),
        ("a: !!python/object:os.system x\n", "means nothing here"),
    ],
)
def test_what_is_no_pipeline_gets_one_clear_sentence(text, message):
    assert message in refused(text)


def test_an_unquoted_template_is_explained():
    document = read("transform:\n  context: {{ retrieved_documents }}\n")
    assert document.findings[0].line == 2
    assert "{{ input.retrieved_documents }}" in document.findings[0].fix
    assert "in quotes" in refused("a: {{ x }}/b\n")


def test_a_place_is_found_through_tags_config_and_moved_blocks():
    document = read(
        "evaluate:\n- type: semantic\n  config:\n    threshold: 2\nload:\n  destination: x\n  quality_gate: al_pass\n"
    )
    assert document.line("evaluate", "evaluators", 0, "semantic", "threshold") == 4
    assert document.line("evaluate", "quality_gate", "type") == 7
    assert document.line("load", "schema", "nowhere") == 5
    assert document.where() == "pipelines/x.yaml:1"


def test_lines_survive_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: 2\r\n")
    document = read(read_text(path, tmp_path))
    assert document.tree == {"a": "1", "b": {"c": "2"}}
    assert document.line("b", "c") == 3


def test_files_that_cannot_be_read_say_why(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "lost.yaml").symlink_to(tmp_path / "nowhere")
    for name, message in {
        "latin.yaml": "latin.yaml:2: is not UTF-8 text",
        "folder.yaml": "folder.yaml: is a folder",
        "lost.yaml": "lost.yaml: does not exist",
    }.items():
        with pytest.raises(Misconfigured) as caught:
            read_text(tmp_path / name, tmp_path)
        assert message in str(caught.value)

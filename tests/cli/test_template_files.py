"""Templates as files: what is written is read again, and a repository becomes a template of it."""

import base64
from pathlib import Path

import pytest

from agentvine.cli.template_files import (
    TemplateFileInvalid,
    files_of,
    read_template_file,
    write_template,
)
from agentvine.git.contents import CommittedFile
from agentvine.protocol.templates import TemplateDocument, TemplateOut, TemplateSource

DOCUMENT = TemplateDocument.model_validate(
    {
        "format": 1,
        "name": "mine",
        "category": "web",
        "tags": ["B", "a"],
        "variables": [{"name": "name", "pattern": "[a-z]+"}, {"name": "size", "default": "3"}],
        "files": {
            "a.txt": "two\nlines  \n\tand a tab\n",
            "empty": "",
            "win.txt": "a\r\nb\r\n",
            "run": {"content": "{{ x", "executable": True, "verbatim": True},
            "logo.png": {"content": "AP8=", "encoding": "base64"},
        },
    }
)


def answered(document: TemplateDocument) -> TemplateOut:
    """As the server shows it."""
    return TemplateOut.model_validate(
        {
            **document.model_dump(),
            "id": "00000000-0000-0000-0000-000000000001",
            "source": TemplateSource.OWN,
            "project_id": None,
            "required_vars": [],
            "optional_vars": [],
            "created_at": None,
            "updated_at": None,
        }
    )


def test_what_is_exported_is_imported_as_it_was(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    text = write_template(answered(DOCUMENT))
    path.write_text(text, newline="")
    assert read_template_file(path) == DOCUMENT
    assert text.startswith("format: 1\nname: mine\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "while parsing"),
        ("- a", "format: 1"),
        ("name: mine", "format: 1"),
        ("format: 2\nname: a\ncategory: web\nfiles: {a: b}", "format"),
        ("format: 1\nname: A b\ncategory: web\nfiles: {a: b}", "name"),
        ("format: 1\nname: a\ncategory: web\nfiles: {a: b}\nvariables: [{name: loop}]", "loop"),
        (
            "format: 1\nname: a\ncategory: web\nfiles: {a: {content: '?', encoding: base64}}",
            "base64",
        ),
        ("format: 1\nname: a\ncategory: web\nfiles: {a: b}\nmore: 1", "more"),
    ],
)
def test_a_file_that_is_no_template_says_what_is_wrong(tmp_path: Path, text: str, said: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(TemplateFileInvalid, match=said):
        read_template_file(path)
    with pytest.raises(TemplateFileInvalid, match=r"nothing\.yaml"):
        read_template_file(tmp_path / "nothing.yaml")


def taken(files: dict[str, bytes], **variables: str) -> dict[str, object]:
    committed = [CommittedFile(path, content, False) for path, content in files.items()]
    return dict(files_of(committed, variables).files)


def test_texts_become_variables_where_they_stand_alone():
    files = {"shop/app.py": b"import shop\nimport shop_db, workshop, shops, SHOP\n"}
    committed = [CommittedFile(path, content, True) for path, content in files.items()]
    found = files_of(committed, {"shop": "package", "shop_db": "database"})
    assert found.files == {
        "{{ package }}/app.py": {
            "content": "import {{ package }}\nimport {{ database }}, workshop, shops, SHOP\n",
            "executable": True,
        }
    }
    assert found.found == {"shop": 2, "shop_db": 1}


def test_what_looks_like_a_placeholder_stays_what_it_is():
    assert taken({"a": b"${{ x }} {shop} {{{shop}}} {% y %} {# z #}"}, shop="name")["a"] == {
        "content": "${{ '{{' }} x }} {{ '{' }}{{ name }}} {{ '{{' }}{{ '{' }}{{ name }}}}} "
        "{{ '{%' }} y %} {{ '{#' }} z #}"
    }
    untouched = {"content": "{{ x }}", "verbatim": True}
    assert taken({"a": b"{{ x }}", "b": b"plain\n"}, shop="name") == {
        "a": untouched,
        "b": {"content": "plain\n"},
    }


def test_what_is_no_text_is_kept_in_base64():
    for content in (b"\xff\xfe", b"a\0b"):
        given = {"content": base64.b64encode(content).decode(), "encoding": "base64"}
        assert taken({"a": content}, shop="name")["a"] == given

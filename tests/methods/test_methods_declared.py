"""What a method's file declares: read without importing it, told with its line if it is wrong, typed in use."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from petvr import methods, papers, planning, similarity
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.config import load_config
from petvr.errors import PetvrError
from petvr.methods._declare import Declaration, Insert
from petvr.papers.cells import split_method
from petvr.registry import Registry, import_file

ROOT = Path(__file__).parents[2]
A = """VERSION = 3
class ASettings(DeclaredSettings):
    r: int = setting(1, "paper", "section 2", at_least=1)
    last: int = setting(0, "guess", "not said")
    kind: str = setting("x", "code", "the released one", choices=("x", "y"))
"""
B = """VERSION = 1
class BSettings(DeclaredSettings):
    k: float = setting(2.0, "count", "meets 3.1 M", above=0)
    last: int = setting(0, "guess", "not said", at_most=4)
"""
BOTH = """VERSION = 2
PARTS = ("a", "b")
class BothSettings(ASettings, BSettings):
    k: float = setting(5.0, "paper", "table 1")
"""


@pytest.fixture
def registry(tmp_path):
    for name, text in {"a": A, "b": B, "both": BOTH, "_helper": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return Registry("method", "nowhere", tmp_path)


def test_settings_and_versions_come_from_the_parts(registry):
    assert registry.available() == ["a", "b", "both"]
    both = registry.declared("both")
    assert both.defaults == {"r": 1, "last": 0, "kind": "x", "k": 5.0} and list(both.settings) == [
        "r",
        "last",
        "kind",
        "k",
    ]
    assert both.settings["kind"].choices == ("x", "y") and both.settings["last"].at_most == 4
    assert both.version == 4 and registry.declared("b").version == 1
    assert (both.settings["k"].origin, both.settings["k"].where) == ("paper", "table 1")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"r": 0}, "^method 'a': setting 'r': 0 given, allowed: 1 or more$"),
        ({"lst": 2}, "^method 'a': unknown setting 'lst' .did you mean 'last'.*; allowed: kind, last, r$"),
        ({"kind": "z"}, "^method 'a': setting 'kind': unknown value 'z'.*; allowed: x, y$"),
        ({"r": 1.5}, "^method 'a': setting 'r': 1.5 given, allowed: int"),
        ({"r": True}, "^method 'a': setting 'r': True given, allowed: int"),
    ],
)
def test_a_bad_value_is_told_in_one_line(registry, setting, message):
    with pytest.raises(PetvrError, match=message):
        registry.complete("a", setting)


def test_bounds_are_kept_and_whole_numbers_become_floats(registry):
    complete = registry.complete("b", {"k": 3, "last": 4})
    assert complete == {"k": 3.0, "last": 4} and type(complete["k"]) is float
    for key, value, allowed in [("k", 0, "more than 0"), ("k", float("nan"), "more than 0"), ("last", 5, "0 to 4")]:
        with pytest.raises(PetvrError, match=f"'{key}': {value} given, allowed: {allowed}"):
            registry.complete("b", {key: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SIMILARITY = 'x'\n", r"new\.py: VERSION is missing"),
        (
            "VERSION = 1\nclass NewSettings(S):\n    r: int = 3\n",
            r"new\.py: line 3: .*setting\(default, origin",
        ),
        (
            "VERSION = 1\nclass NewSettings(S):\n    r: int = setting(3, 'book', '')\n",
            "line 3: origin 'book'",
        ),
        ("VERSION = 1\nclass NewSettings(S):\n    r: int = setting(3, 'code')\n", "line 3: .*where"),
        ("VERSION = one\n", r"new\.py: line 1: `one` is no literal"),
        ("VERSION = '1'\n", r"new\.py: VERSION: '1' given, allowed: a whole number"),
        ("VERSION = 0\n", r"new\.py: VERSION: 0 given, allowed: a whole number"),
        ("VERSION = 1\nIDENTITY = 'exakt'\n", r"new\.py: IDENTITY: 'exakt' given, allowed: exact, near, none"),
        ("VERSION = 1\nOPEN = 'one sentence.'\n", r"new\.py: OPEN: .* given, allowed: a tuple of sentences"),
        ("VERSION = 1\nNOT_WITH = ['a']\n", r"new\.py: NOT_WITH: .* given, allowed: {method: why not}"),
        ("VERSION = 1\nPARTS = ('aa',)\n", r"new\.py: PARTS: unknown method 'aa'.*; allowed: a, b, both$"),
        ("VERSION = 1\nPARTS = ('new',)\n", r"new\.py: PARTS: unknown method 'new'; allowed: a, b, both$"),
        ("VERSION = 1\nRULES = ('r', 'r < 1', 'less')\n", r"new\.py: RULES: .* allowed: a tuple of rules"),
        ("VERSION = 1\nRULES = (('r', 'r < 1', 'less'),)\n", r"new\.py: RULES: unknown setting 'r'"),
        ("VERSION = 1\nPARTS = ('a',)\nRULES = (('r', 'r <', 'less'),)\n", r"new\.py: RULES: 'r <' is no condition"),
        ("VERSION = 1\nTUNE = {'setting.r': (1, 2)}\n", r"new\.py: TUNE: unknown setting 'r'"),
        (
            "VERSION = 1\nPARTS = ('a',)\nTUNE = {'setting.r': (0, 2)}\n",
            r"new\.py: TUNE: 'setting.r': 0 given, allowed: 1",
        ),
        (
            "VERSION = 1\nclass NewSettings(S):\n    r: int = setting(3, 'code', 'theirs', more_than=0)\n",
            r"line 3: setting\(\): unknown argument 'more_than'.*; allowed: above, .*, where$",
        ),
        (
            "VERSION = 1\nclass NewSettings(S):\n    r: int = setting(2 * 3, 'code', 'theirs')\n",
            r"line 3: `2 \* 3` is no literal",
        ),
        (
            "VERSION = 1\nclass NewSettings(S):\n    r: int = setting(None, 'code', 'x')\n",
            "line 3: default None of a setting",
        ),
        ("VERSION = 1\ndef declare(:\n", r"new\.py: line 2: "),
    ],
)
def test_a_file_that_declares_badly_is_told_with_its_line_and_leaves_the_others_alone(registry, text, message):
    (registry.folder / "new.py").write_text(text)
    assert registry.available() == ["a", "b", "both", "new"] and registry.declared("a").version == 3
    with pytest.raises(PetvrError, match=message):
        registry.declared("new")


def test_a_class_of_settings_may_have_any_name_and_constants_a_type(registry):
    text = "VERSION: int = 2\nclass Mine(DeclaredSettings):\n    r: int = setting(3, 'code', 'theirs')\n"
    (registry.folder / "new.py").write_text(text)
    assert registry.declared("new").version == 2 and registry.declared("new").defaults == {"r": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torsh\n", "line 1: ModuleNotFoundError: No module named 'torsh'"),
        ("x = 1\ny = setting(2)\n", "line 2: NameError: name 'setting' is not defined"),
        ("x = 1\ndef declare(:\n", "line 2: SyntaxError: "),
        ("from petvr.errors import PetvrError\nraise PetvrError('no mirror')\n", "no mirror"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(tmp_path, monkeypatch, text, message):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "added_by_someone.py").write_text(text)
    with pytest.raises(PetvrError, match=f"^{tmp_path}/added_by_someone.py: {message}"):
        import_file("added_by_someone", tmp_path / "added_by_someone.py")


EVERY = [(methods.REGISTRY, name) for name in methods.available()]
EVERY += [(similarity.REGISTRY, name) for name in similarity.available()]


@pytest.mark.parametrize(("registry", "name"), EVERY, ids=[f"{one.kind}-{name}" for one, name in EVERY])
def test_the_typed_settings_are_those_that_were_read_without_an_import(registry, name):
    declared = registry.declared(name)
    typed = registry.typed(name, declared.defaults)
    assert (
        {field.name: field.metadata["declared"] for field in fields(typed)} == declared.settings
        if declared.settings
        else True
    )
    assert {key: getattr(typed, key) for key in declared.settings} == declared.defaults
    for one in declared.settings.values():
        assert one.where and one.checked(one.default, "default") == one.default
    if declared.settings:
        with pytest.raises(AttributeError):
            setattr(typed, next(iter(declared.settings)), 1)


def test_raps_settings_are_those_of_its_halves_in_their_order():
    assert list(methods.defaults("rap")) == list(methods.defaults("lorm") | methods.defaults("asa"))
    assert methods.version("rap") >= max(methods.version("lorm"), methods.version("asa"))


def test_a_composition_tells_the_similarity_it_needs():
    assert methods.similarity_of("x_clip+lorm+asa") == "x_clip" and methods.similarity_of("vop") is None


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("vop_p@specific=9", "method 'vop_p': setting 'specific': 9 given, allowed: 1 to tokens=8"),
        ("vop_c@tokens=2", "method 'vop_c': setting 'specific': 4 given, allowed: 1 to tokens=2"),
        ("vop@readout=released,tokens=5", "'tokens': 5 given, allowed: an even number for readout=released"),
        ("coop@tokens=76", "'tokens': 76 given, allowed: 1 to 75"),
        ("cross_modal_adapter@ds=513", "'ds': 513 given, allowed: 1 to 512"),
        ("full@freeze=1,rule=everything", "'freeze': 1 given, allowed: rule=everything allows only 0"),
        ("full@freeze=13", "'freeze': 13 given, allowed: 0 to 12"),
        (
            "lorm@axes=space_time,factorised=false",
            "axes=space_time, factorised=false given, allowed: factorised=false",
        ),
        ("rap@axes=space_time,factorised=false", "axes=space_time, factorised=false given"),
        ("ju@postfix=0,prefix=0", "prefix=0, postfix=0 given, allowed: at least one"),
        ("ju@postfix=64", "prefix=16, postfix=64 given, allowed: fewer than 75 together"),
        ("adaptformer@width=1000000", "'width': 1e+06 given, allowed: 100,000 at most"),
        ("vop_c+vop_p", "vop_c and vop_p exclude each other; allowed: vop_f with vop_p, vop_f with vop_c"),
        ("asa+vop_f", "asa and vop_f exclude each other; it joins the frames of a video into one sequence"),
        ("rap+vop_f", "rap and vop_f exclude each other"),
        ("ts2_net+vop_f", "ts2_net and vop_f exclude each other"),
        ("ju+mv_adapter", "ju and mv_adapter exclude each other"),
    ],
)
def test_what_may_not_be_together_is_said_when_a_run_is_named_and_not_in_its_job(method, told):
    config, recipe = load_config([ROOT / "config.yaml"]), papers.load_paper("rap").recipe("msvd", "full")[0]
    with pytest.raises(PetvrError, match=re.escape(told)):
        planning.check_run(config, *_written(method), recipe, "vit-b-32", "")


def _written(method):
    name, words = split_method(method, "")
    return name, methods.typed_setting(name, words)


def test_rules_stay_silent_where_the_size_of_the_clip_is_not_known_yet():
    assert methods.settings("cross_modal_adapter", {"ds": 513}, {})["cross_modal_adapter"]["ds"] == 513


DECLARED = {  # what `declare` gives -> what is told of it
    "None": "`declare` returns a NoneType, allowed: a Declaration",
    "nn.Linear(2, 2)": "`declare` returns a Linear, allowed: a Declaration",
    "Declaration(module={'a': nn.Linear(2, 2)})": "module is a dict, allowed: an nn.Module or None",
    "Declaration(module=nn.Linear(2, 2).requires_grad_(False))": "module has 2 parameters, and none of them trains",
    "Declaration(insert=Insert('both', 'mid', max))": "insert is a Insert, allowed: a list of Insert",
    "Declaration(insert=[Insert('both', 'midd', max)])": "vision tower: unknown place 'midd' .did you mean 'mid'",
}


def adapt_with(monkeypatch, declare):
    monkeypatch.setattr(import_file("petvr.methods.bias", Path("bias.py")), "declare", declare)
    tiny = ClipConfig(Tower(8, 1, 2, 8), Tower(8, 1, 2, 8), image=16, patch=8, positions=9, vocab=9, eot=8, embed=4)
    methods.adapt(weights.random(tiny, 0), "bias", {}, frames=2, words=4, generator=torch.Generator())


@pytest.mark.parametrize("given", DECLARED)
def test_a_declaration_of_something_else_is_told_in_one_line(monkeypatch, given):
    names = {"nn": torch.nn, "Declaration": Declaration, "Insert": Insert}
    with pytest.raises(PetvrError, match=f"^method 'bias': {DECLARED[given]}"):
        adapt_with(monkeypatch, lambda settings, build: eval(given, names))


def test_a_declare_with_other_arguments_is_told(monkeypatch):
    with pytest.raises(PetvrError, match=r"not of the form declare\(settings, build\)"):
        adapt_with(monkeypatch, lambda settings: Declaration())

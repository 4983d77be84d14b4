"""Configuration: one definition, strict, with errors that name the file, the key, the nearest key and the type."""

from __future__ import annotations

import tomllib

import pytest

from fractal_core.config import RunConfig
from fractal_core.config_keys import key_ending_with, known_keys, type_words, walk
from fractal_core.config_loading import load_config
from fractal_core.config_template import config_template
from fractal_core.errors import UsageError
from fractal_core.languages import LANGUAGES
from fractal_core.pipeline import STAGES


@pytest.fixture
def write(tmp_path):
    """Write a configuration and return its path."""

    def _write(text):
        path = tmp_path / "fractal.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


MINIMAL = '[input]\npath = "r.jsonl"\n'


def test_only_the_input_is_needed(write, tmp_path):
    """Everything has a default but the input, whose path is seen from the file's folder."""
    config = load_config(write(MINIMAL))
    assert config.input.path == str(tmp_path / "r.jsonl")
    assert config.aggregation == "min"
    assert config.encoder.model == "minilm"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[input]\npath = 'x'\n[train]\nepoch = 3\n", ["train.epoch;", "did you mean train.epochs", "a whole number"]),
        ("[input]\npath = 'x'\n[trian]\nepochs = 3\n", ["no key trian", "did you mean train"]),
        (
            "agregation = 'min'\n[inptu]\npath = 'x'\n",
            ["no key agregation; did you mean aggregation", "no key inptu; did you mean input (a section)"],
        ),
        ("[input]\npath = 'x'\n[train]\nepochs = 'many'\n", ["train.epochs = 'many'", "a whole number >= 1"]),
        ("[input]\npath = 'x'\n[train]\nepochs = 0\n", ["train.epochs = 0", ">= 1"]),
        ("[input]\npath = 'x'\n[train]\nprior_offset = 1\n", ["train.prior_offset = 1", "true or false"]),
        ("aggregation = 'mean'\n[input]\npath = 'x'\n", ["aggregation = 'mean'", '"min", "max", "avg"']),
        ("[input]\npath = 7\n", ["input.path = 7", "text or a list of text"]),
        ("[train]\nepochs = 3\n", ["input is missing", "[input] path ="]),
        ("[input]\n", ["input.path is missing"]),
        ("[input\n", ["not valid TOML", "line 1"]),
        (
            "[input]\npath = 'x'\n[encoder]\nkind = 'static'\n[train]\nscorer = 'finetune'\n",
            ['train.scorer = "finetune" trains', 'encoder.kind = "static" does without', '"transformer"'],
        ),
    ],
)
def test_errors_say_where_and_what(write, text, words):
    """Each fault is one line with the file, the key, the value and what is expected."""
    path = write(text)
    with pytest.raises(UsageError) as error:
        load_config(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_missing_file(tmp_path):
    """A missing file is named, with the command that writes one."""
    with pytest.raises(UsageError, match=r"nowhere\.toml.*fractal init"):
        load_config(tmp_path / "nowhere.toml")


def test_settings_override(write):
    """--set takes TOML values, bare words are text, and the last one wins."""
    config = load_config(
        write(MINIMAL), ["train.epochs=7", "aggregation=max", "train.epochs=9", 'segment.language="de"']
    )
    assert (config.train.epochs, config.aggregation, config.segment.language) == (9, "max", "de")


@pytest.mark.parametrize("setting", ["train.epochs", "=3", "aggregation.x=3"])
def test_bad_settings(write, setting):
    """A --set that is none, or that goes through a value, is an error that shows it."""
    with pytest.raises(UsageError, match=r"--set|does not fit"):
        load_config(write('aggregation = "min"\n' + MINIMAL), [setting])


@pytest.mark.parametrize(("document", "query", "sql"), [(0.7, 0.7, 0.0), (0.5, 0.5, 0.0), (0.7, 0.2, 0.1)])
def test_prior_weights_leave_something_to_the_bag_loss(write, document, query, sql):
    """Weights that sum to 1 or more are refused: nothing would be learned from the response labels."""
    assert 0.7 + 0.2 + 0.1 < 1
    path = write(MINIMAL + '[priors]\nsql = "SELECT 1"\n')
    settings = (("document", document), ("query", query), ("sql", sql))
    with pytest.raises(UsageError) as error:
        load_config(path, [f"train.prior_weights.{name}={weight}" for name, weight in settings])
    said = f"train.prior_weights: the prior weights sum to {document + query + sql:g}; they must sum to less than 1"
    assert said in str(error.value)
    assert str(error.value).endswith("lower one of them.")


def test_no_prior_weight_is_one(write):
    """All the weight on one prior is refused by its key; a little less is taken."""
    with pytest.raises(UsageError, match=r"train\.prior_weights\.document = 1\.0 does not fit; .* >= 0 and < 1"):
        load_config(write(MINIMAL), ["train.prior_weights.document=1.0"])
    assert load_config(write(MINIMAL), ["train.prior_weights.document=0.99"]).train.prior_weights.document == 0.99


def test_template_is_valid_and_complete(write):
    """`fractal init` writes every key with a comment; as it is, it means the defaults."""
    text = config_template("r.jsonl", "max")
    assert load_config(write(text)).model_dump() == load_config(write('aggregation="max"\n' + MINIMAL)).model_dump()
    for key in walk(RunConfig):
        name = key.name.rsplit(".", 1)[-1]
        assert (f"[{key.name}]" if key.section else f"{name} = ") in text
        assert key.section or key.field.description
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in text.splitlines()
    )
    assert (
        load_config(write(uncommented)).model_dump() == load_config(write('aggregation="max"\n' + MINIMAL)).model_dump()
    )
    assert (
        tomllib.loads(uncommented)["train"]["epochs"]
        == RunConfig.model_fields["train"].get_default(call_default_factory=True).epochs
    )


def test_every_key_has_words_for_its_type():
    """No key shows a Python type to the user."""
    words = {key.name: type_words(key.field) for key in walk(RunConfig)}
    assert not [
        name
        for name, text in words.items()
        if "<class" in text or "<function" in text or "typing" in text or "class" in text
    ]
    assert "train.epochs" in known_keys(RunConfig)


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("english", "near are en (English)"),
        ("de-DE", "near are de (German)"),
        ("ger", "near are de (German)"),
        ("EN", "near are en (English)"),
        ("frnch", "near are fr (French)"),
        ("qqqq", "for example en, de or zh"),
        ("", "for example en, de or zh"),
    ],
)
def test_an_unknown_language_is_an_error(write, code, near):
    """The error names the key, what was given, and languages near to it."""
    with pytest.raises(UsageError) as error:
        load_config(write(MINIMAL), [f'segment.language="{code}"'])
    assert f'segment.language: "{code}" is no ISO 639-1 code of a language; {near}' in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("code", ["en", "zh", "sw", "aa", "zu"])
def test_languages_are_known(write, code):
    """Every ISO 639-1 code is taken, whether or not sentencex has rules of its own for it."""
    assert len(LANGUAGES) == 183
    assert {len(code) for code in LANGUAGES} == {2}
    assert load_config(write(MINIMAL), [f'segment.language="{code}"']).segment.language == code


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_parameter_of_a_stage_is_a_key(write, stage):
    """Plans name what a stage depends on as the configuration has it, and no two parameters alike."""
    values = stage.params(load_config(write(MINIMAL))).model_dump(mode="json")
    parameters = list(leaves(values))
    keys = [key_ending_with(RunConfig, name) for name in parameters]
    assert set(keys) <= set(known_keys(RunConfig))
    assert len(set(keys)) == len(keys)


def leaves(values, prefix=""):
    """Dotted names of all values that are no section."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name

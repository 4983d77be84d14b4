"""The benchmarks of training: loops and ours have one loss, every script runs, small; the arithmetic of the reports."""

from __future__ import annotations

import pytest
import torch

from benchmarks import ensembles, gpu, losses, training
from benchmarks.looped import READINGS, LoopedScorer, batch_loss, train_epoch
from benchmarks.made_up import sizes_like_wikiqa
from benchmarks.training import WEIGHTS, arithmetic, make_problem
from benchmarks.turns import Seconds, exponent, ratio
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.mil.task import Task

SCRIPTS = {
    "training": (training.main, ["--responses", "6", "--width", "8", "--times", "1"], "What training costs"),
    "losses": (losses.main, ["--responses", "4", "6", "8", "--long", "16", "--times", "1"], "How the bag losses grow"),
    "ensembles": (ensembles.main, ["--responses", "6", "--times", "1"], "What an ensemble costs"),
    "gpu": (
        gpu.main,
        ["--device", "cpu", "--texts", "9", "--neighbours", "30", "--responses", "6", "--times", "1"],
        "How much of a device stages use",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_runs(name, tmp_path, monkeypatch, capsys):
    """Every script writes its own part, twice over, and leaves the others alone."""
    main, arguments, title = SCRIPTS[name]
    output = tmp_path / "RESULTS.md"
    output.write_text("# Results\n\nOf others.\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", [name, *arguments, "--output", str(output)])
    monkeypatch.setattr(training, "PRODUCTS", {"MKL, square": (8, 8, 8)})
    monkeypatch.setattr(training, "ONEDNN", {"oneDNN, first layer": (4, 8, 8)})
    monkeypatch.setattr(ensembles, "ENSEMBLES", ensembles.ENSEMBLES[:2])
    monkeypatch.setattr(gpu, "WIDTH", 8)
    monkeypatch.setattr(gpu, "COPIED", 1_000_000)
    main()
    main()
    text = output.read_text(encoding="utf-8")
    assert text.startswith("# Results\n\nOf others.\n")
    assert text.count(f"## {title}\n") == 1
    assert text.count(f"written by benchmarks/{name}.py") == 2
    assert f"`python -m benchmarks.{name} {arguments[0]} {arguments[1]}" in text
    assert "nan" not in text
    if name == "losses":
        assert "count" in (tmp_path / losses.PLOT).read_text(encoding="utf-8")


def test_without_a_gpu_nothing_is_written(tmp_path, monkeypatch):
    """The benchmark of a GPU ends with a sentence, and exit code 1."""
    output = tmp_path / "RESULTS.md"
    monkeypatch.setattr("sys.argv", ["gpu", "--output", str(output)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert str(ended.value) == "PyTorch sees no GPU here; --device cpu measures the same on the CPU."
    assert not output.exists()


@pytest.mark.parametrize("reading", READINGS)
def test_loops_compute_the_same_loss(reading):
    """A batch has the same loss and gradients in loops as in segment operations, so only the structure is compared."""
    examples, bags = make_problem(7, 8)
    parameters = SCORERS["concat"].start(1, 16, torch.Generator().manual_seed(0))
    parameters["weights"] = torch.randn(parameters["weights"].shape, generator=torch.Generator().manual_seed(1))
    names = ["weights.0", "bias.0", "weights.1", "bias.1", "weights", "bias"]
    for name in names:
        parameters[name].requires_grad_()
    segments, sentences = examples.segments.select(torch.arange(7))[::-1]
    logits = SCORERS["concat"].logits(parameters, examples.features[sentences], torch.zeros(len(sentences)))
    objective = BagObjective(Task("max", "binary", "hard"), WEIGHTS)
    ours = objective.loss(examples, logits, torch.zeros(1, 0), torch.arange(7), sentences, segments, None).mean()
    ours.backward()
    scorer = LoopedScorer(parameters)
    theirs = batch_loss(READINGS[reading].scores(scorer, bags), bags, READINGS[reading].correlation)
    theirs.backward()
    torch.testing.assert_close(theirs, ours.to(theirs.dtype))
    for name, tensor in zip(names, scorer.tensors, strict=True):
        torch.testing.assert_close(tensor.grad.flatten(), parameters[name].grad.flatten(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reading", READINGS)
def test_an_epoch_in_loops_takes_every_response_once(reading):
    """The readings, which differ in what is done at once, end an epoch of several batches with the same weights."""
    _, bags = make_problem(7, 8)
    ended = []
    for each in (READINGS[reading], next(iter(READINGS.values()))):
        scorer = LoopedScorer(SCORERS["concat"].start(1, 16, torch.Generator().manual_seed(0)))
        with torch.no_grad():
            scorer.tensors[4].fill_(0.5)
        before = scorer.tensors[4].detach().clone()
        train_epoch(scorer, torch.optim.SGD(scorer.tensors, lr=0.5), bags, each, 3)
        assert not torch.equal(scorer.tensors[4], before)
        ended.append(torch.cat([tensor.detach().flatten() for tensor in scorer.tensors]))
    torch.testing.assert_close(*ended, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("responses", [1, 7, 300, 2_118])
def test_sizes_are_like_those_of_wikiqa(responses):
    """Responses have 1 to 30 sentences, and as many in all as the data set has on the mean."""
    sizes = sizes_like_wikiqa(responses)
    assert len(sizes) == responses
    assert int(sizes.sum()) == round(20_360 / 2_118 * responses)
    assert int(sizes.min()) >= 1
    assert int(sizes.max()) <= 30
    if responses > 1_000:
        assert float(sizes.double().std()) == pytest.approx(6.2, abs=0.3)


def test_arithmetic_of_an_epoch():
    """Features take no gradient: 4 operations a weight of the first layer, 6 of the others; 2 for a held-out loss."""
    examples, _ = make_problem(20, 4)  # Widths 8, 4, 2, 1.
    sizes = examples.segments.sizes.tolist()
    train, dev = sum(sizes[:20]), sum(sizes[20:])
    assert len(sizes) == 23
    assert arithmetic(examples) == (
        (20 + train) * 4 * 16 + train * 6 * (8 + 2),
        (3 + dev) * 2 * 16 + dev * 2 * (8 + 2),
        train * (4 * 32 + 6 * (8 + 2)),
    )


def test_ratios_and_exponents():
    """A ratio is the median of those within rounds; an exponent is exact for a power."""
    rounds = {"a": [Seconds(2.0, 4.0), Seconds(9.0, 9.0), Seconds(4.0, 1.0)], "b": [Seconds(1.0, 1.0)] * 3}
    assert ratio(rounds, "a", "b") == Seconds(4.0, 4.0)
    assert exponent([1, 10, 100], [3.0, 3.0 * 10**1.5, 3000.0]) == pytest.approx(1.5)

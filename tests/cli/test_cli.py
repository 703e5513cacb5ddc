"""The command line: what it writes, and one clear line with status 2 for what is wrong."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import uproot

from analysis import SAMPLE, cli, stages
from analysis.cli import main
from analysis.execution.signals import Interrupted
from analysis.histograms import SCALED_TO, load, save
from tests.conftest import PROJECT
from tests.ntuples import make_events, write


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, catalogue_file: Path) -> Path:
    """Of every stage; without the control plots and with a simple fit, to be quick."""
    folder = tmp_path_factory.mktemp("cli") / "results"
    config = folder.with_suffix(".toml")
    config.write_text("[control]\nenabled = false\n[top_peak]\nbackground_order = 1\n")
    command = ["all", "--catalogue", str(catalogue_file), "--config", str(config), "--quiet"]
    assert main([*command, "--output", str(folder)]) == 0
    return folder


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path, expected: int = 2) -> str:
    """The one line on standard error of a command that must fail with that status."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as caught:
        status = int(caught.code or 0)
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == expected
    assert lines[-1].startswith("error: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


def test_everything_is_written(results: Path) -> None:
    assert {path.name for path in results.iterdir()} == {
        "run.json", "unscaled.zip", "cutflow.json", "cutflow.md", "scaled.zip",
        "normalisation.json", "scaled.root", "yields.md", "figures", "top_peak.json", "top_peak.md",
        "abcd.json", "abcd.md", "checkpoints", "report.html",
    }  # fmt: skip
    figures = {path.stem for path in (results / "figures").iterdir()}
    assert {"4j1b", "4j2b", "variations_4j2b_ttbar"} <= figures
    assert all(path.stat().st_size > 5000 for path in (results / "figures").iterdir())


@pytest.mark.full
def test_top_peak_is_fitted_again_with_other_settings(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(results, tmp_path / "results")
    settings = tmp_path / "settings.toml"
    settings.write_text("[top_peak]\nfit_range = [90, 410]\n", encoding="utf-8")
    before = (folder / "top_peak.md").read_text(encoding="utf-8")
    assert main(["toppeak", str(folder), "--config", str(settings)]) == 0
    assert (folder / "top_peak.md").read_text(encoding="utf-8") != before
    assert "| prediction " in capsys.readouterr().out
    settings.write_text("[top_peak]\nwindow = [135, 210]\n", encoding="utf-8")
    assert "cuts the bin" in error_of(capsys, "toppeak", folder, "--config", settings)


@pytest.mark.full
def test_multijet_estimate_that_is_none_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundled sample has none in 4j2b: what was normalised before stays."""
    folder = tmp_path / "results"
    assert main(["process", "--output", str(folder), "--quiet"]) == 0
    before = (folder / "scaled.zip").read_bytes()
    assert "4j2b: region B" in error_of(capsys, "normalise", folder, "--qcd", "abcd")
    assert (folder / "scaled.zip").read_bytes() == before


@pytest.mark.full
def test_figures_in_one_format_only(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(results, folder, ignore=shutil.ignore_patterns("figures"))
    assert main(["plot", "--quiet", "--formats", "pdf", str(folder)]) == 0
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".pdf"}
    error = error_of(capsys, "plot", "--formats", "png,pfd", folder)
    assert "unknown format 'pfd': did you mean 'pdf'?" in error


def test_root_histograms_have_the_tutorials_names(results: Path) -> None:
    with uproot.open(results / "scaled.root") as file:
        names = set(file.keys(cycle=False)) - {SCALED_TO}
    jets = ["pt_scale_up", "pt_scale_down", "pt_res_up", "pt_res_down"]
    tags = [f"btag_var_{i}_{d}" for i in range(4) for d in ("up", "down")]
    want = {"data": [], "single_top_tW": [*jets, *tags], "ttbar": [*jets, *tags, "scaleup"]}
    want["wjets"] = [*jets, *tags, "scale_var_up", "scale_var_down"]
    assert names == {
        f"{region}_{process}{suffix}"
        for region in ("4j1b", "4j2b")
        for process, variations in want.items()
        for suffix in ("", *(f"_{variation}" for variation in variations))
    }


def test_the_numbers_of_the_run_are_in_its_files(results: Path) -> None:
    """The ttbar histogram is the unscaled one times factor, by channel, from the ledger's numbers."""
    unscaled = load(results / "unscaled.zip")["ttbar__nominal/observable"]
    run = json.loads((results / "run.json").read_text())
    record = run["datasets"]["ttbar__nominal"]
    factor = record["cross_section"] * run["luminosity"] / record["sum_of_weights"]
    with uproot.open(results / "scaled.root") as file:
        written = file["4j2b_ttbar_pt_res_up"].values(flow=True)
    where = {"region": "4j2b", "process": "ttbar", "variation": "pt_res_up"}
    want = factor * unscaled[where].values(flow=True).sum(axis=1)
    np.testing.assert_allclose(written, want, rtol=1e-12)
    assert run["complete"] is True
    assert (results / "cutflow.md").read_text().count("\n") == 2 + 2 * len(run["datasets"])


def test_normalise_again_scales_with_luminosity_and_cross_section(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = shutil.copytree(results, tmp_path / "results")

    def totals() -> tuple[float, float]:
        with uproot.open(results / "scaled.root") as file:
            return tuple(float(file[f"4j1b_{p}"].values().sum()) for p in ("ttbar", "wjets"))  # type: ignore[return-value]

    ttbar, wjets = totals()
    assert (
        main(
            ["normalise", str(results), "--luminosity", "1 /fb", "--cross-section", "ttbar=0.9 nb"]
        )
        == 0
    )
    assert totals() == pytest.approx((ttbar * 10 * 900 / 831.76, wjets * 10))
    out = capsys.readouterr().out
    assert "| ttbar " in out
    assert main(["normalise", str(results), "--quiet"]) == 0
    assert totals() == (ttbar, wjets)
    assert capsys.readouterr() == ("", "")


def test_catalogue_show_prints_the_real_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    assert main(["catalogue", "show"]) == 0
    out = capsys.readouterr().out
    assert "12 datasets" in out
    assert "386" in out
    assert "131,540,113" in out
    assert main(["catalogue", "show", "analysis/sample/ntuples.json"]) == 0
    assert "data__pseudo" in capsys.readouterr().out


def test_an_output_without_the_letters_is_no_reason_to_lose_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", narrow)
    assert main(["catalogue", "show", "--catalogue", str(SAMPLE)]) == 0
    narrow.seek(0)
    assert "? [pb]" in narrow.read()


def test_catalogue_build_and_check(
    tmp_path: Path, ntuples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "c.json"
    arguments = [
        "catalogue",
        "build",
        str(ntuples),
        "--output",
        str(output),
        "--luminosity",
        "3 /fb",
    ]
    assert main([*arguments, "--cross-section", "ttbar=831.76 pb"]) == 0
    assert "wjets__nominal: cross section not known" in capsys.readouterr().err
    assert main(["catalogue", "check", "--catalogue", str(output)]) == 0
    (tmp_path / "new" / "d.json").write_text(output.read_text().replace("2500", "2499", 1))
    line = error_of(
        capsys, "catalogue", "check", "--catalogue", tmp_path / "new" / "d.json", "--quiet"
    )
    assert "1 of 8 files are not as" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["proces"], "unknown command 'proces': did you mean 'process'"),
        (["--ouput", "x"], "unknown argument '--ouput': did you mean '--output'"),
        (["process", "--catalogue", "no.json"], "catalogue no.json: No such file"),
        (
            ["process", "--catalogue", "CAT", "--datasets", "ttbar__nomial"],
            "'ttbar__nomial': did you",
        ),
        (["process", "--catalogue", "CAT", "--processes", "wjet"], "'wjet': did you mean 'wjets'"),
        (["process", "--catalogue", "CAT", "--executor", "desk"], "'desk': did you mean 'dask'"),
        (["process", "--catalogue", "CAT", "--workers", "0"], "at least 1, got '0'"),
        (["process", "--catalogue", "CAT", "--retries", "-1"], "at least 0, got '-1'"),
        (
            ["process", "--catalogue", "CAT", "--luminosity", "3 fb"],
            "--luminosity: expected a luminosity such as",
        ),
        (
            ["process", "--catalogue", "CAT", "--cross-section", "ttbar=-1 pb"],
            "--cross-section ttbar: a cross section must be a number above zero, got '-1 pb'",
        ),
        (["process", "--catalogue", "CAT", "--cross-section", "ttbar"], "expected NAME=VALUE"),
        (
            ["normalise", "--cross-section", "ttbar=832", "--cross-section", "ttbar=1"],
            "--cross-section: 'ttbar' is given twice: 832 and 1",
        ),
        (["process", "--catalogue", "CAT", "--config", "no.toml"], "no.toml: No such file"),
        (["process", "--catalogue", "CAT", "--quiet", "--verbose"], "not allowed with argument"),
        (["normalise", "no_results"], "no_results is no results folder"),
        (["plot", "no_results"], "no_results is no results folder"),
        (["catalogue"], "the following arguments are required: action"),
        (["catalogue", "shw"], "shw"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path,
    catalogue_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(catalogue_file) if word == "CAT" else word for word in arguments]
    assert message in error_of(capsys, *given)
    assert not (tmp_path / "results").exists()


def test_stages_that_the_configuration_does_not_allow(
    tmp_path: Path,
    catalogue_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told before the run; the other stages run; afterwards the real reason is said, not a command."""
    config = tmp_path / "mine.toml"
    config.write_text("[observable]\nbins=20\nlow=0\nhigh=500\n[muon]\nmax_isolation=0.12")
    quick = [stage for stage in stages.AFTER_PROCESSING if stage.command != "plot"]
    monkeypatch.setattr(stages, "AFTER_PROCESSING", quick)  # figures take most of the time
    out = tmp_path / "out"
    command = ["--catalogue", str(catalogue_file), "--datasets", "ttbar__nominal", "--quiet"]
    command += ["--max-events", "100", "--config", str(config), "--output", str(out)]
    assert "--qcd abcd: muon.max_isolation" in error_of(
        capsys, "process", *command, "--qcd", "abcd"
    )
    assert not out.exists()

    assert main(["all", *command]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(
        "the run will have no top peak: top_peak.fit_range has to be on edges"
    )
    assert told[1].startswith("the run will have no multijet estimate: muon.max_isolation (0.12)")
    ended = [line.split(":")[0] for line in told if line.startswith("no ")]
    assert ended == ["no top peak", "no multijet estimate", "no cross section"]
    assert not any("run 'process'" in line for line in told)


@pytest.mark.full
def test_a_bad_file_leaves_nothing_that_looks_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files, one missing: no normalised histogram, not even that of an earlier run."""
    for name in ("a", "b"):
        write(tmp_path / "ttbar__nominal" / f"{name}.root", make_events(300, seed=1))
    catalogue = tmp_path / "c.json"
    build = ["catalogue", "build", str(tmp_path), "--output", str(catalogue), "--quiet"]
    build += ["--cross-section", "ttbar=800", "--sum-of-weights", "ttbar=5000"]
    assert main([*build, "--luminosity", "1 /fb"]) == 0
    process = ["all", "--catalogue", str(catalogue), "--output", str(tmp_path / "out"), "--quiet"]
    # To draw the control plots takes most of the time.
    (tmp_path / "my.toml").write_text(
        "[control]\nenabled = false\n[top_peak]\nbackground_order = 1\n"
    )
    process += ["--config", str(tmp_path / "my.toml")]
    assert main(process) == 0
    (tmp_path / "ttbar__nominal" / "b.root").unlink()
    capsys.readouterr()
    line = error_of(capsys, *process, expected=3)
    assert "300 of 600 events were not processed" in line
    assert "b.root: no such file (--resume tries again; --allow-incomplete scales by" in line
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"run.json", "unscaled.zip", "cutflow.json", "cutflow.md", "checkpoints"}
    assert "no normalised histograms" in error_of(capsys, "plot", tmp_path / "out")

    first = error_of(capsys, *process, "--fail-fast", "--resume", expected=3)
    assert "b.root: no such file" in first

    assert main([*process, "--allow-incomplete"]) == 0
    assert "incomplete: 300 of 600" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "normalisation.json").read_text())["missing"]
    with uproot.open(tmp_path / "out" / "scaled.root") as file:
        assert str(file["note"]).startswith("incomplete: 300 of 600")
        total = file["4j2b_ttbar"].values(flow=True).sum()
    unscaled = load(tmp_path / "out" / "unscaled.zip")["ttbar__nominal/observable"]
    count = unscaled[{"region": "4j2b", "variation": "nominal"}].sum(flow=True).value
    assert total == pytest.approx(count * 800 * 1000 / (5000 / 2))


def test_a_folder_of_somebody_else_loses_nothing(tmp_path: Path, catalogue_file: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").touch()
    command = ["process", "--catalogue", str(catalogue_file), "--datasets", "ttbar__scaleup"]
    assert main([*command, "--max-events", "10", "--output", str(tmp_path), "--quiet"]) == 0
    assert (tmp_path / "figures" / "mine.png").exists()


@pytest.mark.skipif(os.name != "posix", reason="folders without permission are POSIX's")
@pytest.mark.parametrize("output", ["/proc/results", "FILE/results", "FILE"])
def test_an_output_that_cannot_be_written(
    tmp_path: Path, catalogue_file: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    (tmp_path / "file").touch()
    folder = output.replace("FILE", str(tmp_path / "file"))
    line = error_of(capsys, "process", "--catalogue", catalogue_file, "--output", folder)
    assert f"cannot write to {folder}" in line


@pytest.mark.full
def test_processes_that_cannot_be_started_cost_no_earlier_results(
    tmp_path: Path, catalogue_file: Path
) -> None:
    """The socket of the process that they are forked from has a path of at most 107 characters."""
    (tmp_path / "out").mkdir()
    for name in ("run.json", "yields.md"):
        (tmp_path / "out" / name).write_text("{}")
    temporary = tmp_path / ("long" * 30)
    temporary.mkdir()
    command = ["process", "--catalogue", catalogue_file, "--executor", "futures", "--output"]
    ended = subprocess.run(
        [sys.executable, PROJECT / "run.py", *command, tmp_path / "out"],
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: cannot start worker processes: ")
    assert f"TMPDIR: {temporary})" in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["run.json", "yields.md"]


def test_a_damaged_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "run.json: not of this version (command: missing" in error_of(
        capsys, "normalise", tmp_path
    )
    (tmp_path / "run.json").write_text('{"format": "ttbar-opendata run 1"}')
    said = "(format: input should be 'ttbar-opendata run 2', got 'ttbar-opendata run 1')"
    assert said in error_of(capsys, "normalise", tmp_path)
    (tmp_path / "run.json").write_text("{")
    assert "run.json: not JSON (Expecting property name" in error_of(capsys, "normalise", tmp_path)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from analysis.cli import main\n"
        "try: main(['process', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'coffea', 'awkward', 'numpy', 'matplotlib', 'pydantic', 'rich', 'numba'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--max-events" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["process"],
        ["normalise"],
        ["plot"],
        ["report"],
        ["show"],
        ["sideband"],
        ["catalogue", "build"],
    ],
)
def test_help_of_every_command(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: run.py" in capsys.readouterr().out


def test_a_run_without_nominal_samples_has_no_figures(
    tmp_path: Path, catalogue_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--catalogue", str(catalogue_file), "--datasets", "ttbar__scaleup"]
    assert main([*command, "--max-events", "50", "--output", str(tmp_path / "out"), "--quiet"]) == 0
    assert "no figures: the run has neither data nor a nominal sample" in capsys.readouterr().err


def test_histograms_of_another_run_are_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    unscaled = load(copy / "unscaled.zip")
    save(copy / "unscaled.zip", {k: v for k, v in unscaled.items() if not k.startswith("wjets")})
    line = error_of(capsys, "normalise", copy)
    assert line.endswith("unscaled.zip is not what the run of run.json wrote: run 'process' again")


def test_a_configured_process_that_is_not_there(
    tmp_path: Path, catalogue_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.toml").write_text("[variations.scale_uncertainty]\nwjet = 0.05\n")
    arguments = ["process", "--catalogue", catalogue_file, "--config", tmp_path / "my.toml"]
    assert "scale_uncertainty.wjet: unknown process, did you mean 'wjets'" in error_of(
        capsys, *arguments, "--output", tmp_path / "out"
    )


def test_an_option_of_an_action_is_answered_with_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = error_of(capsys, "catalogue", "show", "--datset", "x")
    assert "unknown argument '--datset': did you mean '--datasets'" in line


def test_the_last_word_of_an_interrupt_is_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A coroutine of a library that it came before is not warned of."""

    async def begun() -> None: ...

    def interrupted(_: int) -> None:
        waiting = begun()
        raise Interrupted(signal.SIGINT) from ValueError(waiting)

    monkeypatch.setattr(cli, "require_memory", interrupted)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["analyses"]) == 130
    assert not caught
    assert capsys.readouterr().err == "interrupted\n"

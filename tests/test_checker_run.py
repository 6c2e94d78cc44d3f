"""`reluopt verify RUN` holds a run's config, checkpoint and record against its proof, and changes nothing."""

import errno
import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import typer

from reluopt.bounds import moment
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.file import write_certificate
from reluopt.certificate.verdict_text import verdict as in_words
from reluopt.cli.certify import certify_command
from reluopt.cli.report import show_command
from reluopt.cli.show import show_training
from reluopt.cli.verify import verify_command
from reluopt.data import DataConfig, load_dataset
from reluopt.errors import CertificateError, ReluoptError
from reluopt.network import from_weights
from reluopt.report import collect
from reluopt.runs import RunFolder
from reluopt.training import TrainConfig, Trainer
from reluopt.training.checkpoint import load_weights, save_weights
from reluopt.workflows import certification
from reluopt.workflows.certification import certify_run, keep_certificate, read_trained
from reluopt.workflows.runs import read_run
from reluopt.workflows.verification import verify_certificate

QUICK = CertifyConfig(time_budget=0.0, gaussian_patterns=0, effort="fast")


@dataclass
class Answer:
    exit_code: int
    output: str


@pytest.fixture
def verified(capsys):
    """What `reluopt verify RUN` answers; a ReluoptError is exit code 2, as the command line makes it."""

    def ask(run):
        capsys.readouterr()
        try:
            verify_command(run, None, 1.0, False)
            code = 0
        except typer.Exit as end:
            code = end.exit_code
        except ReluoptError:
            code = 2
        return Answer(code, capsys.readouterr().out)

    return ask


def certified_run(path, beta=0.5):
    data_config, config = DataConfig(dataset="planted", n=30, d=3), TrainConfig(epochs=60, width=6, beta=beta)
    data = load_dataset(data_config)
    tables = {
        "data": data_config.to_mapping(),
        "train": config.to_mapping(),
        "run": {"beta": beta, "beta_max_estimate": 5.0, "fingerprint": data.fingerprint},
    }
    run = RunFolder.create(path, tables)
    Trainer(config.make_network(data.d), data.X, data.y, beta, config, run=run, progress=False).fit()
    trained = read_trained(run)
    certificate, _ = certify_run(trained, QUICK)
    keep_certificate(trained, certificate)
    return run.path


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return certified_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(certified, tmp_path):
    return shutil.copytree(certified, tmp_path / "run")


def test_an_untouched_run_is_verified_and_left_as_it_is(run, verified):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")}
    done = verified(run)
    assert done.exit_code == 0, done.output
    for word in (
        "about: data n = 30",
        "squared loss",
        "beta = ",
        "network of 6 neurons",
        "record: certificate.json agrees",
    ):
        assert word in done.output
    assert done.output.count("proved: ") == 3
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")} == before


def test_what_verify_does_not_check_it_names(run, verified):
    """Of own patterns and prices nothing is on file: an edited number whose words fit is not seen, and that is said."""

    def raised(c):
        estimate(c, "own_dual").update(value=estimate(c, "objective")["value"])
        kept = Certificate.from_json(json.dumps(c))
        c.update(verdict=in_words(kept.estimates, kept.pricing, kept.biases))

    record(run, raised)
    done = verified(run)
    assert done.exit_code == 0 and "cannot be improved" in json.loads((run / "certificate.json").read_text())["verdict"]
    (line,) = (line for line in done.output.splitlines() if line.startswith("record: "))
    assert "of p*; not checked" in line and "own activation patterns" in line and "price" in line


@pytest.mark.parametrize("beta", [5e-324, 5e21])
def test_a_run_of_any_beta_is_read_and_its_certificate_is_what_its_file_says(beta, tmp_path, verified):
    done = verified(certified_run(tmp_path / "run", beta))
    assert done.exit_code == 0, done.output


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def record(run, change):
    path = run / "certificate.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def estimate(content, name):
    return next(e for e in content["estimates"] if e["name"] == name)


def best(content):
    """The lower bound that the verdict names: which one it is depends on the bounds there are."""
    return max((e for e in content["estimates"] if (e["quantity"], e["relation"]) == ("p*", ">=")), key=value)


def value(estimate):
    return estimate["value"] or 0.0


RECORDS = {
    "the verdict": lambda c: c.update(verdict=c["verdict"] + " It is optimal."),
    "markup in the verdict": lambda c: c.update(verdict="[bold]Proved[/]\x1b[2J: everything."),
    "a lower bound": lambda c: best(c).update(value=best(c)["value"] * 1.01),
    "a lower bound that is said to be proved": lambda c: c["estimates"].append(
        {**estimate(c, "moment"), "name": "x", "value": 1e9}
    ),
    "a bound that is not finite": lambda c: best(c).update(value=None),
    "the objective": lambda c: estimate(c, "objective").update(value=estimate(c, "objective")["value"] * 0.99),
    "the objective, raised": lambda c: estimate(c, "objective").update(value=estimate(c, "objective")["value"] * 1.01),
    "β": lambda c: c["settings"].update(beta=1.0),
    "the data": lambda c: c["data"].update(fingerprint="0" * 64),
    "the network": lambda c: c["network"].update(fingerprint="0" * 64),
    "a fact that the verdict names": lambda c: c["pricing"].update(largest_price_over_beta=7.0),
}


@pytest.mark.parametrize("what", RECORDS)
def test_an_edited_record_is_refused(run, what, verified):
    record(run, RECORDS[what])
    done = verified(run)
    assert done.exit_code == 1, done.output
    assert done.output.startswith("refused: ")
    assert done.output.count("\n") == 1
    assert "\x1b" not in done.output


MALFORMED = {
    "types": lambda c: estimate(c, "objective").update(value="7"),
    "settings": lambda c: c.update(settings=[]),
    "no estimates": lambda c: c.pop("estimates"),
    "a format of tomorrow": lambda c: c.update(format=99),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_record_is_never_accepted(run, what, verified):
    record(run, MALFORMED[what])
    assert verified(run).exit_code in (1, 2)


def test_a_weaker_record_is_accepted_where_its_words_say_the_same(run, verified):
    """Only what goes beyond the proof is refused: a lower bound that is not the best may be lowered."""
    record(run, lambda c: estimate(c, "closed_form").update(value=0.0))
    assert verified(run).exit_code == 0


def other_proof(run, beta=1.0, network=None):
    folder = RunFolder(run)
    problem = read_run(folder).problem
    beta = problem.beta * beta
    bound = moment(problem.X, problem.targets, beta)
    write_certificate(
        folder.proof_file, problem.X, problem.targets, beta, bound, network=network or load_weights(folder)
    )


PROOFS = {
    "another β": lambda run: other_proof(run, beta=1.1),
    "other weights": lambda run: other_proof(run, network=(np.ones((6, 3)), np.ones(6))),
    "the zero network": lambda run: other_proof(run, network=(np.zeros((1, 3)), np.zeros(1))),
}


@pytest.mark.parametrize("what", PROOFS)
def test_a_proof_of_something_else_is_refused(run, what, verified):
    PROOFS[what](run)
    done = verified(run)
    assert done.exit_code == 1, done.output
    assert "refused: the certificate is " in done.output


def test_a_checkpoint_that_went_on_is_refused(run, verified):
    folder = RunFolder(run)
    problem, (U, alpha) = read_run(folder).problem, load_weights(folder)
    save_weights(folder, "latest", from_weights(U * (1 + 1e-15), alpha), problem, "a test")
    done = verified(run)
    assert done.exit_code == 1
    assert "another network" in done.output


BROKEN = {
    "no record": lambda run: (run / "certificate.json").unlink(),
    "a record that is no JSON": lambda run: (run / "certificate.json").write_text("[" * 10_000),
    "a record in another encoding": lambda run: (run / "certificate.json").write_bytes(b"\xff\xfe"),
    "a folder as proof": lambda run: (
        (run / "certificate.safetensors").unlink(),
        (run / "certificate.safetensors").mkdir(),
    ),
    "a folder as record": lambda run: ((run / "certificate.json").unlink(), (run / "certificate.json").mkdir()),
    "no proof": lambda run: (run / "certificate.safetensors").unlink(),
    "no config": lambda run: (run / "config.toml").unlink(),
    "no checkpoint": lambda run: shutil.rmtree(run / "checkpoints"),
    "a data table that is a number": lambda run: edited(run / "config.toml", "[data]", "[other]"),
    "config with another β": lambda run: edited(run / "config.toml", "[run]\nbeta = ", "[run]\nbeta = 1"),
    "β as text": lambda run: edited(run / "config.toml", "[run]\nbeta = ", '[run]\nbeta = "1"\nold = '),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_checked_is_not_refused(run, what, verified):
    BROKEN[what](run)
    names = {path.name for path in run.iterdir()}
    done = verified(run)
    assert done.exit_code == 2, done.output
    assert not done.output
    assert {path.name for path in run.iterdir()} == names


def without(run, line):
    text = (run / "config.toml").read_text()
    kept = [row for row in text.splitlines() if not row.startswith(line)]
    assert len(kept) < len(text.splitlines())
    (run / "config.toml").write_text("\n".join(kept))


#: What is broken, and words of the true cause and of the remedy.
CAUSES = {
    "no [run]": (lambda run: edited(run / "config.toml", "[run]", "[old]"), "has no table [run]", "Put back"),
    "no fingerprint": (lambda run: without(run, "fingerprint"), "has no fingerprint in [run]", "Put back"),
    "no β": (lambda run: without(run, "beta = "), "has no beta in [run]", "Put back"),
    "a number as fingerprint": (
        lambda run: edited(run / "config.toml", "fingerprint = ", "fingerprint = 1 # "),
        "has fingerprint = 1 in [run]",
        "Put back",
    ),
    "a folder as proof": (
        BROKEN["a folder as proof"],
        "certificate.safetensors' is a folder",
        "Remove it, and certify",
    ),
    "a folder as record": (BROKEN["a folder as record"], "certificate.json' is a folder", "Remove it, and certify"),
    "too large a proof": (lambda run: None, "bytes, and 0 are allowed", "--max-gigabytes"),
}


@pytest.mark.parametrize("what", CAUSES)
def test_what_cannot_be_checked_is_said_with_its_cause(run, what):
    broken, cause, remedy = CAUSES[what]
    broken(run)
    with pytest.raises(ReluoptError) as error:
        verify_certificate(run, max_bytes=0 if "large" in what else 2**30)
    assert cause in error.value.problem and remedy in error.value.remedy
    page = collect(RunFolder(run)) if "large" not in what else None
    assert page is None or (page.check == "unchecked" and remedy in page.check_lines[0])


@pytest.mark.parametrize("name", ["certificate.safetensors", "certificate.json"])
def test_a_folder_in_the_place_of_a_file_goes_as_its_remedy_says(run, name, verified):
    (run / name).unlink()
    (run / name).mkdir()
    (run / name).rmdir()  # "Remove it, and certify the run again."
    trained = read_trained(RunFolder(run))
    keep_certificate(trained, certify_run(trained, QUICK)[0])
    assert verified(run).exit_code == 0


def gone_on(run):
    U, alpha = load_weights(RunFolder(run))
    problem = read_run(RunFolder(run)).problem
    save_weights(RunFolder(run), "latest", from_weights(U * 2, alpha), problem, "a test")


STALE = {
    "another network": gone_on,
    "another β": lambda run: edited(run / "config.toml", "[run]\nbeta = ", "[run]\nbeta = 1"),
}


@pytest.mark.parametrize("other", STALE)
def test_a_certificate_of_another_network_or_beta_is_not_shown_as_the_run_s(run, certified, other, capsys):
    show_command([run])
    assert "is of another" not in capsys.readouterr().out
    STALE[other](run)
    show_command([run])
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert f"is of {other} than the run has now. Certify it again: reluopt certify" in " ".join(text.split())
    assert "check the proof" not in shown.out
    show_command([run, certified])
    assert "is of another" in capsys.readouterr().err
    assert collect(RunFolder(run), check=False).check == "refused"


def test_training_that_goes_on_says_that_the_certificate_is_of_an_earlier_network(run, capsys):
    config = TrainConfig(epochs=0, width=6)
    result = Trainer(config.make_network(3), read_run(RunFolder(run)).problem, config=config, progress=False).fit()
    show_training(result, RunFolder(run))
    assert "is of another" not in capsys.readouterr().out
    gone_on(run)
    show_training(result, RunFolder(run))
    assert "is of another network than the run has now" in capsys.readouterr().out
    (run / "certificate.json").write_text("{")
    show_training(result, RunFolder(run))
    assert "is of another" not in capsys.readouterr().out


@pytest.mark.parametrize("full", ["write_certificate", "write_atomically", "save_ladder"])
def test_a_certificate_that_was_not_written_names_no_files(run, full, monkeypatch, capsys):
    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {name: (run / name).read_bytes() for name in ("certificate.json", "certificate.safetensors")}
    monkeypatch.setattr(certification, full, no_space)
    with pytest.raises(CertificateError, match="could not be written"):
        certify_command(run, None, False, {"certify": QUICK.to_mapping()})
    out = capsys.readouterr().out
    assert "The ladder" in out and "check the proof" not in out and "certificate.json" not in out
    if full != "save_ladder":  # proof and record are old or new together
        assert before == {name: (run / name).read_bytes() for name in before}

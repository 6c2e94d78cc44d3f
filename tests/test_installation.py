"""What is installed is locked, what is imported is needed, what is shipped is whole."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from importlib import import_module, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import reluopt
from reluopt.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("lock", ROOT / "requirements" / "lock.py")
assert _spec is not None
assert _spec.loader is not None
lock = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lock)

#: Pythons and systems that the lock is for; a marker may ask for any of these.
ENVIRONMENTS = [
    {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": platform,
        "platform_system": system,
        "os_name": "nt" if platform == "win32" else "posix",
        "platform_machine": machine,
    }
    for python in ("3.11", "3.12", "3.13", "3.14")
    for platform, system, machine in (
        ("linux", "Linux", "x86_64"),
        ("linux", "Linux", "aarch64"),
        ("darwin", "Darwin", "arm64"),
        ("win32", "Windows", "AMD64"),
    )
]
#: Loaded only by what needs them: seconds each.
HEAVY = ("torch", "cvxpy", "scipy", "sklearn", "matplotlib", "pyarrow", "tensorboard", "ray", "pandas", "numpy")


def missing(requirements: list[Requirement], pins: dict, environment: dict[str, str]) -> list[str]:
    """The requirements that hold in an environment and that the pins do not satisfy."""
    here = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": "", **environment})]
    have = [(r, pins.get(canonicalize_name(r.name))) for r in here]
    return [str(r) for r, pin in have if pin is None or not r.specifier.contains(pin, prereleases=True)]


@pytest.mark.parametrize("name", [*lock.LOCKS, lock.LOWEST])
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: f"{e['python_version']}-{e['sys_platform']}")
def test_the_lock_satisfies_what_pyproject_asks_for(name, environment):
    asked = lock.wanted(lock.LOCKS.get(name, ("dev",)))
    assert missing(asked, lock.locked(name, environment), environment) == []


def test_a_requirement_that_the_lock_has_not_is_noticed():
    pins = lock.locked("runtime")
    for word in ("no-such-package", "numpy>=99"):
        assert missing([Requirement(word)], pins, {}) == [word]


@pytest.mark.parametrize("name", ["runtime", "dev", "all"])
def test_the_lock_has_what_its_packages_ask_for(name):
    """As far as they are installed here, at the locked version, their own requirements are in the lock as well."""
    pins, cuda = lock.locked(name), lock.CUDA
    installed = {canonicalize_name(d.name): d for d in metadata.distributions()}
    known = [d for package, d in installed.items() if package in pins]
    assert {"torch", "cvxpy", "scipy", "typer"} <= {canonicalize_name(d.name) for d in known}
    for distribution in known:
        if pins[canonicalize_name(distribution.name)].public != distribution.version.partition("+")[0]:
            continue  # an environment of the reader's own
        needs = [Requirement(word) for word in distribution.requires or ()]
        needs = [r for r in needs if not cuda.fullmatch(canonicalize_name(r.name))]
        assert missing(needs, pins, {}) == [], distribution.name


def test_the_locks_agree():
    everything = {**lock.locked("all")}
    for name in ("runtime", "dev", "docs"):
        assert lock.locked(name).items() <= everything.items()


def test_the_lock_names_no_place():
    for file in (ROOT / "requirements").glob("*.txt"):
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert [
            line for line in lines if line != "-c cuda.txt" and not re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; .*)?", line)
        ] == []


def loaded_by(*arguments: str) -> set[str]:
    """The top-level modules that the command has loaded when it ends."""
    code = (
        "import sys\nfrom reluopt.cli.main import run\n"
        f"sys.argv = ['reluopt', *{list(arguments)!r}]\n"
        "try: run()\nexcept SystemExit: pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "reluopt" in done.stdout
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["no-such-command"]])
def test_a_word_about_itself_loads_nothing_heavy(arguments):
    assert loaded_by(*arguments) & set(HEAVY) == set()


def test_every_public_name_and_room_is_reached_from_the_package():
    for name in reluopt.__all__:
        assert getattr(reluopt, name) is not None
    assert reluopt.bounds.moment is reluopt.moment


def test_no_package_hides_a_module_of_its_own_behind_another_name():
    for init in (ROOT / "reluopt").rglob("__init__.py*"):
        modules = {path.stem for path in init.parent.iterdir() if path.is_dir() or path.suffix == ".py"}
        for line in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
            if isinstance(line, ast.ImportFrom) and line.module is not None:
                assert not modules & {alias.asname or alias.name for alias in line.names}, init


def test_what_public_functions_return_is_public():
    public = {name: getattr(reluopt, name) for name in reluopt.__all__}
    functions = [(n, f) for n, f in public.items() if inspect.isfunction(f)]
    for n, kind in public.items():
        if inspect.isclass(kind):
            members = inspect.getmembers(kind, inspect.isfunction)
            functions += [(f"{n}.{k}", f) for k, f in members if f.__module__ == kind.__module__ and k[0] != "_"]
    assert len(functions) > 50
    for name, function in functions:
        there = vars(sys.modules[function.__module__])  # where its annotations are words
        named = re.findall(r"[A-Z]\w+", str(function.__annotations__.get("return")))
        found = {w for w in named if inspect.isclass(there.get(w)) and there[w].__module__.startswith("reluopt.")}
        inner = {"ColumnRule", "Engine", "Maximisers", "Preprocessing"}  # how it is done, and no result
        assert found - inner <= {kind.__name__ for kind in public.values() if inspect.isclass(kind)}, name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_loads_nothing_heavy(name):
    """numpy's tenth of a second is allowed: settings are checked by the losses, which need it."""
    assert loaded_by(name, "--help") & (set(HEAVY) - {"numpy"}) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    module, _, function = COMMANDS[name][0].partition(":")
    doc = inspect.getdoc(getattr(import_module(module), function))
    assert doc is not None
    assert " ".join(doc.split("\n\n")[0].split()) == COMMANDS[name][1]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder with the sdist, and the wheel that was built from it."""
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    sdist = next(SdistBuilder(str(ROOT)).build(directory=str(folder)))
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    tree = next(path for path in folder.iterdir() if path.is_dir())
    next(WheelBuilder(str(tree)).build(directory=str(folder), versions=["standard"]))
    return folder


def test_every_command_of_make_runs_whatever_lies_in_the_folder():
    """A folder with the name of a command would be one that is up to date."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert "docs" in commands
    assert commands == set(re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split())


def test_the_sdist_has_what_its_tests_read(built):
    tree = next(path for path in built.iterdir() if path.is_dir())
    read = (
        "tests",
        "experiments",
        "notebooks",
        "docs",
        "mkdocs.yml",
        "requirements",
        "Makefile",
        "README.md",
        "CITATION.cff",
        "LICENSE",
    )
    for name in read:
        ours = [p.relative_to(ROOT) for p in [ROOT / name, *(ROOT / name).rglob("*")] if p.is_file()]
        ours = [p for p in ours if not {"__pycache__", "runs", ".ipynb_checkpoints"} & set(p.parts)]
        assert ours
        assert [str(p) for p in ours if p.suffix != ".parquet" and not (tree / p).exists()] == []


def test_the_wheel_has_the_package_and_nothing_else(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    sources = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "reluopt").rglob("*")
        if p.suffix in (".py", ".pyi", ".md", ".json", ".html")
    }
    assert sources | {"reluopt/py.typed"} == {name for name in names if not name.startswith("reluopt-")}


def test_on_a_package_index_no_link_is_dead(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        text = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA")))
    about = message_from_bytes(text)
    readme = str(about.get_payload())
    assert [target for target in re.findall(r"\]\(([^)]*)\)", readme) if not re.match("https?://|#", target)] == []
    assert "Two commands" in readme
    assert "SPEC.md describes it" in readme  # the words of a link stay
    assert about["Version"] == reluopt.__version__
    assert about.get_all("Project-URL")


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["version"] == reluopt.__version__
    assert f"\nversion: {reluopt.__version__}\n" in citation


#: Packages whose conda name is another one.
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def test_the_conda_recipe_asks_for_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    host, run = (
        re.findall(r"^    - (\S+) >=(\S+)$", part, re.M) for part in recipe.split("  host:")[1].split("  run:")
    )

    def asked(lines):
        return {f"{CONDA_NAMES.get(name, name)}>={least}" for name, least in lines if name != "python"}

    assert asked(run) == set(project["project"]["dependencies"])
    assert asked(host) == set(project["build-system"]["requires"])
    python = {f">={least}" for name, least in [*host, *run] if name == "python"}
    assert python == {project["project"]["requires-python"]}
    assert f'version = "{project["project"]["version"]}"' in recipe
    assert all(f"- {name} = {target}" in recipe for name, target in project["project"]["scripts"].items())


def test_the_image_runs_the_two_commands_of_the_readme():
    readme, image = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Dockerfile"))
    block = readme.split("## Two commands")[1].split("```bash")[1].split("```")[0]
    commands = re.findall(r"^(make \w+)", block, re.M)
    assert len(commands) == 2 and all(f"reluopt {command}" in image for command in commands)

"""The installed library in a stranger's project: CMake's package, pkg-config, C and C++."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from smelt.compiling import compile
from tests import tiny
from tests.test_cpp import built, run, tool

C_PROGRAM = """
#include <smelt/smelt.h>
#include <stdio.h>

static int show(void* context, const smelt_token* token) {
  (void)context;
  printf("%lld ", (long long)token->id);
  return 0;
}

int main(int argc, char** argv) {
  const int64_t prompt[] = {1, 9, 4, 7};
  smelt_generation how = SMELT_GENERATION;
  smelt_options options = SMELT_OPTIONS;
  smelt_model* model = NULL;
  smelt_session* session = NULL;
  how.max_new_tokens = 5;
  if (argc != 2 || smelt_abi() != SMELT_ABI || smelt_model_open(argv[1], &model) ||
      smelt_session_open(model, &options, &session) ||
      smelt_generate(session, prompt, 4, &how, show, NULL)) {
    fprintf(stderr, "%s\\n", smelt_error());
    return 1;
  }
  smelt_session_close(session);
  smelt_model_close(model);
  return 0;
}
"""
CPP_PROGRAM = """
#include <cstdio>
#include <smelt/smelt.hpp>

int main(int argc, char** argv) {
  smelt::ModelFile model;
  smelt::Runner runner;
  smelt_generation how = SMELT_GENERATION;
  how.max_new_tokens = 5;
  if (argc != 2 || model.Open(argv[1]) || runner.Open(model)) return 1;
  return runner.Generate({1, 9, 4, 7}, how, [](const smelt_token& token) {
    return std::printf("%lld ", static_cast<long long>(token.id)) > 0;
  });
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.20)
project(stranger LANGUAGES C CXX)
find_package(smelt {version} REQUIRED)
add_executable(in_c main.c)
set_property(TARGET in_c PROPERTY C_STANDARD 99)
target_compile_options(in_c PRIVATE -Wall -Wextra -Wpedantic -Werror)
target_link_libraries(in_c PRIVATE smelt::shared)
add_executable(in_cpp main.cc)
target_compile_options(in_cpp PRIVATE -Wall -Wextra -Wpedantic -Werror)
target_link_libraries(in_cpp PRIVATE smelt::smelt)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of an installation, moved after it was made."""
    folder = tmp_path_factory.mktemp("installed")
    run(tool("cmake"), "--install", built("cpp").parents[1], "--prefix", folder / "first")
    return (folder / "first").rename(folder / "prefix")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    out = folder / "model.smelt"
    compile(tiny.llama(folder / "llama"), target="edge", out=out, verify=False)
    return out


def _version(prefix: Path) -> str:
    told = next(prefix.rglob("smelt.pc")).read_text()
    return next(line.split()[1] for line in told.splitlines() if line.startswith("Version:"))


def test_a_cmake_project_finds_the_package(installed: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(C_PROGRAM)
    (tmp_path / "main.cc").write_text(CPP_PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(version=_version(installed)))
    build = tmp_path / "build"
    found = f"-DCMAKE_PREFIX_PATH={installed}"
    ninja = f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"
    run(tool("cmake"), "-S", tmp_path, "-B", build, "-G", "Ninja", ninja, found)
    run(tool("cmake"), "--build", build)
    said = [run(build / name, model).split() for name in ("in_c", "in_cpp")]
    assert said[0] == said[1] and 1 <= len(said[0]) <= 5
    assert str(next(installed.rglob("libsmelt.so")).parent) in run(tool("ldd"), build / "in_c")
    assert "libsmelt" not in run(tool("ldd"), build / "in_cpp")


def test_another_version_of_the_package_is_refused(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(stranger LANGUAGES CXX)\n"
        "find_package(smelt 99.0)\nif(smelt_FOUND)\n  message(FATAL_ERROR found)\nendif()\n"
    )
    ninja = f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"
    words = ("-S", tmp_path, "-B", tmp_path / "build", "-G", "Ninja", ninja)
    run(tool("cmake"), *words, f"-DCMAKE_PREFIX_PATH={installed}")


def test_pkg_config_knows_how_to_link(installed: Path, model: Path, tmp_path: Path) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    folder = str(next(installed.rglob("smelt.pc")).parent)
    flags = run("pkg-config", "--cflags", "--libs", "smelt", PKG_CONFIG_PATH=folder).split()
    (tmp_path / "main.c").write_text(C_PROGRAM)
    run("cc", tmp_path / "main.c", "-o", tmp_path / "main", *flags)
    library = str(next(installed.rglob("libsmelt.so")).parent)
    assert run(tmp_path / "main", model, LD_LIBRARY_PATH=library).split()

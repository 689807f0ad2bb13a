"""The loader of compiled kernels: levels, the choice by environment, the fallback, and work shared among threads."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitslice import native
from bitslice.book.sources import PACKAGE, closure
from bitslice.errors import BitsliceError
from bitslice.native import VARIABLE, Level, levels, library, library_file

BUILT = pytest.mark.skipif(not levels(), reason="the kernels are not built here")


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test chooses anew; the choice of the others comes back afterwards."""
    monkeypatch.delenv(VARIABLE, raising=False)
    library.cache_clear()
    levels.cache_clear()
    yield
    library.cache_clear()
    levels.cache_clear()


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library_file", lambda level: None)


class TestLibrary:
    @BUILT
    def test_is_the_best_that_is_built_and_that_this_cpu_has(self) -> None:
        found = library()
        assert found is not None
        assert found._name == library_file(levels()[-1])

    @BUILT
    def test_levels_follow_the_cpu(self) -> None:
        library = native.library()
        assert library is not None
        beyond = library.vector_levels()
        assert levels() == tuple(Level)[: 1 + beyond]
        if os.path.exists("/proc/cpuinfo"):
            with open("/proc/cpuinfo") as lines:
                flags = next((line for line in lines if line.startswith("flags")), "").split()
            assert (beyond >= 1) == ({"avx2", "fma", "bmi1", "bmi2"} <= set(flags))
            assert (beyond == 2) == ("avx512_vpopcntdq" in flags and "avx512vl" in flags)

    @BUILT
    @pytest.mark.parametrize("level", Level)
    def test_can_be_any_level_by_name(self, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
        if level not in levels():
            pytest.skip("this CPU lacks it")
        monkeypatch.setenv(VARIABLE, level.value)
        found = library()
        assert found is not None
        assert found._name == library_file(level)
        assert f"_{level.value}." in found._name

    def test_can_be_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "off")
        assert library() is None

    def test_refuses_an_unknown_level(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "avx9")
        with pytest.raises(BitsliceError, match="BITSLICE_NATIVE must be one of base, v3, v4 or off, not 'avx9'"):
            library()

    def test_refuses_a_level_that_this_cpu_lacks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "v4")
        monkeypatch.setattr(native, "levels", lambda: (Level.BASE, Level.V3))
        with pytest.raises(
            BitsliceError, match="asks for v4, but what is built here and runs on this CPU is: base, v3"
        ):
            library()

    @pytest.mark.usefixtures("nothing_built")
    def test_refuses_a_level_that_is_not_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "base")
        with pytest.raises(BitsliceError, match="what is built here and runs on this CPU is: none"):
            library()

    def test_is_none_where_the_runtime_that_it_needs_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.so"
        broken.write_bytes(b"no library")
        monkeypatch.setattr(native, "library_file", lambda level: str(broken))
        assert levels() == ()

    @pytest.mark.usefixtures("nothing_built")
    def test_says_once_that_there_is_none(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "bitslice"):
            assert library() is None
            assert library() is None
        assert caplog.messages == [
            "bitslice: the C kernels were not built at installation; using the slower torch path"
        ]


def test_kernels_count_as_sources_of_what_loads_them() -> None:
    kernels = {path.relative_to(PACKAGE.parent).as_posix() for path in (PACKAGE / "native").glob("*.c")}
    assert kernels
    assert kernels <= set(closure("from bitslice import native"))
    assert not kernels & set(closure("import bitslice.errors"))

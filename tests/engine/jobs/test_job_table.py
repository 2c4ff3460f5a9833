"""Every kind of run has a job, and jobs that run each other's runs import in one direction."""

from __future__ import annotations

import graphlib

import pytest

from engine.config.schema import KINDS
from engine.jobs.job_table import JOBS, job_for


def test_every_kind_of_run_has_its_job() -> None:
    assert JOBS.keys() == KINDS.keys()
    for kind, type_ in KINDS.items():
        assert job_for(type_()) is JOBS[kind]


def test_no_module_of_the_engine_imports_itself_by_way_of_others() -> None:
    grimp = pytest.importorskip("grimp")  # on a machine that is lent, with packages of its own
    graph = grimp.build_graph("engine", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError with the circle

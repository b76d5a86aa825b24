"""What starts fast must not import what starts slowly."""

import subprocess
import sys

import pytest


def imported_by(modules, suspects):
    code = f"import sys, {', '.join(modules)}; print(*(m for m in {suspects!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "module", ["sqzx.cli", "sqzx.config", "sqzx.counting", "sqzx.trial", "sqzx.attempt", "sweeps.plan"]
)
def test_planning_and_describing_import_no_numerics(module):
    heavy = ("numpy", "jax", "flax", "optax", "orbax", "pandas", "scipy", "sklearn", "matplotlib")
    assert imported_by([module], heavy) == []


def test_training_imports_neither_tensorflow_nor_the_other_rooms():
    others = ("tensorflow", "tensorflow_datasets", "pandas", "matplotlib", "sweeps", "analysis")
    assert imported_by(["sqzx.training", "sqzx.attempt"], others) == []


def test_one_network_knows_nothing_of_studies():
    for module in ("sqzx.config", "sqzx.counting", "sqzx.network", "sqzx.attempt"):
        assert imported_by([module], ("sweeps", "analysis")) == []

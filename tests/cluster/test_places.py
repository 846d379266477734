"""How many trials, or workers of `predict`, a Ray cluster has room for. Ray lists its machines; here they are written down."""

from types import SimpleNamespace

import pytest

from finetune.base.errors import UserError
from finetune.cluster.workers import places


def cluster(*machines: dict[str, float]) -> SimpleNamespace:
    """Ray with these machines and one that has gone."""
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    return SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}])


@pytest.mark.parametrize(
    ("cores", "gpus", "expected"),
    [(1, 0, 11), (2, 0, 5), (4, 0, 2), (1, 1, 2), (4, 1, 2), (1, 2, 1)],
)
def test_room_is_counted_by_machine(cores, gpus, expected):
    """Machines with 3 and 8 cores; the second has 2 GPUs. So 2 cores fit once and four times, 4 cores twice on the second alone."""
    ray = cluster({"CPU": 3.0}, {"CPU": 8.0, "GPU": 2.0})
    assert places(ray, cores, gpus, "--cpus") == expected


def test_what_no_machine_has_ends_in_one_line():
    with pytest.raises(UserError) as error:
        places(cluster({"CPU": 1.0}, {"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}), 2, 2, "--cpus and --gpus")
    assert str(error.value) == (
        "no machine of the cluster has the 2 cores and 2 GPUs that a worker needs (machines: 2 with 1 core and 0 GPUs, "
        "1 with 2 cores and 1 GPU); ask for less with --cpus and --gpus, or add a machine with `ray start`"
    )

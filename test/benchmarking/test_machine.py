"""What is told of the machine: memory that was taken, and the product of matrices that is its peak."""

from __future__ import annotations

import json
import mmap

import numpy as np
import pytest
import torch

from panoptic_ros.benchmarking import machine


def test_the_peak_of_memory_is_seen_after_it_was_given_back() -> None:
    memory = machine.PeakMemory(torch.device("cpu"))
    before = np.full(64 << 20, 1, dtype=np.uint8)  # there already: does not count
    memory.start()
    with mmap.mmap(-1, 128 << 20) as block:  # new pages: numpy may be given such as were used before
        block[:: mmap.PAGESIZE] = bytes(len(block) // mmap.PAGESIZE)
    taken = memory.stop()
    if taken is None:
        pytest.skip("this system does not tell")
    assert 120 << 20 < taken < 160 << 20
    assert before[0] == 1
    memory.start()
    again = memory.stop()
    assert again is not None
    assert again < 20 << 20


def test_without_the_system_s_help_memory_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(machine, "_CLEAR", machine.Path(str(tmp_path)) / "no" / "such" / "file")
    memory = machine.PeakMemory(torch.device("cpu"))
    memory.start()
    assert memory.stop() is None


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_peak_is_of_as_many_operations_as_it_says(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.PRODUCT_SIDE, "cpu", 48)
    seen = []
    for name in ("mm", "_int_mm"):
        whole = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda a, b, whole=whole: seen.append((a, b)) or whole(a, b))
    found = machine.matrix_product(torch.device("cpu"), precision)
    if found is None:
        pytest.skip(f"this build of torch has no product in {precision}")
    product, operations = found
    seen.clear()
    product()
    ((left, right),) = seen
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
    assert left.dtype == right.dtype == kinds[precision]
    assert operations == sum(2 * left.shape[1] for _ in range(left.shape[0] * right.shape[1]))


def test_the_environment_can_be_written_and_names_what_counts() -> None:
    told = json.loads(json.dumps(machine.environment()))
    assert told["torch"] == torch.__version__
    assert told["torch_threads"] == torch.get_num_threads()
    assert 1 <= told["usable_cores"] <= told["cores"]
    assert told["cpu"]

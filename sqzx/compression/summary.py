"""What a recipe made, as a table: a row a stage, and the last line from the file."""

from pathlib import Path

from sqzx.compression.inspection import ALEXNET_BYTES
from sqzx.compression.recipes import Made, stage_text
from sqzx.counting import count
from sqzx.terminal import new_table, print_table


def print_made(made: Made, out: Path) -> None:
    """Print the bytes and the validation accuracy of each stage, and the test accuracy of the file."""
    model = made.compressed.model
    whole = count(model.config, model.preprocessing.image_shape).bytes_fp32
    table = new_table("stage", "bytes", "ratio", "validation top-1", left=("stage",))
    table.add_row("none", f"{whole:,}", "1.0", f"{made.before.top1:.4f}")
    for stage, size, scores in made.stages:
        table.add_row(stage_text(stage), f"{size:,}", f"{whole / size:.1f}", f"{scores.top1:.4f}")
    print_table(table)
    print(
        f"{out}: {made.bytes:,} bytes, {whole / made.bytes:.1f} times smaller than as float32, "
        f"{ALEXNET_BYTES / made.bytes:,.0f} times smaller than the paper's AlexNet"
    )
    print(
        f"read back from the file: validation top-1 {made.validation.top1:.4f}, "
        f"test top-1 {made.test.top1:.4f} of {len(made.test_logits):,} images"
    )

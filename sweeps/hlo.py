"""What a compiled XLA program does on a device, read from its text; its arithmetic, from its jaxpr.

A launch is an instruction that runs by itself: a fusion, a copy, a sort, a library's function. A
loop whose bound the compiler does not know asks the host after every turn, where the host launches.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

from lagc_jax._blocks import jaxprs

# Instructions that nothing is launched for, some as their fields or bodies are counted.
FREE = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call"),
        *("conditional", "async-start", "async-done", "async-update", "copy-done"),
        *("partition-id", "replica-id", "after-all", "opt-barrier", "add-dependency"),
    )
)
FREE_CALLS = frozenset({"AllocateBuffer", "Sharding", "AssumeGatherIndicesInBound"})
SLICES = frozenset({"dynamic-slice", "slice", "gather"})
IN_LOOPS = frozenset({"gather", "scatter"})
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
# Equations that move numbers and compute none.
MOVES = frozenset(
    (
        *("broadcast_in_dim", "reshape", "transpose", "squeeze", "rev", "copy", "iota"),
        *("slice", "dynamic_slice", "dynamic_update_slice", "gather", "scatter", "select_n"),
        *("concatenate", "pad", "split", "sort", "convert_element_type", "bitcast_convert_type"),
    )
)

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*->.*)?\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_TYPE = re.compile(r"([a-z]+\d*\w*)\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(calls|body|condition|to_apply|branch_computations|called_computations|true_computation|"
    r"false_computation)=\{?((?:%[\w.\-]+(?:, )?)+)"
)


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
        name, opcode: of the line.
        type: of its result, without layouts.
        operands: names of them.
        called: computations, by the attribute that names them.
        attributes: the line from its operands on.
        root: whether it is the computation's result.
    """

    name: str
    opcode: str
    type: str
    operands: list[str]
    called: dict[str, list[str]]
    attributes: str
    root: bool

    @property
    def bytes(self) -> int:
        """Size of the result."""
        return sum(_size(*found) for found in _TYPE.findall(self.type))

    @property
    def target(self) -> str:
        """Function that a custom call calls."""
        found = re.search(r'custom_call_target="([^"]+)"', self.attributes)
        return found[1] if found else ""


def _size(kind: str, shape: str) -> int:
    bits = int((re.findall(r"\d+", kind) or ["8"])[0])
    return max(bits // 8, 1) * math.prod(int(size) for size in shape.split(",") if size)


def parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """Instructions by computation and name, and the name of the entry."""
    text = re.sub(r"/\*index=\d+\*/", "", text)
    text = re.sub(r"\]\{[^{}]*\}", "]", text)  # layouts
    found: dict[str, dict[str, Instruction]] = {}
    current: dict[str, Instruction] = {}
    entry = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = found[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif match := _LINE.match(line):
            root, name, kind, opcode, rest = match.groups()
            called = {key: re.findall(r"[\w.\-]+", names) for key, names in _CALLED.findall(rest)}
            operands = re.findall(r"%([\w.\-]+)", rest.split(")")[0])
            parts = (kind, operands, called, rest, root is not None)
            current[name] = Instruction(name, opcode, *parts)
    return found, entry


class Reading(NamedTuple):
    """What a program does.

    Attributes:
        launches: instructions that run by themselves, all turns of loops counted.
        waits: turns of loops whose bounds are not known.
        bytes: of operands and results of launches; of what is sliced, the slice.
        loops, known: loops, and those of them whose bounds are known.
        slow: how often the text has a sort, a gather or scatter in a loop, a collective, or a call
            of a library.
    """

    launches: int = 0
    waits: int = 0
    bytes: int = 0
    loops: int = 0
    known: int = 0
    slow: Counter[str] = Counter()  # noqa: RUF012

    def plus(self, other: "Reading", turns: int = 1) -> "Reading":
        """Both, the other so many times; its loops and slow parts stand there once."""
        return Reading(
            self.launches + turns * other.launches,
            self.waits + turns * other.waits,
            self.bytes + turns * other.bytes,
            self.loops + other.loops,
            self.known + other.known,
            self.slow + other.slow,
        )


def _turns(found: dict, loop: Instruction) -> int | None:
    """How often a `while` turns, None where that is not known.

    Where the compiler does not say, the condition does: JAX counts from 0 to a constant.
    """
    if said := re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', loop.attributes):
        return int(said[1])
    condition = found[loop.called["condition"][0]]
    root = next(each for each in condition.values() if each.root)
    bound = condition[root.operands[1]] if root.opcode == "compare" else root
    constant = re.match(r"(\d+)\)", bound.attributes) if bound.opcode == "constant" else None
    return int(constant[1]) if constant and "direction=LT" in root.attributes else None


def read(text: str, turns: int = 1) -> Reading:
    """Read a compiled program.

    Args:
        text: of `compiled.as_text()`.
        turns: of outermost loops whose bounds are not known; loops like that within are counted
            once.
    """
    found, entry = parse(text)
    return _read(found, entry, turns, False)


def _read(found: dict, name: str, turns: int, looped: bool) -> Reading:
    """Read a computation, within a loop or not."""
    total = Reading()
    computation = found.get(name, {})
    for each in computation.values():
        if each.opcode == "while":
            trips = _turns(found, each)
            known = trips is not None
            inner, count = (turns, trips) if trips is not None else (1, turns)
            body, condition = (each.called[part][0] for part in ("body", "condition"))
            turn = _read(found, body, inner, True).plus(_read(found, condition, inner, True))
            total = total.plus(turn, count)
            total = total.plus(Reading(waits=0 if known else count, loops=1, known=int(known)))
        elif each.opcode in ("call", "conditional", "async-start"):
            branches = [_read(found, n, turns, looped) for ns in each.called.values() for n in ns]
            total = total.plus(max(branches, key=lambda one: one.launches, default=Reading()))
        elif each.opcode not in FREE and each.target not in FREE_CALLS:
            slow = Counter(_slow_parts(found, each, looped))
            total = total.plus(Reading(1, 0, _moved(found, computation, each), slow=slow))
    return total


def _slow_parts(found: dict, launch: Instruction, looped: bool) -> Iterator[str]:
    """What is slow in a launch, in words."""
    bodies = [*launch.called.get("calls", []), *launch.called.get("called_computations", [])]
    inside = [each for name in bodies for each in found.get(name, {}).values()]
    where = " in a loop" if looped else ""
    for each in (launch, *inside):
        if each.opcode == "sort":
            shape = _TYPE.search(each.type)
            along = re.search(r"dimensions=\{(\d+)\}", each.attributes)
            sizes = shape[2].split(",") if shape else []
            yield f"sort of {sizes[int(along[1])] if along and sizes else '?'}{where}"
        elif each.opcode in IN_LOOPS and looped:
            yield f"{each.opcode}{where}"
        elif each.target and each.target not in FREE_CALLS:
            yield each.target
        elif each.opcode.removesuffix("-start") in COLLECTIVES:
            yield each.opcode.removesuffix("-start")


def _moved(found: dict, computation: dict, launch: Instruction) -> int:
    """Bytes that a launch reads and writes."""
    operands = [computation[name].bytes if name in computation else 0 for name in launch.operands]
    if launch.opcode in SLICES:
        return 2 * launch.bytes
    if launch.opcode == "dynamic-update-slice":
        return 2 * operands[1]
    fused = found.get(launch.called.get("calls", [""])[0], {})
    root = next((each for each in fused.values() if each.root), None)
    if launch.opcode != "fusion" or root is None:
        return launch.bytes + sum(operands)
    results = [fused[n] for n in root.operands] if root.opcode == "tuple" else [root]
    written = sum(_written(fused, each) for each in results)
    parameters = {each.name: each for each in fused.values() if each.opcode == "parameter"}
    return written + sum(_touched(fused, each) for each in parameters.values())


def _written(fused: dict, result: Instruction) -> int:
    """Bytes of a result, of the new part alone where it is written into an operand."""
    updated = result.opcode == "dynamic-update-slice" and result.operands[1] in fused
    return (fused[result.operands[1]] if updated else result).bytes


def _touched(fused: dict, parameter: Instruction) -> int:
    """Bytes read of a fusion's parameter: its slices, where nothing else uses it."""
    read = 0
    for user in fused.values():
        if parameter.name not in user.operands:
            continue
        if user.operands[0] != parameter.name or user.opcode not in (
            *SLICES,
            "dynamic-update-slice",
        ):
            return parameter.bytes
        read += user.bytes if user.opcode in SLICES else 0
    return min(read, parameter.bytes)


def flops(jaxpr: Any, turns: int = 1) -> float:
    """Floating-point operations of a jaxpr: products and sums, and one for any other result.

    Loops without a length turn as for `read`; of branches the longest counts.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, turns if equation.primitive.name != "while" else 1
        within = [flops(each, inner) for each in jaxprs(equation.params)]
        if name == "scan":
            total += equation.params["length"] * sum(within)
        elif name == "while":
            total += turns * sum(within)
        elif name == "cond":
            total += max(within)
        elif within:
            total += sum(within)
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        elif name not in MOVES:
            results = (each.aval for each in equation.outvars)
            total += sum(a.size for a in results if jnp.issubdtype(a.dtype, jnp.floating))
    return total

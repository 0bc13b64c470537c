"""What flows where inside one call: its statements and the calls in them as a graph.

    flow = Flow(recording.calls["transformer.h.0.residual1"])
    x ──┬── norm ── attention ── dropout ── + ── returned
        └────────────────────────────────── ┘

An edge is a value that one node made and another one reads. That two are the same value is known by
their memory, so nothing here knows an architecture.
"""

from dataclasses import dataclass, field

from minillm.insight.recording import RETURNED, Call

SIGNS = {"add": "+"}  # of functions that are one operation: what a reader of a formula looks for


@dataclass(eq=False)
class Node:
    """kind: "input" (an argument, or what the module remembers), "parameter", "call", "statement"
    (an operation that the function itself writes) or "output"

    label: for a statement the sign of its operation, for a call see `label_of`, otherwise a name
    values: what it makes
    """

    kind: str
    label: str
    call: Call | None = None
    statement: object = None
    values: list = field(default_factory=list)


class Flow:
    """nodes: list of Nodes in the order of the program;  edges: set of (from, to, Value)"""

    def __init__(self, call):
        self.call = call
        self.nodes, self.edges = [], []
        self._makers = {}  # Value -> the Node that made it
        self._writers = {}  # address of a written value -> the Node that wrote last
        self._arguments = {value: name for name, value in reversed(call.arguments.items())}
        for step in call.steps:
            self._add(step)
        if call.outputs:
            output = Node("output", "returned", values=list(call.outputs.values()))
            for value in output.values:
                self._connect(value, output, None)
            self.nodes.append(output)

    def _add(self, step):
        if not (step.calls or step.made or step is self.call.steps[-1]):
            return
        waiting = {}  # what calls of this step made and no other call of it has read
        for call in step.calls:
            if not is_shown(call):
                continue
            node = Node("call", label_of(call), call)
            for value in dict.fromkeys(call.arguments.values()):
                if not value.is_unwritten:
                    self._connect(value, node, step)
                    waiting.pop(value, None)
            self.nodes.append(node)
            node.values = list(dict.fromkeys([*call.outputs.values(), *call.rewritten]))
            for value in node.values:
                self._makers[value] = node
                waiting[value] = None
        made = [value for value in dict.fromkeys(step.made.values())
                if value not in self._makers and value not in self._arguments
                and not value.is_unwritten and self._is_new(value)]
        if step is self.call.steps[-1]:
            made += [value for value in self.call.outputs.values()
                     if value not in self._makers and value not in made
                     and value not in self._arguments and self._is_new(value)]
        changed = [value for value in made if value.name in step.statement.written]
        if step.calls and made and not self._computes(step, made):
            for value in made:  # written by a call into memory that it was given
                self._makers[value] = next((node for node in reversed(self.nodes)
                                            if node.kind == "call"), None) or self._input(value)
            return
        if made:
            self._own(step, made, waiting, changed)

    def _computes(self, step, made):
        """-> whether the statement itself has computed something, not only a call in it"""
        return any(value.maker is self.call for value in made) and (
            bool(step.statement.written) or step.statement.symbol not in ("=",)
            and not self._is_plain_call(step))

    def _is_plain_call(self, step):
        return any(step.statement.symbol == call.name for call in step.calls)

    def _own(self, step, made, waiting, changed):
        node = Node("statement", step.statement.symbol or "=", statement=step.statement,
                    values=made)
        in_calls = {value for call in step.calls for value in call.arguments.values()}
        reads = [step.reads[name] for name in step.statement.direct if name in step.reads and not
                 (name in step.statement.chosen and step.reads[name] in in_calls)]
        reads += [value for value in waiting if value not in reads]
        if not reads:
            reads = list(step.reads.values())
        for value in dict.fromkeys(reads):
            if value not in made and not value.is_unwritten:
                self._connect(value, node, step)
        self.nodes.append(node)
        for value in made:
            self._makers[value] = node

    def _is_new(self, value):
        return value.maker is not None and value.born >= self.call.born and (
            value.maker is self.call or self.call in value.maker.callers)

    def _connect(self, value, node, step):
        maker = self._makers.get(value)
        if maker is None:
            maker = self._source(value, step)
        if maker is not None and maker is not node:
            self.edges.append((maker, node, value))

    def _source(self, value, step):
        """-> the Node that a value comes from which no node has made"""
        if value in self._arguments or value.parameter or not self._is_new(value):
            return self._input(value)
        if step is None:
            return None
        self._own(step, [value], {}, [])  # an expression in the arguments of a call: x[:, 0]
        return self._makers[value]

    def _input(self, value):
        name = self._arguments.get(value) or value.parameter or name_of(value)
        node = Node("parameter" if value.parameter else "input",
                    value.parameter or name, values=[value])
        self.nodes.append(node)
        self._makers[value] = node
        return node


def is_shown(call):
    """-> whether anything flows through a call: a property has neither arguments nor results"""
    return bool(call.outputs or call.calls or call.rewritten) and bool(
        call.arguments or call.module)


def name_of(value):
    """-> the name that the function has for it which made it, or called what made it"""
    call = value.maker
    if value.name.startswith(RETURNED):
        while call.parent is not None:
            call = call.parent
            for name, other in call.variables.items():
                if other is value and not name.startswith(RETURNED):
                    return name
    return value.name


def label_of(call):
    """-> a short name: "h.0", "norm1", "softmax"; the sum of a residual connection is "+" """
    if not call.is_module:
        return SIGNS.get(call.name, call.name)
    parts = call.path.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdecimal() else parts[-1] or "model"

"""A network whose Programs are interpreted by the oracle: what compiled ones are held to."""

from __future__ import annotations

import numpy as np

from convlens import nn, reference


class InterpretedProgram:
    def __init__(self, graph, entries):
        self.graph = graph
        self.entries = entries

    def arena_bytes(self, n, threads):
        return 1024 + n * 4 * sum(
            int(np.prod(kind.per_image, dtype=np.int64)) for kind in self.graph.types.values() if kind.batched
        )

    def inputs(self, entry):
        return dict.fromkeys(self.entries[entry].inputs)

    def workspace(self, n):
        return InterpretedWorkspace(self, n)


class InterpretedWorkspace:
    def __init__(self, program, n):
        self.program = program
        self.n = n
        self.given = {}

    def run(self, entry, inputs, weights, state=None):
        rows = self.program.entries[entry]
        assert set(inputs) == set(rows.inputs)
        assert all(len(array) <= self.n for array in inputs.values())
        self.given.update(inputs)
        return reference.run(self.program.graph, self.given, rows.outputs)

    def release(self):
        self.given = {}


class InterpretedNetwork(nn.Network):
    """Runs every entry through ``reference.run``. ``on_run`` is called before each."""

    def __init__(self, net, on_run=None):
        super().__init__(graph=net.graph, layouts=net.layouts)
        self.on_run = on_run
        self.largest = 0

    @property
    def weights(self):
        return None

    def program(self, key, build):
        program = InterpretedProgram(*build())
        network = self

        class Watched(InterpretedWorkspace):
            def run(self, entry, inputs, weights, state=None):
                network.largest = max(network.largest, *(len(array) for array in inputs.values()))
                if network.on_run is not None:
                    network.on_run()
                return super().run(entry, inputs, weights, state)

        program.workspace = lambda n: Watched(program, n)
        return program

"""A network whose Programs are interpreted by the oracle: what compiled ones are held to."""

from __future__ import annotations

import numpy as np

from convlens import nn, reference


class InterpretedProgram:
    def __init__(self, graph, entries, updates=None):
        self.graph = graph
        self.entries = entries
        self.updates = updates or {}

    def arena_bytes(self, n, threads):
        return 1024 + n * 4 * sum(
            int(np.prod(kind.per_image, dtype=np.int64)) for kind in self.graph.types.values() if kind.batched
        )

    def inputs(self, entry):
        return {name: self.graph.types[name].shape for name in self.entries[entry].inputs}

    def shortcut(self, *_, **__):
        """None: there is nothing of C++ to go straight to."""

    def workspace(self, n):
        return InterpretedWorkspace(self, n)

    def run(self, entry, inputs, weights):
        with self.workspace(len(next(iter(inputs.values())))) as workspace:
            return workspace.run(entry, inputs, weights)

    def run_through(self, entries, inputs, n, weights):
        results = {}
        with self.workspace(n) as workspace:
            for entry in entries:
                taken = {name: inputs[name] for name in self.entries[entry].inputs}
                results |= workspace.run(entry, taken, weights)
        return results


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
        if state is None or entry != list(self.program.entries)[-1]:
            return reference.run(self.program.graph, self.given, rows.outputs)
        updates = self.program.updates
        known = {**self.given, **state.arrays()}
        results = reference.run(self.program.graph, known, [*rows.outputs, *updates.values()])
        state._plain.update((name, results[value]) for name, value in updates.items())
        return {name: results[name] for name in rows.outputs}

    def release(self):
        self.given = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


class InterpretedNetwork(nn.Network):
    """Runs every entry through ``reference.run``. ``on_run`` is called before each."""

    def __init__(self, net, on_run=None):
        super().__init__(graph=net.graph, layouts=net.layouts)
        self.on_run = on_run
        self.largest = 0

    @property
    def weights(self):
        return None

    def program(self, key, build, *, updates=None, inside=None, blocked=(), tiled=None):
        program = InterpretedProgram(*build(), updates)
        network = self

        class Watched(InterpretedWorkspace):
            def run(self, entry, inputs, weights, state=None):
                network.largest = max(network.largest, *(len(array) for array in inputs.values()))
                if network.on_run is not None:
                    network.on_run()
                return super().run(entry, inputs, weights, state)

        program.workspace = lambda n: Watched(program, n)
        return program

"""The simulation: real workflow, connector and guard code, and Temporal's semantics in virtual time."""

from kit.testing.engines.simulation.clock import EPOCH, NothingLeft, VirtualLoop, run_virtually
from kit.testing.engines.simulation.engine import Simulation
from kit.testing.engines.simulation.handle import SimulatedHandle
from kit.testing.engines.simulation.server import SimulatedServer

__all__ = ["EPOCH", "NothingLeft", "SimulatedHandle", "SimulatedServer", "Simulation", "VirtualLoop", "run_virtually"]

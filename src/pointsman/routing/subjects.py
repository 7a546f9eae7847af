"""What makes a question hard by its subject: things that are much work to make, fields in which mistakes are easily
made, mathematics that is taught late. Data; `demands.py` weighs it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .wording import word_set

SMALL, PRODUCT, SYSTEM = 0.6, 1.6, 3.0
"""What a thing counts that fits into a file, one that people use, and one that other programs stand on."""

SIZES: Mapping[str, float] = {
    **dict.fromkeys(
        word_set(
            "tool scraper crawler bot extension plugin module cli linter parser client sdk widget daemon pipeline "
            "library api workflow checker generator simulator importer exporter viewer calculator game wrapper"
        ),
        SMALL,
    ),
    **dict.fromkeys(
        word_set(
            "app application apps site website webshop shop store server backend service microservice microservices "
            "clone platform operator portal marketplace dashboard editor framework saas crm erp provider"
        ),
        PRODUCT,
    ),
    **dict.fromkeys(
        word_set(
            "compiler interpreter jit kernel hypervisor emulator debugger linker assembler decompiler transpiler "
            "bootloader database dbms raft paxos replication consensus blockchain crdt browser allocator raytracer "
            "solver prover"
        ),
        SYSTEM,
    ),
    **dict.fromkeys(
        (
            "tcp stack", "network stack", "type checker", "storage engine", "query engine", "game engine",
            "chess engine", "search engine", "regex engine", "rendering engine", "physics engine", "rules engine",
            "operating system", "file system", "garbage collector", "device driver", "query planner",
            "query optimizer", "neural network", "ray tracer", "message broker", "load balancer", "virtual machine",
            "programming language", "language server", "rate limiter", "trading system", "borrow checker",
            "kernel module", "key-value store",
        ),
        SYSTEM,
    ),
}  # fmt: skip
"""What is made → what it counts. The name of a thing in two words goes before that in one."""
FIELDS = word_set(
    "kubernetes failover replication consensus raft paxos tls dkim encryption encrypted cryptography cryptographic "
    "lock-free wait-free real-time realtime inference recovery crash write-ahead supervision b-tree x86-64 arm64 "
    "assembly microcontroller firmware embedded bytecode fpga simd gpu cuda verilog vhdl tcp quic sharding sharded "
    "multi-tenant oauth terraform vpc full-stack fullstack multiplayer matchmaking distributed concurrent register "
    "llvm wasm webassembly exactly-once idempotent linearizable byzantine zero-knowledge zero-downtime compiler kernel"
)
UNDERTAKINGS = word_set(
    "building launching developing moving creating opening founding introducing rebuilding replacing merging migration"
)
SUBJECTS = word_set(
    "residue residues contour laplace fourier taylor laurent eigenvector eigenvectors manifold homology cohomology "
    "homotopy cyclic subgroup galois homomorphism isomorphism banach hilbert holomorphic meromorphic group groups ring "
    "rings ideal ideals lebesgue measurable compactness compact uniformly converges martingale brownian pde ode "
    "surjective injective bijection cardinality countable tensor lie sylow convolution generating recurrence "
    "combinatorial hamiltonian lagrangian lagrange jacobian hessian spectral orthogonal divergence stokes"
)
_OTHERS_TOO = word_set("group groups ring rings ideal ideals lie generating divergence orthogonal spectral convolution")
LATE_MATHEMATICS = "|".join(sorted(SUBJECTS - _OTHERS_TOO))
"""Those that mean mathematics by themselves, as a group of a phrase."""

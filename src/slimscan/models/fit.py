"""Training: crops in, a checkpoint out; stopped at any moment it goes on as if it had not been."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from slimscan.errors import InputError, OutputError
from slimscan.models import resume
from slimscan.models.checkpoint import Network, save
from slimscan.models.log import Log
from slimscan.models.losses import loss as loss_of
from slimscan.models.predict import chosen, memory
from slimscan.models.spec import RATES, FitSpec, NetSpec, NormSpec
from slimscan.models.unet import build, weights
from slimscan.nouns import Pixels

Batches = Callable[[int], Iterator[tuple[Pixels, Pixels]]]
Validate = Callable[[Network], Mapping[str, float]]

_RISE = 0.3  # share of the steps in which the rate rises
_START, _END = 25.0, 1e4  # it begins at rate / 25 and ends at a ten-thousandth of that
_LONGEST = 12.0  # norm of a gradient; longer ones are cut, as in nnU-Net


class Diverged(InputError):
    """The loss or its gradient is no number any more."""


def fit(
    net: NetSpec,
    norm: NormSpec,
    fit: FitSpec,
    batches: Batches,
    folder: Path,
    *,
    validate: Validate | None = None,
    start: Path | None = None,
    log: Callable[[Mapping[str, Any]], None] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Train, or go on with a training that was stopped; the path of best.pt, or of last.pt without validate.

    batches(k): crops (x float32 (n, inputs, [z,] y, x), y (n, [z,] y, x) of channel indices) from step k on, the same
    whenever it is asked. validate: scores by name, higher is better; "mean" counts, or the mean of all. start: a
    checkpoint whose weights are the first ones (fine-tuning); history remembers its sha256.
    about: what else decides the weights, such as the SHA-256 of the cases, as JSON values; kept in the history, and a
    training that was stopped goes on with the same alone.
    folder: last.pt (every fit.every steps), best.pt, log.jsonl; log gets the same lines as they are written.
    AdamW with one cycle of the rate; where fit.half, convolutions in the short type of half_of. On one CPU the same seed
    and threads give the same weights, stopped or not.

    InputError: a patch that does not fit, another configuration in the folder. Diverged: NaN. OutputError: full disk. A
    KeyboardInterrupt says where it goes on. Whatever happens, the last good checkpoint stays.
    """
    check(net, fit)
    fit = replace(fit, rate=fit.rate or RATES[net.kind])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: no folder can be made here ({error.strerror}); choose another place") from None
    device = chosen(fit.device)
    with threads(fit.threads, fit.seed):
        training = Training(net, norm, fit, folder, device, start, about or {})
        try:
            training.run(batches, validate, log)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; {training.kept()}") from None
    return folder / ("best.pt" if (folder / "best.pt").is_file() else "last.pt")


class Training:
    """What changes while a network is trained: weights, optimiser, the step, the best score."""

    def __init__(
        self,
        net: NetSpec,
        norm: NormSpec,
        fit: FitSpec,
        folder: Path,
        device: torch.device,
        start: Path | None,
        about: Mapping[str, Any],
    ) -> None:
        self.net, self.norm, self.fit, self.folder, self.device = net, norm, fit, folder, device
        self.half = half_of(device) if fit.half else None
        self.module = build(net).to(device=device, memory_format=memory(net.dims)).train()
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=fit.rate, weight_decay=fit.decay)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.half is torch.float16)
        self.loss = loss_of(fit, net.classes)
        self.step, self.best, self.since, self.seconds, self.ended = 0, -math.inf, 0, 0.0, False
        first, said = resume.beginning(net, start)
        said |= about
        self.history = [*first.history, said] if first else [said]
        if first:
            self.module.load_state_dict(dict(first.weights))
        found = resume.found(folder / "last.pt", net, norm, fit, said, tuple(about))
        if found:
            network, state = found
            self.history = network.history
            self.module.load_state_dict(dict(network.weights))
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.step, self.best, self.since = state["step"], state["best"], state["since"]
            self.seconds, self.ended = state["seconds"], state["ended"]

    def run(self, batches: Batches, validate: Validate | None, log: Callable[[Mapping[str, Any]], None] | None) -> None:
        """Every step that is left."""
        lines = Log(self.folder / "log.jsonl", self.step, log)
        often = max(1, self.fit.every // 10)
        losses: list[float] = []
        began = time.perf_counter() - self.seconds
        with ahead(batches(self.step) if self.step < self.fit.steps and not self.ended else iter(())) as following:
            while self.step < self.fit.steps and not self.ended:
                pair = following()
                if pair is None:
                    raise InputError(f"the crops ended at step {self.step} of {self.fit.steps}; they must go on")
                losses.append(self.once(*pair))
                self.step += 1
                due = self.step % self.fit.every == 0 or self.step == self.fit.steps
                self.seconds = time.perf_counter() - began
                line: dict[str, Any] = {}
                if due:
                    line = self.keep(validate)
                if due or self.step % often == 0:
                    mean = sum(losses) / len(losses)
                    rate = rate_at(self.step - 1, self.fit)
                    seconds = round(time.perf_counter() - began, 3)
                    lines.add({"step": self.step, "loss": mean, "rate": rate, "seconds": seconds, **line})
                    losses.clear()

    def once(self, images: Pixels, targets: Pixels) -> float:
        """One update of the weights; the loss before it. Diverged, with the weights as they were, for NaN."""
        x = torch.from_numpy(images).to(self.device, memory_format=memory(self.net.dims), non_blocking=True)
        y = torch.from_numpy(targets).to(self.device, non_blocking=True)
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.fit)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            logits = self.module(x)
        found = self.loss(logits, y)
        value = float(found.detach())
        if not math.isfinite(value):
            raise self.diverged(f"the loss is {value}")
        self.scaler.scale(found).backward()
        self.scaler.unscale_(self.optimiser)
        length = float(torch.nn.utils.clip_grad_norm_(self.module.parameters(), _LONGEST))
        if not math.isfinite(length) and self.half is not torch.float16:  # there the scaler leaves such a step out
            raise self.diverged("the gradient is no number")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return value

    def keep(self, validate: Validate | None) -> dict[str, Any]:
        """Score, write best.pt when it is, then last.pt; what the log says of it."""
        said: dict[str, Any] = {}
        network = self.network()
        if validate is not None:
            scores = {name: float(score) for name, score in validate(network).items()}
            self.module.train()
            mean = scores.get("mean", sum(scores.values()) / max(1, len(scores)))
            said = {"validation": scores, "best": mean > self.best}
            if mean > self.best:
                self.best, self.since = mean, 0
                save(self.folder / "best.pt", network)
            else:
                self.since += 1
                self.ended = bool(self.fit.patience) and self.since >= self.fit.patience
        state = {name: getattr(self, name) for name in ("step", "best", "since", "seconds", "ended")}
        state |= {"optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict()}
        save(self.folder / "last.pt", network, state)
        return said

    def network(self) -> Network:
        """As it is now."""
        history = [*self.history[:-1], self.history[-1] | {"steps": self.step, "seconds": round(self.seconds, 1)}]
        return Network(self.net, self.norm, self.fit, weights(self.module), history)

    def kept(self) -> str:
        """Which checkpoint there is, for a sentence."""
        place = self.folder / "last.pt"
        if not place.is_file():
            return f"no checkpoint was written yet (one every {self.fit.every} steps)"
        return f"the last good checkpoint is {place}; the same command goes on from there"

    def diverged(self, what: str) -> Diverged:
        """The sentence of NaN."""
        return Diverged(
            f"{what} at step {self.step + 1}: look for NaN in the images, or choose a rate below {self.fit.rate:g}; "
            f"{self.kept()}"
        )


def check(net: NetSpec, fit: FitSpec) -> None:
    """InputError unless crops of this size go through the network."""
    sides = fit.patch[3 - net.dims :]
    if net.dims == 2 and fit.patch[0] != 1:
        raise InputError(f"training patch = {list(fit.patch)}: of a 2D network the first side is 1, [1, y, x]")
    wrong = [side for side in sides if side % net.multiple]
    if wrong:
        near = [max(net.multiple, round(side / net.multiple) * net.multiple) for side in sides]
        raise InputError(
            f"training patch = {list(fit.patch)}: with {net.levels} levels sides must be multiples of {net.multiple}; "
            f"nearest: {[*fit.patch[: 3 - net.dims], *near]}"
        )
    if net.kind == "modern" and all(side == net.multiple for side in sides):
        raise InputError(
            f"training patch = {list(fit.patch)}: {net.levels} levels leave a single voxel, which has no spread to "
            "normalise; take a larger patch or fewer levels"
        )


def half_of(device: torch.device) -> torch.dtype | None:
    """The short type that this device multiplies faster: float16 of a GPU, bfloat16 of a CPU that has it, or none."""
    if device.type == "cuda":
        return torch.float16
    has = any(
        getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )  # torch has no public word for it
    return torch.bfloat16 if has else None


def rate_at(step: int, fit: FitSpec) -> float:
    """The learning rate of a step: a cosine up to fit.rate, then one down to almost nothing (one cycle, Smith 2018)."""
    top = max(1.0, _RISE * fit.steps - 1)
    low, last = fit.rate / _START, fit.rate / _START / _END
    if step <= top:
        return low + (fit.rate - low) * (1 - math.cos(math.pi * step / top)) / 2
    share = (step - top) / max(1.0, fit.steps - 1 - top)
    return last + (fit.rate - last) * (1 + math.cos(math.pi * min(1.0, share))) / 2


@contextmanager
def ahead(batches: Iterator[tuple[Pixels, Pixels]]) -> Iterator[Callable[[], tuple[Pixels, Pixels] | None]]:
    """The next batch, which a thread has made while the one before was trained on; None at the end."""
    with ThreadPoolExecutor(1, "crops") as pool:
        waiting = pool.submit(next, batches, None)

        def following() -> tuple[Pixels, Pixels] | None:
            nonlocal waiting
            found = waiting.result()
            waiting = pool.submit(next, batches, None)
            return found

        yield following
        waiting.cancel()


@contextmanager
def threads(count: int, seed: int) -> Iterator[None]:
    """Torch with so many threads (0: all cores) and this seed; cuDNN takes the same algorithms every time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before, cudnn = torch.get_num_threads(), torch.backends.cudnn
    flags = (cudnn.benchmark, cudnn.deterministic)
    torch.set_num_threads(count or cores)
    torch.manual_seed(seed)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cudnn.benchmark, cudnn.deterministic = flags

"""The lanes of a job, from orders to outcomes: gangs are formed, and run by Ray Tune, or by Ray Train if big."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from infra import object_storage
from infra.errors import DamagedFile, StorageError
from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.session import ActorSize
from orchestrator.job import Job
from orchestrator.progress import ProgressView
from orchestrator.report import job_root
from orchestrator.tuning import gang_width
from orchestrator.tuning.gang_runner import GangFailure, GangListener, GangRunner, Workplace
from orchestrator.tuning.gangs import (
    DissolvedGangs,
    GangPlan,
    blocks_of,
    form_gangs,
    remember_gangs,
    remembered_gangs,
    several_tasks,
    single_task_orders,
    useful_width,
)
from orchestrator.tuning.outcomes import Outcomes
from orchestrator.tuning.parallel_gangs import TrainRunner
from orchestrator.tuning.ray_tune import TuneRunner, experiment_name
from orchestrator.tuning.resolved import ResolvedSettings
from workers.backbone.sharing import SharedLM
from workers.precision import ResolvedPrecision
from workers.tuning.orders import GangOrder, LaneOrder
from workers.tuning.run.probe import Measured, best_width
from workers.tuning.run.progress import GangReport

if TYPE_CHECKING:
    from ray import ObjectRef


class LaneMeter:
    """Counts optimizer steps of all gangs for the progress display.

    Args:
        orders: of the gangs.
        update: called with steps taken, steps planned and the latest figure.
        say: called with what people should know of a gang.
    """

    def __init__(
        self, orders: Sequence[GangOrder], update: Callable[[int, int, str], None], say: Callable[[str], None]
    ) -> None:
        self._widths = {order.name: order.width for order in orders}
        self._say = say
        self._steps = {order.name: (0, sum(lane.spec.recipe.steps for lane in order.lanes)) for order in orders}
        self._update = update
        self._note = ""

    def replace(self, gang: str, orders: Sequence[GangOrder]) -> None:
        """Lanes of a gang go on in others."""
        self._steps.pop(gang, None)
        self._steps |= {order.name: (0, sum(lane.spec.recipe.steps for lane in order.lanes)) for order in orders}
        self._widths |= {order.name: order.width for order in orders}

    def report(self, gang: str, report: GangReport) -> None:
        """Take the latest report of a gang."""
        self._steps[gang] = (report.lane_steps, report.lane_steps_planned)
        if report.width < self._widths[gang]:
            self._say(
                f"{gang}: out of memory with {self._widths[gang]} lanes in a pass; it goes on with {report.width}"
            )
        self._widths[gang] = report.width
        if report.note is not None:
            self._say(f"{gang}: {report.note}")
        done, planned = (sum(counts) for counts in zip(*self._steps.values(), strict=True))
        if report.metric is not None:
            self._note = f"{report.lane} {100 * report.metric:.1f} % valid"
        self._update(done, planned, self._note)


@dataclass(frozen=True)
class Experiment:
    """Gangs that are tuned under one name, so that a later submission finds their checkpoints.

    Attributes:
        name: of the experiment.
        workers: that tune each gang together.
        orders: gangs that have not ended.
        dissolved: gangs that failed, whose tasks are tuned each alone.
        alone: the experiments in which they are.
    """

    name: str
    workers: int
    orders: list[GangOrder]
    dissolved: DissolvedGangs
    alone: list[Experiment]


@dataclass(frozen=True)
class TuningContext:
    """What all gangs of a submission have in common.

    Attributes:
        job: whose lanes they are.
        resolved: what its settings ``auto`` come to.
        precision: of the LM's matrix products.
        shared: the LM in the object store.
        size: of actors.
        outcomes: of the lanes.
        submission: key of the MLflow run above the lanes' runs.
        spool: local directory in which unsent tracking data waits.
        retry_failed: whether gangs that failed before are taken up again.
        interruption: of the job.
    """

    job: Job
    resolved: ResolvedSettings
    precision: ResolvedPrecision
    shared: ObjectRef[SharedLM]
    size: ActorSize
    outcomes: Outcomes
    submission: str
    spool: str
    retry_failed: bool
    interruption: Interruption


class Tuning:
    """Tunes lanes of one submission.

    Args:
        context: of the submission.
        view: where progress is shown.
        on_lanes_ended: called whenever lanes have ended, with the tasks whose lanes they may be.

    Attributes:
        failures: by task, why lanes have no outcome.
        lost: those lanes.
        lost_with_workers: tasks of those whose workers or machines ended.
    """

    def __init__(
        self, context: TuningContext, *, view: ProgressView, on_lanes_ended: Callable[[Collection[str]], None]
    ) -> None:
        self._context, self._view, self._on_lanes_ended = context, view, on_lanes_ended
        self._root, self._outcomes = job_root(context.job), context.outcomes
        self.failures: dict[str, str] = {}
        self.lost: list[LaneOrder] = []
        self.lost_with_workers: set[str] = set()

    def run(self, lanes: Sequence[LaneOrder]) -> bool:
        """Tune those of the lanes that have not ended; returns whether there were any."""
        if all(self._outcomes.has_ended(lane) for lane in lanes):
            return False
        alone = [lane for lane in lanes if lane.workers == 1]
        together = groupby((lane for lane in lanes if lane.workers > 1), key=lambda lane: lane.spec.task)
        parts = [part for part in (alone, *(list(task) for _, task in together)) if part]
        experiments = [self._experiment(part) for part in parts]
        with self._view.stage("tuning") as stage:
            every = [one for experiment in experiments for one in (experiment, *experiment.alone)]
            meter = LaneMeter([order for one in every for order in one.orders], stage.update, self._view.line)
            for one in every:
                self._run(one, meter)
        return True

    def _experiment(self, lanes: Sequence[LaneOrder]) -> Experiment:
        name, context = experiment_name(lanes), self._context
        orders = [
            GangOrder(
                name=_gang_name(number, gang.lanes),
                lanes=gang.lanes,
                width=gang.width,
                precision=context.precision,
                cpus=context.size.cpus,
                outcomes=self._outcomes.root,
                experiment=context.job.name,
                parent_key=context.submission,
                tracking=context.job.tracking,
                spool=context.spool,
            )
            for number, gang in enumerate(self.gangs(lanes, name))
        ]
        to_do = [order for order in orders if not all(self._outcomes.has_ended(lane) for lane in order.lanes)]
        dissolved = self._dissolved(name)
        together = [order for order in to_do if order.name not in dissolved]
        experiment = Experiment(name, lanes[0].workers, together, dissolved, [])
        for number, batch in enumerate(dissolved.batches):
            experiment.alone.append(self._alone(name, number, [order for order in to_do if order.name in batch]))
        return experiment

    def _alone(self, name: str, number: int, gangs: Sequence[GangOrder]) -> Experiment:
        """The tasks of dissolved gangs, each in a gang of its own."""
        orders = [
            alone
            for gang in gangs
            for alone in single_task_orders(
                gang,
                checkpoints=object_storage.join(self._root, name, gang.name),
                ended=[lane.key for lane in gang.lanes if self._outcomes.has_ended(lane)],
            )
        ]
        name = f"{name}-alone{number}"
        return Experiment(name, 1, orders, self._dissolved(name), [])

    def _dissolved(self, experiment: str) -> DissolvedGangs:
        place = object_storage.join(self._root, "gangs", f"{experiment}-dissolved.json")
        return DissolvedGangs(place, self._view.line)

    def _run(self, experiment: Experiment, meter: LaneMeter) -> None:
        if not experiment.orders:
            return
        tasks = {order.name: {lane.spec.task for lane in order.lanes} for order in experiment.orders}
        listener = GangListener(
            on_report=meter.report,
            on_lanes_ended=lambda gang: self._on_lanes_ended(tasks.get(gang, ())),
            on_recovery=self._say_recovery,
        )
        failures = self._runner(experiment).run(experiment.orders, listener)
        failed = [order for order in experiment.orders if order.name in failures]
        to_dissolve = [order for order in failed if several_tasks(order) and failures[order.name].of_a_task]
        for order in failed:
            if order not in to_dissolve:
                self._lose(order, failures[order.name])
        if to_dissolve:
            self._dissolve(experiment, to_dissolve, failures, meter)

    def _runner(self, experiment: Experiment) -> GangRunner:
        context = self._context
        place = Workplace(experiment.name, self._root, context.shared, context.size)
        if experiment.workers == 1:
            return TuneRunner(place, retry_failed=context.retry_failed, interruption=context.interruption)
        return TrainRunner(place, retry_failed=context.retry_failed, workers=experiment.workers)

    def _say_recovery(self, gang: str, cause: str) -> None:
        self._view.line(f"{gang}: {cause}; it goes on from its last checkpoint")

    def _dissolve(
        self,
        experiment: Experiment,
        gangs: Sequence[GangOrder],
        failures: Mapping[str, GangFailure],
        meter: LaneMeter,
    ) -> None:
        """Let the tasks of gangs that failed go on each alone, so that only the one to blame fails again."""
        alone = self._alone(experiment.name, len(experiment.dissolved.batches), gangs)
        experiment.dissolved.add([gang.name for gang in gangs])
        for gang in gangs:
            began = object_storage.join(self._root, experiment.name, gang.name)
            orders = [order for order in alone.orders if order.began_in == began]
            meter.replace(gang.name, orders)
            names = ", ".join(order.lanes[0].spec.task for order in orders)
            self._view.line(f"{gang.name}: {failures[gang.name].cause}; its tasks go on each alone: {names}")
        self._run(alone, meter)

    def _lose(self, order: GangOrder, failure: GangFailure) -> None:
        for lane in order.lanes:
            if not self._outcomes.has_ended(lane):
                self.failures[lane.spec.task] = failure.cause
                self.lost.append(lane)
                if failure.worker_ended:
                    self.lost_with_workers.add(lane.spec.task)

    def gangs(self, lanes: Sequence[LaneOrder], name: str) -> list[GangPlan]:
        """The gangs in which these lanes began, or new ones."""
        place = object_storage.join(self._root, "gangs", f"{name}.json")
        try:
            gangs = remembered_gangs(place, lanes)
        except DamagedFile as error:
            self._view.line(str(error))
            gangs = None
        if gangs is None:
            # Workers that tune one gang together are one actor to it.
            width, actors = self._context.job.gang, self._context.size.workers if lanes[0].workers == 1 else 1
            if width == "auto":
                width = self._auto_width(lanes, actors)
            else:
                actors = min(actors, -(-len(lanes) // width))
            gangs = form_gangs(lanes, width=width, actors=actors)
            remember_gangs(place, gangs)
        self._view.line(f"gangs: {' + '.join(f'{len(gang.lanes)} lanes ({gang.width} in a pass)' for gang in gangs)}")
        return gangs

    def _auto_width(self, lanes: Sequence[LaneOrder], actors: int) -> int:
        most = useful_width([len(block) for block in blocks_of(lanes)], actors)
        return 1 if most == 1 else self._context.resolved.width(most, partial(self._measured_width, lanes, most))

    def _measured_width(self, lanes: Sequence[LaneOrder], most: int) -> int:
        """As many as pay on this machine, where fresh jobs of the same lanes form the same gangs."""
        size, precision = self._context.size, self._context.precision
        try:
            place = gang_width.place_of(lanes, most=most, size=size, precision=precision)
        except StorageError as error:
            place = None
            self._not_kept(error)
        measured = self._remembered_widths(place) if place is not None else None
        if measured is None:
            measured = gang_width.measure_on_worker(
                lanes, self._context.shared, most=most, size=size, precision=precision
            )
            try:
                if place is not None:
                    gang_width.remember(place, measured)
            except StorageError as error:
                self._not_kept(error)
        self._view.line(f"gangs: {gang_width.measured_text(measured)}")
        return best_width(measured)

    def _remembered_widths(self, place: str) -> list[Measured] | None:
        try:
            return gang_width.remembered(place)
        except DamagedFile as error:
            self._view.line(str(error))
            return None

    def _not_kept(self, why: StorageError) -> None:
        self._view.line(f"gangs: another run may form others, as {why}; name a width (gang: N) to fix them")


def _gang_name(number: int, gang: Sequence[LaneOrder]) -> str:
    tasks = list(dict.fromkeys(lane.spec.task for lane in gang))
    more = f"+{len(tasks) - 1}" if len(tasks) > 1 else ""
    return f"gang{number:03d}-{tasks[0]}{more}"
